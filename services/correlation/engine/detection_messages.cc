#include "services/correlation/engine/detection_messages.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <tuple>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

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

}  // namespace

v1::Detection MakeDetection(const PlannedRule& rule, const std::vector<std::string>& group_key,
                            std::string_view joined, const Firing& firing) {
  const tocsin::rule::v1::Rule& spec = rule.rule->spec();
  const tocsin::event::v1::EventReference& last = firing.events.back().reference();
  // In two streams the same identity may stand for two events: of a pair the left one is named
  // first.
  const bool turned = rule.rule->join() != nullptr && last.topic() == spec.stream();
  const auto& first = (turned ? firing.events.back() : firing.events.front()).reference();
  const auto& second = (turned ? firing.events.front() : firing.events.back()).reference();
  const std::int64_t time = TimeUtil::TimestampToMicroseconds(last.time());

  v1::Detection detection;
  const std::string version = std::to_string(rule.version);
  const std::string_view parts[] = {spec.id(),  version,         joined,     first.source(),
                                    first.id(), second.source(), second.id()};
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

tocsin::incident::v1::Incident MakeIncident(const PlannedRule& rule,
                                            const std::vector<std::string>& group_key,
                                            const v1::IncidentRecord& record,
                                            const std::vector<v1::StoredEvent>& evidence) {
  const tocsin::rule::v1::Rule& spec = rule.rule->spec();
  tocsin::incident::v1::Incident incident;
  incident.set_id(record.id());
  incident.set_revision(record.revision());
  incident.set_rule_id(spec.id());
  for (const std::string& part : group_key) incident.add_group_key(part);
  incident.set_title(rule.rule->incident_title());
  incident.set_severity(spec.severity());
  *incident.mutable_opened_time() = TimeUtil::MicrosecondsToTimestamp(record.opened_us());
  *incident.mutable_last_detection_time() =
      TimeUtil::MicrosecondsToTimestamp(record.last_detection_us());
  incident.set_detection_count(record.detection_count());
  *incident.mutable_detection_ids() = record.detection_ids();
  for (const v1::StoredEvent& event : evidence) *incident.add_evidence() = event.reference();
  incident.set_stream(spec.stream());
  return incident;
}

}  // namespace tocsin::correlation
