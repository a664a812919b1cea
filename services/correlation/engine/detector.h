// Evaluates a rule for one event: adds it to the window of its group key, and where the condition
// holds writes a detection and the incident that it opens or joins.
//
// A detection joins the last incident of its rule and group key while it comes within the rule's
// `join_within` of that incident's last detection. With `correct_within` a late event is put among
// those judged before it; what is different then is told again (docs/formats/time.md). The state
// behind it are the keys k and i of docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/counts.h"
#include "services/correlation/engine/history.h"
#include "services/correlation/engine/output_writer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/engine/typed_cache.h"
#include "services/correlation/engine/window.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

// The windows of the rules of a plan, by the rule's number in it.
using WindowCaches = std::vector<TypedCache<Window>>;

class Detector {
 public:
  // All must outlive it. `counts`: by the rule's number.
  Detector(StateView& state, WindowCaches& windows, OutputWriter& outputs,
           std::vector<RuleCounts>& counts)
      : state_(state), windows_(windows), outputs_(outputs), counts_(counts) {}

  // `group_key`: joined, and its TypedCache::Hash. `timestamp_us`: the highest Kafka timestamp so
  // far; says when state was touched last.
  void Evaluate(const PlannedRule& rule, std::string_view group_key, std::uint64_t hash,
                const PackedEvent& event, std::int64_t timestamp_us);
  // Writes the detection of a firing that was found elsewhere, and its incident.
  void Tell(const PlannedRule& rule, std::string_view group_key, const Firing& firing,
            std::int64_t timestamp_us) {
    Fire(rule, {SplitKey(group_key, rule.key_fields()), group_key}, firing, timestamp_us);
  }

 private:
  // A group key in the state and in the words of the rule.
  struct Group {
    const std::vector<std::string> key;
    const std::string_view joined;
  };

  // `head`, `entry`: of rules with correct_within; gets what a correction needs to know.
  void Fire(const PlannedRule& rule, const Group& group, const Firing& firing,
            std::int64_t timestamp_us, v1::HistoryHead* head = nullptr,
            v1::HistoryEntry* entry = nullptr);
  void WriteDetection(const PlannedRule& rule, const Group& group, const v1::Detection& detection,
                      const Firing& firing);
  // The incident with this detection (at `time_us`) counted in.
  v1::IncidentRecord JoinIncident(const PlannedRule& rule, const Group& group,
                                  std::string_view detection_id, std::int64_t time_us,
                                  std::int64_t timestamp_us, v1::HistoryHead* head);

  // --- correct_within: corrections.cc ---

  void EvaluateWithHistory(const PlannedRule& rule, std::string_view joined, std::uint64_t hash,
                           const PackedEvent& event, std::int64_t timestamp_us);
  // `late` comes before something that was judged.
  void Correct(const PlannedRule& rule, const Group& group, std::uint64_t hash, History& history,
               HistoryItem late, std::int64_t timestamp_us);
  // The latest under `incident_key`, the others with the key's history.
  void StoreIncidents(const PlannedRule& rule, v1::HistoryHead& head,
                      const std::string& incident_key, std::vector<v1::IncidentRecord> records);
  static void KeepIncident(const PlannedRule& rule, v1::IncidentRecord record,
                           v1::HistoryHead& head);

  RuleCounts& counts(const PlannedRule& rule) { return counts_[rule.number]; }

  StateView& state_;
  WindowCaches& windows_;
  OutputWriter& outputs_;
  std::vector<RuleCounts>& counts_;
};

}  // namespace tocsin::correlation
