// The part of detector.h that judges again what a late event changes.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "services/correlation/engine/detection_messages.h"
#include "services/correlation/engine/detector.h"
#include "services/correlation/engine/history.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

// A key's events with the late one among them: what the rule had found before it came, and what it
// finds now.
class Rejudged {
 public:
  Rejudged(const CompiledRule& rule, std::vector<HistoryItem> items, HistoryItem late)
      : rule_(rule), items_(std::move(items)) {
    const auto place = std::lower_bound(
        items_.begin(), items_.end(), late.order,
        [](const HistoryItem& item, const std::string& order) { return item.order < order; });
    at_ = static_cast<std::size_t>(place - items_.begin());
    items_.insert(place, std::move(late));
    fired_.resize(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) fired_[i] = items_[i].entry.fired();
    now_.resize(items_.size());
  }

  // Judges the late event and what follows, until the rule fires where it had fired before: from
  // there on nothing is different. Returns the window that is left; nullopt: the one that there is.
  std::optional<Window> Run(std::int64_t touched_us) {
    Window window;
    std::size_t start = at_;
    while (start > 0 && !fired_[start - 1]) --start;
    const std::int64_t from = items_[at_].event().time_us - rule_.timespan().count();
    for (; start < at_; ++start) {
      const PackedEvent event = items_[start].event();
      if (event.time_us > from) window.Keep(event);
    }
    for (std::size_t i = at_; i < items_.size(); ++i) {
      now_[i] = window.Add(rule_, items_[i].event(), touched_us);
      end_ = i + 1;
      if (i > at_ && fired_[i] && now_[i].has_value()) return std::nullopt;
    }
    return window;
  }

  std::size_t at() const { return at_; }
  // Behind the last that was judged.
  std::size_t end() const { return end_; }
  std::size_t size() const { return items_.size(); }
  HistoryItem& item(std::size_t i) { return items_[i]; }
  bool had_fired(std::size_t i) const { return i != at_ && fired_[i]; }
  bool fires(std::size_t i) const {
    return i < at_ || i >= end_ ? had_fired(i) : now_[i].has_value();
  }
  const Firing& firing(std::size_t i) const { return *now_[i]; }

  bool SameEvidence(std::size_t i) const { return Evidence(i, true) == Evidence(i, false); }
  // As it was told before, or as it is known now.
  Firing Reconstruct(std::size_t i, bool before) const {
    Firing firing;
    std::set<std::string> values;
    for (const std::size_t of : Evidence(i, before)) {
      firing.events.push_back(Unpack(items_[of].event()));
      values.insert(firing.events.back().value());
    }
    firing.value =
        rule_.type() == RuleType::kValueCount ? std::ssize(values) : std::ssize(firing.events);
    return firing;
  }

 private:
  // The events in the window of the i-th, itself the last.
  std::vector<std::size_t> Evidence(std::size_t i, bool before) const {
    std::vector<std::size_t> of;
    const std::int64_t from = items_[i].event().time_us - rule_.timespan().count();
    for (std::size_t j = i + 1; j-- > 0;) {
      if (before && j == at_) continue;
      if (j != i && (before ? had_fired(j) : fires(j))) break;
      if (items_[j].event().time_us <= from) break;
      of.push_back(j);
    }
    std::reverse(of.begin(), of.end());
    return of;
  }

  const CompiledRule& rule_;
  std::vector<HistoryItem> items_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  // Before the late event came.
  std::vector<bool> fired_;
  std::vector<std::optional<Firing>> now_;
};

// The incidents of a key that a correction may touch.
class Incidents {
 public:
  Incidents(const PlannedRule& rule, const v1::HistoryHead& head,
            std::optional<v1::IncidentRecord> latest)
      : join_within_us_(rule.rule->join_within().count()),
        records_(head.incidents().begin(), head.incidents().end()) {
    if (latest.has_value()) records_.push_back(*std::move(latest));
  }

  // False: the incident is not known any more.
  bool Remove(const std::string& incident, const std::string& detection) {
    v1::IncidentRecord* record = Find(incident);
    if (record == nullptr) return false;
    const auto& ids = record->detection_ids();
    const auto at = static_cast<int>(std::find(ids.begin(), ids.end(), detection) - ids.begin());
    if (at < record->detection_ids_size()) {
      // Of the oldest the times may not be known.
      const int time = at - (record->detection_ids_size() - record->detection_us_size());
      if (time >= 0) {
        record->mutable_detection_us()->erase(record->detection_us().begin() + time);
      }
      record->mutable_detection_ids()->DeleteSubrange(at, 1);
    }
    record->set_detection_count(std::max<std::int64_t>(record->detection_count() - 1, 0));
    Measure(*record);
    return true;
  }

  bool Replace(const std::string& incident, const std::string& before, const std::string& now) {
    v1::IncidentRecord* record = Find(incident);
    if (record == nullptr) return false;
    std::replace(record->mutable_detection_ids()->begin(), record->mutable_detection_ids()->end(),
                 before, now);
    return true;
  }

  // The id of the incident that it joins or, if `opened`, opens.
  std::string Insert(const std::string& detection, std::int64_t time_us, bool& opened) {
    const auto fits = [&](const v1::IncidentRecord& record) {
      return time_us >= record.opened_us() - join_within_us_ &&
             time_us <= record.last_detection_us() + join_within_us_;
    };
    auto found = std::find_if(records_.rbegin(), records_.rend(), fits);
    opened = found == records_.rend();
    if (opened) {
      const std::string_view parts[] = {"incident", detection};
      v1::IncidentRecord record;
      record.set_id(StableId(parts));
      record.set_opened_us(time_us);
      record.set_last_detection_us(time_us);
      const auto after = std::find_if(records_.begin(), records_.end(), [&](const auto& other) {
        return other.last_detection_us() > time_us;
      });
      found = std::make_reverse_iterator(std::next(records_.insert(after, std::move(record))));
    }
    v1::IncidentRecord& record = *found;
    touched_.insert(record.id());
    const auto& times = record.detection_us();
    const auto at =
        static_cast<int>(std::upper_bound(times.begin(), times.end(), time_us) - times.begin());
    const int unknown = record.detection_ids_size() - record.detection_us_size();
    record.add_detection_ids(detection);
    record.add_detection_us(time_us);
    for (int i = record.detection_us_size() - 1; i > at; --i) {
      record.mutable_detection_us()->SwapElements(i, i - 1);
      record.mutable_detection_ids()->SwapElements(unknown + i, unknown + i - 1);
    }
    record.set_detection_count(record.detection_count() + 1);
    Measure(record);
    return record.id();
  }

  const std::set<std::string>& touched() const { return touched_; }
  std::vector<v1::IncidentRecord>& records() { return records_; }

 private:
  v1::IncidentRecord* Find(const std::string& id) {
    for (v1::IncidentRecord& record : records_) {
      if (record.id() != id) continue;
      touched_.insert(id);
      return &record;
    }
    return nullptr;
  }

  // From its detections, where all of them are known.
  static void Measure(v1::IncidentRecord& record) {
    const auto& times = record.detection_us();
    if (times.empty() || record.detection_count() != times.size()) return;
    record.set_opened_us(*std::min_element(times.begin(), times.end()));
    record.set_last_detection_us(*std::max_element(times.begin(), times.end()));
  }

  const std::int64_t join_within_us_;
  // By their last detections.
  std::vector<v1::IncidentRecord> records_;
  std::set<std::string> touched_;
};

std::int64_t TimeOf(const Firing& firing) {
  return TimeUtil::TimestampToMicroseconds(firing.events.back().reference().time());
}

}  // namespace

void Detector::EvaluateWithHistory(const PlannedRule& rule, std::string_view joined,
                                   std::uint64_t hash, const PackedEvent& event,
                                   std::int64_t timestamp_us) {
  History history(rule, joined, state_);
  HistoryItem item;
  item.order = History::OrderOf(Unpack(event));
  item.entry.set_event(std::string(event.bytes));
  switch (history.PlaceOf(item.order, event.time_us)) {
    case History::Place::kKnown:
      return;
    case History::Place::kForgotten:
      ++counts(rule).dropped["not_corrected"];
      return;
    case History::Place::kEarlier:
      Correct(rule, {SplitKey(joined, rule.key_fields()), joined}, hash, history, std::move(item),
              timestamp_us);
      return;
    case History::Place::kNewest:
      break;
  }
  Window& window = windows_[rule.number].Change(state_, joined, hash);
  const std::optional<Firing> firing = window.Add(*rule.rule, event, timestamp_us);
  if (firing.has_value()) {
    item.entry.set_fired(true);
    item.entry.set_revision(1);
    Fire(rule, {SplitKey(joined, rule.key_fields()), joined}, *firing, timestamp_us,
         &history.head(), &item.entry);
  }
  history.Add(item, event.time_us);
  const std::int64_t too_much = history.Trim(event.time_us);
  if (too_much > 0) counts(rule).dropped["history_full"] += too_much;
  history.Store();
}

void Detector::Correct(const PlannedRule& rule, const Group& group, std::uint64_t hash,
                       History& history, HistoryItem late, std::int64_t timestamp_us) {
  ++counts(rule).corrections;
  const std::int64_t time_us = late.event().time_us;
  Firing cause;
  cause.events.push_back(Unpack(late.event()));
  Rejudged rejudged(*rule.rule, history.Items(), std::move(late));
  std::optional<Window> left = rejudged.Run(timestamp_us);
  if (left.has_value()) {
    windows_[rule.number].Change(state_, group.joined, hash).ReplaceBy(*std::move(left));
  }

  const std::string incident_key = IncidentKey(rule.rule->spec().id(), rule.group_by, group.joined);
  Incidents incidents(rule, history.head(), LoadState<v1::IncidentRecord>(state_, incident_key));
  for (std::size_t i = rejudged.at(); i < rejudged.end(); ++i) {
    const bool before = rejudged.had_fired(i);
    const bool now = rejudged.fires(i);
    if ((!before && !now) || (before && now && rejudged.SameEvidence(i))) continue;
    v1::HistoryEntry& entry = rejudged.item(i).entry;
    const Firing firing = now ? rejudged.firing(i) : rejudged.Reconstruct(i, true);
    v1::Detection detection = MakeDetection(rule, group.key, group.joined, firing);
    detection.set_revision(entry.revision() + 1);
    if (before && !now) {
      // As it was told.
      detection.set_id(entry.detection_id());
      detection.set_retracted(true);
      if (!incidents.Remove(entry.incident_id(), entry.detection_id())) {
        ++counts(rule).dropped["incident_gone"];
      }
    } else if (before) {
      detection.set_corrects(entry.detection_id());
      if (!incidents.Replace(entry.incident_id(), entry.detection_id(), detection.id())) {
        ++counts(rule).dropped["incident_gone"];
      }
    } else {
      bool opened = false;
      entry.set_incident_id(incidents.Insert(detection.id(), TimeOf(firing), opened));
      if (opened) ++counts(rule).incidents;
    }
    detection.set_incident_id(entry.incident_id());
    entry.set_fired(now);
    entry.set_detection_id(detection.id());
    entry.set_revision(detection.revision());
    if (now && !before) ++counts(rule).detections;
    WriteDetection(rule, group, detection, firing);
    if (i != rejudged.at()) history.Put(rejudged.item(i));
  }
  history.Add(rejudged.item(rejudged.at()), time_us);

  // Each incident once, with what is known of its newest detection.
  for (v1::IncidentRecord& record : incidents.records()) {
    if (!incidents.touched().contains(record.id())) continue;
    record.set_revision(record.revision() + 1);
    record.set_touched_us(timestamp_us);
    std::vector<v1::StoredEvent> evidence;
    if (!record.detection_ids().empty()) {
      const std::string& newest = *record.detection_ids().rbegin();
      for (std::size_t i = 0; i < rejudged.size(); ++i) {
        if (!rejudged.fires(i) || rejudged.item(i).entry.detection_id() != newest) continue;
        evidence = rejudged.Reconstruct(i, false).events;
      }
    }
    tocsin::incident::v1::Incident incident = MakeIncident(rule, group.key, record, evidence);
    incident.set_corrected(true);
    outputs_.WriteIncident(incident, cause);
  }
  StoreIncidents(rule, history.head(), incident_key, std::move(incidents.records()));
  history.Store();
}

void Detector::StoreIncidents(const PlannedRule& rule, v1::HistoryHead& head,
                              const std::string& incident_key,
                              std::vector<v1::IncidentRecord> records) {
  head.clear_incidents();
  if (records.empty()) return;
  state_.Put(incident_key, records.back().SerializeAsString());
  records.pop_back();
  for (v1::IncidentRecord& record : records) KeepIncident(rule, std::move(record), head);
}

void Detector::KeepIncident(const PlannedRule& rule, v1::IncidentRecord record,
                            v1::HistoryHead& head) {
  *head.add_incidents() = std::move(record);
  const std::int64_t oldest = head.highest_us() - History::Lifetime(rule).count();
  const auto is_over = [&] {
    return head.incidents(0).last_detection_us() < oldest ||
           head.incidents_size() > kMaxOlderIncidents;
  };
  while (head.incidents_size() > 0 && is_over()) {
    head.mutable_incidents()->DeleteSubrange(0, 1);
  }
}

}  // namespace tocsin::correlation
