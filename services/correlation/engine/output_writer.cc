#include "services/correlation/engine/output_writer.h"

#include <set>

#include "google/protobuf/message.h"
#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/enricher.h"
#include "services/correlation/engine/keys.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/window_state.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::size_t kMaxLinks = 128;

std::string SeverityText(tocsin::event::v1::Severity severity) {
  constexpr std::string_view kPrefix = "SEVERITY_";
  if (severity == tocsin::event::v1::SEVERITY_UNSPECIFIED) {
    severity = tocsin::event::v1::SEVERITY_INFO;
  }
  const std::string& name = tocsin::event::v1::Severity_Name(severity);
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

kafka::Headers OwnHeaders(const kafka::HeaderViews& views) {
  kafka::Headers headers;
  for (const auto& [name, value] : views.entries()) {
    headers.Append(std::string(name), std::string(value));
  }
  return headers;
}

// Without what forwarding has added.
kafka::Headers OriginalHeaders(const kafka::HeaderViews& views) {
  kafka::Headers headers = OwnHeaders(views);
  for (const std::string_view name :
       {kOriginHeader, kBeforeHeader, kLateHeader, kOriginalKeyHeader, kRowsHeader}) {
    headers.Remove(name);
  }
  return headers;
}

// A forwarded event has its group key as key.
std::optional<std::string> OriginalKey(const kafka::RecordView& record) {
  std::optional<std::string_view> key = record.key;
  if (record.headers.Find(kBeforeHeader).has_value()) key = record.headers.Find(kOriginalKeyHeader);
  if (!key.has_value()) return std::nullopt;
  return std::string(*key);
}

}  // namespace

void OutputWriter::NextCause(std::string_view input_topic) {
  ++cause_;
  input_topic_ = input_topic;
}

void OutputWriter::WriteForward(const Repartition& repartition, std::string key,
                                const kafka::RecordView& record, const Envelope& envelope,
                                const Origin& origin, const v1::WatermarkMark& before,
                                const v1::TableRows& rows, std::string_view late_for) {
  OutputRecord& output = Add(OutputKind::kForward, std::string(envelope.traceparent));
  output.record.topic = repartition.topic;
  output.record.partition = PartitionForKey(key, plan_.stream().partitions);
  output.record.key = std::move(key);
  output.record.value = record.value;
  output.record.headers = OwnHeaders(record.headers);
  if (keeps_late() && record.key.has_value()) {
    output.record.headers.Set(kOriginalKeyHeader, *record.key);
  }
  output.record.headers.Set(kOriginHeader, EncodeOrigin(origin));
  output.record.headers.Set(kBeforeHeader, before.SerializeAsString());
  if (!rows.rows().empty()) output.record.headers.Set(kRowsHeader, rows.SerializeAsString());
  if (!late_for.empty()) output.record.headers.Set(kLateHeader, late_for);
}

void OutputWriter::WriteMarks(const Repartition& repartition, const v1::WatermarkMark& mark) {
  const std::string bytes = mark.SerializeAsString();
  for (std::int32_t partition = 0; partition < plan_.stream().partitions; ++partition) {
    OutputRecord& output = Add(OutputKind::kMark, "");
    output.record.topic = repartition.topic;
    output.record.partition = partition;
    output.record.value = bytes;
    output.record.headers.Set(kKindHeader, kKindMark);
  }
}

void OutputWriter::WriteProcessed(const kafka::RecordView& record, const Envelope& envelope,
                                  const Origin& origin) {
  OutputRecord& output = Add(OutputKind::kProcessed, std::string(envelope.traceparent));
  output.record.topic = plan_.stream().ProcessedTopic();
  output.record.key = record.key;
  output.record.value = record.value;
  output.record.headers = OwnHeaders(record.headers);
  output.record.headers.Set(kOriginHeader, EncodeOrigin(origin));
}

bool OutputWriter::WriteLate(const kafka::RecordView& record, const Envelope& envelope,
                             const Origin& origin, const std::vector<LateFor>& late) {
  if (!keeps_late()) return false;
  OutputRecord& output = Add(OutputKind::kLate, std::string(envelope.traceparent));
  output.record.key = OriginalKey(record);
  output.record.value = record.value;
  output.record.headers = OriginalHeaders(record.headers);
  FillLate(EncodeOrigin(origin), envelope.time, late, output);
  return true;
}

v1::KeptRecord OutputWriter::Keep(const kafka::RecordView& record, const Origin& origin) {
  v1::KeptRecord kept;
  if (const std::optional<std::string> key = OriginalKey(record)) kept.set_key(*key);
  if (record.value.has_value()) kept.set_value(std::string(*record.value));
  const kafka::Headers headers = OriginalHeaders(record.headers);
  for (const auto& [name, value] : headers.entries()) {
    v1::KeptHeader& header = *kept.add_headers();
    header.set_name(name);
    header.set_value(value);
  }
  kept.set_origin(EncodeOrigin(origin));
  return kept;
}

bool OutputWriter::WriteLate(const v1::KeptRecord& record, WallTime time, const std::string& parent,
                             const std::vector<LateFor>& late) {
  if (!keeps_late()) return false;
  OutputRecord& output = Add(OutputKind::kLate, parent);
  if (record.has_key()) output.record.key = record.key();
  if (record.has_value()) output.record.value = record.value();
  for (const v1::KeptHeader& header : record.headers()) {
    output.record.headers.Append(header.name(), header.value());
  }
  FillLate(record.origin(), time, late, output);
  return true;
}

void OutputWriter::FillLate(std::string_view origin, WallTime time,
                            const std::vector<LateFor>& late, OutputRecord& output) const {
  output.record.topic = plan_.stream().LateTopic();
  std::vector<std::string> rules;
  std::vector<std::string> reasons;
  std::vector<std::string> watermarks;
  for (const LateFor& of_rule : late) {
    rules.push_back(of_rule.rule);
    watermarks.push_back(FormatTime(of_rule.watermark));
    reasons.push_back(Concat(of_rule.rule, ": ", FormatTime(time), " is ",
                             FormatDuration(of_rule.watermark - time), " behind the watermark ",
                             watermarks.back()));
  }
  kafka::Headers& headers = output.record.headers;
  headers.Set(kOriginHeader, origin);
  headers.Set("late.rule", Join(rules, ","));
  headers.Set("late.reason", Join(reasons, "; "));
  headers.Set("late.watermark", Join(watermarks, ","));
}

void OutputWriter::WriteDeadLetter(const kafka::RecordView& record, const absl::Status& why,
                                   WallTime now) {
  OutputRecord& output =
      Add(OutputKind::kDeadLetter, std::string(record.headers.Find("traceparent").value_or("")));
  output.record.topic = plan_.stream().DeadLetterTopic();
  output.record.key = record.key;
  output.record.value = record.value;
  kafka::Headers& headers = output.record.headers;
  headers = OwnHeaders(record.headers);
  headers.Set("dlq.topic", record.topic);
  headers.Set("dlq.partition", std::to_string(record.partition));
  headers.Set("dlq.offset", std::to_string(record.offset));
  headers.Set("dlq.group", options_.group);
  headers.Set("dlq.error_class", absl::StatusCodeToString(why.code()));
  headers.Set("dlq.message", Message(why));
  headers.Set("dlq.attempts", "1");
  headers.Set("dlq.first_failure", FormatTime(now));
}

void OutputWriter::WriteDetection(const v1::Detection& detection, const std::string& key,
                                  const Firing& firing) {
  AddEvent(
      OutputKind::kDetection, options_.detections_topic, key, options_.detection_schema, detection,
      detection.revision() > 1 ? Concat(detection.id(), '/', detection.revision()) : detection.id(),
      SeverityText(detection.severity()), firing);
}

void OutputWriter::WriteIncident(const tocsin::incident::v1::Incident& incident,
                                 const Firing& firing) {
  AddEvent(OutputKind::kIncident, options_.incidents_topic, incident.id(), options_.incident_schema,
           incident, Concat(incident.id(), '/', incident.revision()),
           SeverityText(incident.severity()), firing);
}

void OutputWriter::AddEvent(OutputKind kind, const std::string& topic, const std::string& key,
                            const OutputSchema& schema, const google::protobuf::Message& message,
                            std::string_view id, std::string_view severity, const Firing& firing) {
  const v1::StoredEvent& fired = firing.events.back();
  OutputRecord& output = Add(kind, fired.traceparent());
  std::set<std::string_view> links;
  for (const v1::StoredEvent& event : firing.events) {
    const std::string& link = event.traceparent();
    if (link.empty() || link == output.parent || links.size() >= kMaxLinks) continue;
    if (links.insert(link).second) output.links.push_back(link);
  }
  FillEvent(topic, key, schema, message, id, severity,
            FromMicros(TimeUtil::TimestampToMicroseconds(fired.reference().time())), output);
}

void OutputWriter::WriteAggregate(const v1::WindowResult& result, const std::string& key,
                                  std::string_view id, tocsin::event::v1::Severity severity,
                                  const std::string& parent) {
  FillEvent(options_.aggregates_topic, key, options_.aggregate_schema, result, id,
            SeverityText(severity),
            FromMicros(TimeUtil::TimestampToMicroseconds(result.window_end())),
            Add(OutputKind::kAggregate, parent));
}

void OutputWriter::FillEvent(const std::string& topic, const std::string& key,
                             const OutputSchema& schema, const google::protobuf::Message& message,
                             std::string_view id, std::string_view severity, WallTime time,
                             OutputRecord& output) const {
  output.record.topic = topic;
  output.record.key = key;
  output.record.value =
      schema::EncodeFrame(schema.id, schema.message_indexes, message.SerializeAsString());
  kafka::Headers& headers = output.record.headers;
  headers.Set("ce_specversion", "1.0");
  headers.Set("ce_id", id);
  headers.Set("ce_source", options_.source);
  headers.Set("ce_type", message.GetDescriptor()->full_name());
  headers.Set("ce_time", FormatTime(time));
  headers.Set("ce_partitionkey", key);
  headers.Set("ce_severitytext", severity);
  headers.Set("content-type", "application/protobuf");
}

OutputRecord& OutputWriter::Add(OutputKind kind, std::string parent) {
  OutputRecord& output = outputs_.emplace_back();
  output.kind = kind;
  output.cause = cause_;
  output.input_topic = input_topic_;
  output.parent = std::move(parent);
  return output;
}

}  // namespace tocsin::correlation
