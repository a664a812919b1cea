// Under which subject of the registry a schema stands: the strategies of Confluent's clients. Pure;
// thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace tocsin::events {

enum class RecordPart { kKey, kValue };

enum class SubjectNaming {
  // "<topic>-key" and "<topic>-value": one type, with its history, in each topic.
  kTopicName,
  // The full name of the message: many types in a topic, one history for all topics.
  kRecordName,
  // "<topic>-<full name>": many types in a topic, each with a history of its own there.
  kTopicRecordName,
};

// `message`: its full name. "alerts.raw-value", "acme.v1.Order", "orders-acme.v1.Order"
std::string SubjectName(SubjectNaming naming, std::string_view topic, RecordPart part,
                        std::string_view message);

// Under which subject a file stands that others import.
enum class ReferenceNaming {
  // The import path: "acme/v1/order.proto".
  kDefault,
  // "acme.v1.order"
  kQualified,
};

std::string ReferenceSubjectName(ReferenceNaming naming, std::string_view import_path);

}  // namespace tocsin::events
