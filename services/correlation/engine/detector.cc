#include "services/correlation/engine/detector.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/time.h"
#include "services/correlation/engine/detection_messages.h"
#include "services/correlation/engine/history.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::size_t kMaxDetectionIds = 1'000;

}  // namespace

void Detector::Evaluate(const PlannedRule& rule, std::string_view group_key, std::uint64_t hash,
                        const PackedEvent& event, std::int64_t timestamp_us) {
  if (rule.rule->spec().has_correct_within()) {
    EvaluateWithHistory(rule, group_key, hash, event, timestamp_us);
    return;
  }
  Window& window = windows_[rule.number].Change(state_, group_key, hash);
  const std::optional<Firing> firing = window.Add(*rule.rule, event, timestamp_us);
  if (!firing.has_value()) return;
  Fire(rule, {SplitKey(group_key, rule.key_fields()), group_key}, *firing, timestamp_us);
}

void Detector::Fire(const PlannedRule& rule, const Group& group, const Firing& firing,
                    std::int64_t timestamp_us, v1::HistoryHead* head, v1::HistoryEntry* entry) {
  v1::Detection detection = MakeDetection(rule, group.key, group.joined, firing);
  const v1::IncidentRecord record =
      JoinIncident(rule, group, detection.id(), TimeUtil::TimestampToMicroseconds(detection.time()),
                   timestamp_us, head);
  detection.set_incident_id(record.id());
  ++counts(rule).detections;
  if (entry != nullptr) {
    detection.set_revision(entry->revision());
    entry->set_detection_id(detection.id());
    entry->set_incident_id(record.id());
  }
  WriteDetection(rule, group, detection, firing);
  outputs_.WriteIncident(MakeIncident(rule, group.key, record, firing.events), firing);
}

void Detector::WriteDetection(const PlannedRule& rule, const Group& group,
                              const v1::Detection& detection, const Firing& firing) {
  std::vector<std::string> key_parts = {rule.rule->spec().id()};
  key_parts.insert(key_parts.end(), group.key.begin(), group.key.end());
  outputs_.WriteDetection(detection, JoinKey(key_parts), firing);
}

v1::IncidentRecord Detector::JoinIncident(const PlannedRule& rule, const Group& group,
                                          std::string_view detection_id, std::int64_t time_us,
                                          std::int64_t timestamp_us, v1::HistoryHead* head) {
  const std::string key = IncidentKey(rule.rule->spec().id(), rule.group_by, group.joined);
  std::optional<v1::IncidentRecord> known = LoadState<v1::IncidentRecord>(state_, key);
  const bool joins =
      known.has_value() && time_us - known->last_detection_us() <= rule.rule->join_within().count();
  v1::IncidentRecord record;
  if (joins) {
    record = *std::move(known);
  } else {
    if (head != nullptr && known.has_value()) KeepIncident(rule, *std::move(known), *head);
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
  if (head != nullptr) record.add_detection_us(time_us);
  if (std::cmp_greater(record.detection_ids_size(), kMaxDetectionIds)) {
    if (record.detection_us_size() == record.detection_ids_size()) {
      record.mutable_detection_us()->erase(record.detection_us().begin());
    }
    record.mutable_detection_ids()->erase(record.detection_ids().begin());
  }
  record.set_touched_us(timestamp_us);
  state_.Put(key, record.SerializeAsString());
  return record;
}

}  // namespace tocsin::correlation
