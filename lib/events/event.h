// The event: a CloudEvent whose data is a registered Protobuf message, and its two forms on the
// wire. On Kafka: CloudEvents binary mode, the value in Confluent's wire format. On gRPC:
// io.cloudevents.v1.CloudEvent, whose data is the bare message.
//
// All functions are pure, bounded by EventLimits and total: no input makes them do anything but
// return an event or INVALID_ARGUMENT with a sentence that names the attribute and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/types.h"
#include "lib/schema/wire_format.h"

namespace io::cloudevents::v1 {
class CloudEvent;
}
namespace tocsin::event::v1 {
enum Severity : int;
}

namespace tocsin::events {

using Severity = tocsin::event::v1::Severity;

// The names of Kafka headers.
inline constexpr std::string_view kHeaderPrefix = "ce_";
inline constexpr std::string_view kHeaderId = "ce_id";
inline constexpr std::string_view kHeaderSource = "ce_source";
inline constexpr std::string_view kHeaderType = "ce_type";
inline constexpr std::string_view kHeaderTime = "ce_time";
inline constexpr std::string_view kHeaderSequence = "ce_sequence";
inline constexpr std::string_view kHeaderSpecVersion = "ce_specversion";
inline constexpr std::string_view kHeaderContentType = "content-type";
inline constexpr std::string_view kHeaderTraceparent = "traceparent";
inline constexpr std::string_view kHeaderTracestate = "tracestate";
inline constexpr std::string_view kContentType = "application/protobuf";

// Identity is (source, id): two records with the same are copies of one event.
struct Event {
  std::string id = {};
  std::string source = {};
  // The full name of the message.
  std::string type = {};
  // Event time.
  WallTime time{};
  // Empty: absent, here and below.
  std::string subject = {};
  // The record's key.
  std::string partition_key = {};
  // Compared byte by byte among events of the same time; absent sorts first.
  std::string sequence = {};
  // 0 (unspecified): absent; counts as INFO.
  Severity severity{};
  // When ingest took it.
  std::optional<WallTime> recorded_time = std::nullopt;
  // Where the whole story began (ce_traceparent); never changed on the way.
  std::string origin_traceparent = {};
  // W3C context of this hop: Kafka headers without prefix. Not part of the CloudEvent.
  std::string traceparent = {};
  std::string tracestate = {};
  // Every other attribute by its CloudEvents name; values in their canonical text.
  std::map<std::string, std::string> extensions = {};

  // What the data is written with; 0 and empty until a schema has been found for it.
  schema::SchemaId schema_id = {};
  std::vector<std::int32_t> message_indexes = {};
  // The bare Protobuf bytes.
  std::string data = {};
};

struct EventLimits {
  std::size_t max_data_bytes = std::size_t{1} << 20;
  std::size_t max_attributes = 64;
  // Of one attribute's value, and of all names and values together.
  std::size_t max_attribute_bytes = 4096;
  std::size_t max_attributes_bytes = 16384;
};

// "INFO" … "CRITICAL"; empty for unspecified.
std::string_view SeverityText(Severity severity);
// Any case. INVALID_ARGUMENT lists the scale.
absl::StatusOr<Severity> ParseSeverity(std::string_view text);

// From gRPC. Refuses: a spec_version other than 1.0; a missing id, source or type; attribute names
// that are not lower-case letters and digits, or that belong to the envelope; control characters or
// broken UTF-8; a time that is none; a datacontenttype other than application/protobuf; text_data;
// proto_data whose type is not `type`; anything over the limits. Without `time` the event happened
// at `received`. The bytes of the data are not looked at (lib/schema does that).
absl::StatusOr<Event> FromCloudEvent(const io::cloudevents::v1::CloudEvent& event,
                                     WallTime received, const EventLimits& limits = {});
// Data goes into binary_data.
io::cloudevents::v1::CloudEvent ToCloudEvent(const Event& event);

// From Kafka. Beyond the above, ce_time must be there and the value must carry schema id and
// message indexes (Confluent version 0). Headers that are neither CloudEvents' nor trace context's
// are left out. The record's own limits are those of the topic; `limits` bounds all the same.
absl::StatusOr<Event> FromRecord(const kafka::Record& record, const EventLimits& limits = {});
// Key, headers, value; the partition is left to the key. An event without partition key has no
// record key.
kafka::OutgoingRecord ToRecord(const Event& event, std::string topic);

// The headers of `record` with the context of a new hop in place of the old one's.
void SetTraceContext(kafka::Headers& headers, std::string_view traceparent,
                     std::string_view tracestate);

// Is this a W3C traceparent of version 00 with non-zero ids?
bool IsTraceparent(std::string_view text);

}  // namespace tocsin::events
