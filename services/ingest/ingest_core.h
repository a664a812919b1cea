// Decides what becomes of an event: refuses it with a sentence that names the field and the reason,
// or turns it into what is written to its stream. No I/O, no clock of its own; the message is never
// built, its bytes are only scanned.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/events/event.h"
#include "lib/events/schema_cache.h"
#include "lib/kafka/types.h"
#include "lib/schema/compiled_schema.h"
#include "services/ingest/stream_table.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
}  // namespace google::protobuf

namespace tocsin::ingest {

struct Limits {
  // Attributes and data together.
  std::size_t max_event_bytes = std::size_t{1} << 20;
  // Of id, source and partition key, each: they become keys of state.
  std::size_t max_identity_bytes = 1'024;
  // How far an event's time may lie ahead of ours: one clock gone wild would otherwise push the
  // watermark of its partition so far that everything after it counts as late.
  std::chrono::microseconds max_future = std::chrono::hours(24);
};

// A stream together with the schema that is its latest now. Immutable.
class BoundStream {
 public:
  // `stream` must outlive it. FAILED_PRECONDITION: the schema does not have the stream's message,
  // or the message not the fields that the pack names; the sentence says what to change.
  static absl::StatusOr<BoundStream> Bind(const Stream& stream, events::SubjectSchema schema);

  const Stream& stream() const { return *stream_; }
  schema::SchemaId schema_id() const { return schema_.id; }
  const std::vector<std::int32_t>& message_indexes() const { return message_indexes_; }
  const google::protobuf::Descriptor& message() const { return *message_; }
  // nullptr where the pack names none.
  const google::protobuf::FieldDescriptor* key_field() const { return key_field_; }
  const google::protobuf::FieldDescriptor* severity_field() const { return severity_field_; }

 private:
  const Stream* stream_ = nullptr;
  events::SubjectSchema schema_;
  std::vector<std::int32_t> message_indexes_;
  const google::protobuf::Descriptor* message_ = nullptr;
  const google::protobuf::FieldDescriptor* key_field_ = nullptr;
  const google::protobuf::FieldDescriptor* severity_field_ = nullptr;
};

// What must hold before an event can even be routed: its size, id, source and type.
// INVALID_ARGUMENT: "<field>: what is wrong with it", here and below.
absl::Status CheckRequired(const io::cloudevents::v1::CloudEvent& event, const Limits& limits);

// The enriched event, ready for its stream: with schema id and message indexes, the time where the
// sender gave none, partition key and severity from the message where no attribute says them, and
// `now` as recorded_time. CheckRequired has passed, and StreamTable::Route has led to this stream.
absl::StatusOr<events::Event> Accept(const io::cloudevents::v1::CloudEvent& event,
                                     const BoundStream& stream, const Limits& limits, WallTime now);

// The record for <stream>.dlq of an event that was refused for `reason`: the original data as they
// came, the attributes as far as they are text, and dlq.* headers.
kafka::OutgoingRecord DeadLetter(const io::cloudevents::v1::CloudEvent& event, const Stream& stream,
                                 const absl::Status& reason, WallTime now);

}  // namespace tocsin::ingest
