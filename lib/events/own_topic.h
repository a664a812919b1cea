// For a process that writes messages of this repository to a topic (Detection, Incident, …): puts
// the message's own schema into the registry at start, and makes the records. And for those that
// read them.
//
//   TOCSIN_ASSIGN_OR_RETURN(auto detections,
//       events::OwnTopic::Register(registry, "detections", Detection::descriptor(),
//                                  "/tocsin/correlation"));
//   producer.Produce(detections.Encode(detection, {.id = detection.id(), .key = key, .time = t}));
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/events/event.h"
#include "lib/events/registry_client.h"
#include "lib/kafka/types.h"
#include "lib/schema/compiled_schema.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::events {

// The text of every .proto file of this repository, as import statements name them; part of the
// binary.
const std::vector<schema::SourceFile>& EmbeddedProtos();

struct OwnSchema {
  schema::SchemaId id;
  std::vector<std::int32_t> message_indexes;
};

// Registers the file that declares `message` under `<topic>-value`, and before it each file that it
// imports, under the import path as subject. Idempotent: at every start. Errors as
// RegisterFile in file_registration.h.
absl::StatusOr<OwnSchema> RegisterOwnSchema(RegistryClient& registry, std::string_view topic,
                                            const google::protobuf::Descriptor* message);

// The envelope of one of our own messages. Empty: absent.
struct OwnEnvelope {
  // ce_id: the detection id, "<incident id>/<revision>", …
  std::string id = {};
  // Record key and partition key.
  std::string key = {};
  WallTime time{};
  std::string subject = {};
  Severity severity{};
  std::optional<WallTime> recorded_time = std::nullopt;
  std::string origin_traceparent = {};
  std::string traceparent = {};
  std::string tracestate = {};
};

// Immutable, copyable, thread-safe.
class OwnTopic {
 public:
  static absl::StatusOr<OwnTopic> Register(RegistryClient& registry, std::string topic,
                                           const google::protobuf::Descriptor* message,
                                           std::string source);
  // With a schema that was registered before; for tests too.
  OwnTopic(std::string topic, const google::protobuf::Descriptor* message, std::string source,
           OwnSchema schema);

  const std::string& topic() const { return topic_; }
  const OwnSchema& schema() const { return schema_; }

  // `message` must be of the registered type. Serialization is deterministic: the same message
  // gives the same bytes in every process of one build.
  kafka::OutgoingRecord Encode(const google::protobuf::Message& message,
                               const OwnEnvelope& envelope) const;

 private:
  std::string topic_;
  std::string type_;
  std::string source_;
  OwnSchema schema_;
};

// The data of an event that holds `message`'s type. INVALID_ARGUMENT: another type, or bytes that
// are not that message.
absl::Status ParseOwn(const Event& event, google::protobuf::Message& message);

}  // namespace tocsin::events
