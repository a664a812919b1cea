#include "services/correlation/engine/detector.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::size_t kMaxDetectionIds = 1'000;
constexpr int kMaxEnrichments = 100;

// The rows that the events were judged with, each once.
void AddEnrichment(const Firing& firing, v1::Detection& detection) {
  std::set<std::tuple<std::string_view, std::string_view, std::int32_t, std::int64_t>> seen;
  for (const v1::StoredEvent& event : firing.events) {
    for (const v1::Enrichment& row : event.enrichment()) {
      if (!seen.emplace(row.as(), row.key(), row.partition(), row.offset()).second) continue;
      if (detection.enrichment_size() < kMaxEnrichments) {
        *detection.add_enrichment() = row;
      } else {
        detection.set_enrichment_left_out(detection.enrichment_left_out() + 1);
      }
    }
  }
}

v1::Detection MakeDetection(const PlannedRule& rule, const std::vector<std::string>& group_key,
                            std::string_view joined, const Firing& firing) {
  const tocsin::rule::v1::Rule& spec = rule.rule->spec();
  const tocsin::event::v1::EventReference& first = firing.events.front().reference();
  const tocsin::event::v1::EventReference& last = firing.events.back().reference();
  const std::int64_t time = TimeUtil::TimestampToMicroseconds(last.time());

  v1::Detection detection;
  const std::string version = std::to_string(rule.version);
  const std::string_view parts[] = {spec.id(),  version,       joined,   first.source(),
                                    first.id(), last.source(), last.id()};
  detection.set_id(StableId(parts));
  detection.set_rule_id(spec.id());
  detection.set_rule_version(rule.version);
  detection.set_rule_title(spec.title());
  detection.set_stream(spec.stream());
  for (const std::string& part : group_key) detection.add_group_key(part);
  *detection.mutable_time() = last.time();
  *detection.mutable_window_start() = TimeUtil::MicrosecondsToTimestamp(
      std::max(time - rule.rule->timespan().count(), Micros(kFirstTime)));
  detection.set_value(firing.value);
  detection.set_severity(spec.severity());
  for (const v1::StoredEvent& event : firing.events) {
    *detection.add_evidence() = event.reference();
  }
  AddEnrichment(firing, detection);
  return detection;
}

// As it is after `detection`.
tocsin::incident::v1::Incident MakeIncident(const PlannedRule& rule,
                                            const v1::IncidentRecord& record,
                                            const v1::Detection& detection) {
  const tocsin::rule::v1::Rule& spec = rule.rule->spec();
  tocsin::incident::v1::Incident incident;
  incident.set_id(record.id());
  incident.set_revision(record.revision());
  incident.set_rule_id(spec.id());
  *incident.mutable_group_key() = detection.group_key();
  incident.set_title(rule.rule->incident_title());
  incident.set_severity(spec.severity());
  *incident.mutable_opened_time() = TimeUtil::MicrosecondsToTimestamp(record.opened_us());
  *incident.mutable_last_detection_time() =
      TimeUtil::MicrosecondsToTimestamp(record.last_detection_us());
  incident.set_detection_count(record.detection_count());
  *incident.mutable_detection_ids() = record.detection_ids();
  *incident.mutable_evidence() = detection.evidence();
  incident.set_stream(spec.stream());
  return incident;
}

}  // namespace

void Detector::Evaluate(const PlannedRule& rule, std::string_view group_key, std::uint64_t hash,
                        const PackedEvent& event, std::int64_t timestamp_us) {
  Window& window = windows_[rule.number].Change(state_, group_key, hash);
  const std::optional<Firing> firing = window.Add(*rule.rule, event, timestamp_us);
  if (!firing.has_value()) return;
  Fire(rule, {SplitKey(group_key, rule.key_fields()), group_key}, *firing, timestamp_us);
}

void Detector::Fire(const PlannedRule& rule, const Group& group, const Firing& firing,
                    std::int64_t timestamp_us) {
  v1::Detection detection = MakeDetection(rule, group.key, group.joined, firing);
  const v1::IncidentRecord record =
      JoinIncident(rule, group, detection.id(), TimeUtil::TimestampToMicroseconds(detection.time()),
                   timestamp_us);
  detection.set_incident_id(record.id());
  ++counts(rule).detections;

  std::vector<std::string> key_parts = {rule.rule->spec().id()};
  key_parts.insert(key_parts.end(), group.key.begin(), group.key.end());
  outputs_.WriteDetection(detection, JoinKey(key_parts), firing);
  outputs_.WriteIncident(MakeIncident(rule, record, detection), firing);
}

v1::IncidentRecord Detector::JoinIncident(const PlannedRule& rule, const Group& group,
                                          std::string_view detection_id, std::int64_t time_us,
                                          std::int64_t timestamp_us) {
  const std::string key = IncidentKey(rule.rule->spec().id(), rule.group_by, group.joined);
  std::optional<v1::IncidentRecord> known = LoadState<v1::IncidentRecord>(state_, key);
  const bool joins =
      known.has_value() && time_us - known->last_detection_us() <= rule.rule->join_within().count();
  v1::IncidentRecord record;
  if (joins) {
    record = *std::move(known);
  } else {
    const std::string_view parts[] = {"incident", detection_id};
    record.set_id(StableId(parts));
    record.set_opened_us(time_us);
    ++counts(rule).incidents;
  }
  record.set_revision(record.revision() + 1);
  record.set_detection_count(record.detection_count() + 1);
  record.set_last_detection_us(joins ? std::max(record.last_detection_us(), time_us) : time_us);
  record.set_opened_us(std::min(record.opened_us(), time_us));
  record.add_detection_ids(std::string(detection_id));
  if (std::cmp_greater(record.detection_ids_size(), kMaxDetectionIds)) {
    record.mutable_detection_ids()->erase(record.detection_ids().begin());
  }
  record.set_touched_us(timestamp_us);
  state_.Put(key, record.SerializeAsString());
  return record;
}

}  // namespace tocsin::correlation
