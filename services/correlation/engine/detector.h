// Evaluates a rule for one event: adds it to the window of its group key, and where the condition
// holds writes a detection and the incident that it opens or joins.
//
// A detection joins the last incident of its rule and group key while it comes within the rule's
// `join_within` of that incident's last detection. The state behind it are the keys k and i of
// docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/counts.h"
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

 private:
  // A group key in the state and in the words of the rule.
  struct Group {
    const std::vector<std::string> key;
    const std::string_view joined;
  };

  void Fire(const PlannedRule& rule, const Group& group, const Firing& firing,
            std::int64_t timestamp_us);
  // The incident with this detection (at `time_us`) counted in.
  v1::IncidentRecord JoinIncident(const PlannedRule& rule, const Group& group,
                                  std::string_view detection_id, std::int64_t time_us,
                                  std::int64_t timestamp_us);
  RuleCounts& counts(const PlannedRule& rule) { return counts_[rule.number]; }

  StateView& state_;
  WindowCaches& windows_;
  OutputWriter& outputs_;
  std::vector<RuleCounts>& counts_;
};

}  // namespace tocsin::correlation
