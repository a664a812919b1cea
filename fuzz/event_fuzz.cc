// Any bytes as an event: the first byte says how to read the rest. A record: lines "name: value" up
// to an empty line are headers, what follows is the value. A CloudEvent: the Protobuf message. What
// is accepted must come back the same from the other form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/events/event.h"

namespace {
using tocsin::WallTime;
using tocsin::events::Event;

constexpr WallTime kReceived{std::chrono::seconds(1'704'067'200)};

void Check(bool holds) {
  if (!holds) std::abort();
}

void CheckSame(const Event& left, const Event& right) {
  Check(left.id == right.id && left.source == right.source && left.type == right.type);
  Check(left.time == right.time && left.recorded_time == right.recorded_time);
  Check(left.subject == right.subject && left.partition_key == right.partition_key);
  Check(left.sequence == right.sequence && left.severity == right.severity);
  Check(left.origin_traceparent == right.origin_traceparent);
  Check(left.extensions == right.extensions && left.data == right.data);
}

tocsin::kafka::Record AsRead(const Event& event) {
  tocsin::kafka::OutgoingRecord sent = tocsin::events::ToRecord(event, "t");
  tocsin::kafka::Record record;
  record.key = std::move(sent.key);
  record.value = std::move(sent.value);
  record.headers = std::move(sent.headers);
  return record;
}

void RoundTrip(Event event) {
  const auto by_grpc = tocsin::events::FromCloudEvent(ToCloudEvent(event), kReceived);
  // The envelope's own attributes count too, so that an event at the limit may be over it here.
  if (by_grpc.ok()) CheckSame(*by_grpc, event);
  if (event.schema_id.value() < 1) {
    event.schema_id = tocsin::schema::SchemaId(1);
    event.message_indexes = {0};
  }
  const auto by_kafka = tocsin::events::FromRecord(AsRead(event));
  if (by_kafka.ok()) CheckSame(*by_kafka, event);
}

tocsin::kafka::Record ReadRecord(std::string_view text) {
  tocsin::kafka::Record record;
  for (;;) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) break;
    const std::size_t colon = line.find(": ");
    record.headers.Append(
        std::string(line.substr(0, colon)),
        colon == std::string_view::npos ? std::string() : std::string(line.substr(colon + 2)));
  }
  record.value = std::string(text);
  return record;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.empty()) return 0;
  const bool is_record = text[0] == 'r';
  text.remove_prefix(1);
  if (is_record) {
    const auto event = tocsin::events::FromRecord(ReadRecord(text));
    if (event.ok()) RoundTrip(*event);
    return 0;
  }
  io::cloudevents::v1::CloudEvent input;
  if (!input.ParseFromArray(text.data(), static_cast<int>(text.size()))) return 0;
  const auto event = tocsin::events::FromCloudEvent(input, kReceived);
  if (event.ok()) RoundTrip(*event);
  return 0;
}
