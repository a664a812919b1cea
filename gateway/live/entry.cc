#include "gateway/live/entry.h"

#include <google/protobuf/timestamp.pb.h>

#include <chrono>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/event.h"

namespace tocsin::gateway {
namespace {

using live::v1::SubscribeResponse;

// A field of wire type 2: tag, length, bytes.
void AppendField(int number, std::string_view bytes, std::string& out) {
  const auto varint = [&out](std::uint64_t value) {
    while (value >= 0x80) {
      out.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out.push_back(static_cast<char>(value));
  };
  varint(static_cast<std::uint64_t>(number) << 3 | 2);
  varint(bytes.size());
  out.append(bytes);
}

Severity AtLeastInfo(Severity severity) {
  return severity == tocsin::event::v1::SEVERITY_UNSPECIFIED ? tocsin::event::v1::SEVERITY_INFO
                                                             : severity;
}

// The record's own bytes become the field, once it is known that they are that message.
template <typename Message>
absl::Status Embed(int number, const std::string& data, Message& message, std::string& out) {
  if (!message.ParseFromString(data)) {
    return InvalidArgument(
        Concat("the value is not a ", std::string(Message::descriptor()->full_name())));
  }
  AppendField(number, data, out);
  return absl::OkStatus();
}

void EmbedEvent(const events::Event& event, const kafka::Record& record, std::string& out) {
  live::v1::Event told;
  auto& reference = *told.mutable_reference();
  reference.set_topic(record.topic);
  reference.set_partition(record.partition);
  reference.set_offset(record.offset);
  reference.set_source(event.source);
  reference.set_id(event.id);
  reference.set_sequence(event.sequence);
  const auto micros = event.time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(micros);
  reference.mutable_time()->set_seconds(seconds.count());
  reference.mutable_time()->set_nanos(static_cast<std::int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(micros - seconds).count()));
  told.set_type(event.type);
  told.set_subject(event.subject);
  told.set_partition_key(event.partition_key);
  told.set_severity(AtLeastInfo(event.severity));
  told.set_data(event.data);
  AppendField(SubscribeResponse::kEventFieldNumber, told.SerializeAsString(), out);
}

absl::Status Fill(const LiveTopic& topic, const kafka::Record& record, Entry& entry) {
  if (!record.value.has_value()) return NotFound("a tombstone");
  // What is in the log has passed ingest's limits, whatever they were.
  events::EventLimits limits;
  limits.max_data_bytes = std::size_t{64} << 20;
  TOCSIN_ASSIGN_OR_RETURN(const events::Event event, events::FromRecord(record, limits));
  entry.severity = AtLeastInfo(event.severity);
  std::string out;
  switch (topic.kind) {
    case live::v1::KIND_EVENT:
      EmbedEvent(event, record, out);
      break;
    case live::v1::KIND_DETECTION: {
      correlation::v1::Detection detection;
      TOCSIN_RETURN_IF_ERROR(
          Embed(SubscribeResponse::kDetectionFieldNumber, event.data, detection, out));
      entry.severity = AtLeastInfo(detection.severity());
      entry.rule_id = detection.rule_id();
      break;
    }
    case live::v1::KIND_INCIDENT: {
      incident::v1::Incident incident;
      TOCSIN_RETURN_IF_ERROR(
          Embed(SubscribeResponse::kIncidentFieldNumber, event.data, incident, out));
      entry.severity = AtLeastInfo(incident.severity());
      entry.rule_id = incident.rule_id();
      break;
    }
    case live::v1::KIND_ACTIVITY: {
      incident::v1::IncidentActivity activity;
      TOCSIN_RETURN_IF_ERROR(
          Embed(SubscribeResponse::kActivityFieldNumber, event.data, activity, out));
      break;
    }
    case live::v1::KIND_NOTIFICATION: {
      notification::v1::NotificationSent sent;
      TOCSIN_RETURN_IF_ERROR(
          Embed(SubscribeResponse::kNotificationFieldNumber, event.data, sent, out));
      break;
    }
    default:
      return Internal(Concat("topic ", topic.name, " has no kind"));
  }
  if (!event.traceparent.empty()) {
    AppendField(SubscribeResponse::kTraceparentFieldNumber, event.traceparent, out);
  }
  entry.body = http::Slice(std::move(out));
  return absl::OkStatus();
}

}  // namespace

std::vector<LiveTopic> LiveTopics(const std::vector<std::string>& streams) {
  std::vector<LiveTopic> topics = {{"detections", live::v1::KIND_DETECTION},
                                   {"incidents.correlated", live::v1::KIND_INCIDENT},
                                   {"incidents.activity", live::v1::KIND_ACTIVITY},
                                   {"notification.sent", live::v1::KIND_NOTIFICATION}};
  for (const std::string& stream : streams) topics.push_back({stream, live::v1::KIND_EVENT});
  return topics;
}

EntryPtr MakeEntry(const LiveTopic& topic, const kafka::Record& record, std::string* why) {
  auto entry = std::make_shared<Entry>();
  entry->offset = record.offset;
  entry->kind = topic.kind;
  const absl::Status filled = Fill(topic, record, *entry);
  if (!filled.ok() && !absl::IsNotFound(filled) && why != nullptr) *why = Message(filled);
  return entry;
}

std::string CursorField(std::string_view cursor) {
  std::string out;
  AppendField(SubscribeResponse::kCursorFieldNumber, cursor, out);
  return out;
}

}  // namespace tocsin::gateway
