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
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/counts.h"
#include "services/correlation/engine/output_writer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/engine/window.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

class Detector {
 public:
  // All must outlive it.
  Detector(StateView& state, OutputWriter& outputs, Counts& counts)
      : state_(state), outputs_(outputs), counts_(counts) {}

  // `timestamp_us`: the highest Kafka timestamp so far; says when state was touched last.
  void Evaluate(const PlannedRule& rule, const std::vector<std::string>& group_key,
                v1::StoredEvent event, std::int64_t timestamp_us);

 private:
  // Where in the state, and in the words of the rule, a group key's things lie.
  struct Group {
    const std::vector<std::string>& key;
    const std::string joined;
  };

  void Fire(const PlannedRule& rule, const Group& group, const Firing& firing,
            std::int64_t timestamp_us);
  // The incident with this detection (at `time_us`) counted in.
  v1::IncidentRecord JoinIncident(const PlannedRule& rule, const Group& group,
                                  std::string_view detection_id, std::int64_t time_us,
                                  std::int64_t timestamp_us);
  RuleCounts& counts(const PlannedRule& rule) { return counts_.rules[rule.rule->id()]; }

  StateView& state_;
  OutputWriter& outputs_;
  Counts& counts_;
};

}  // namespace tocsin::correlation
