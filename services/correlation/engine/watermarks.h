// Event time within one task: what the task's own partition of the stream has seen and promised,
// and what the marks of the upstream partitions say about the others. partition_time.h has the
// model.
//
// The state behind it are the keys t, m and r of docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/kafka/record_view.h"
#include "services/correlation/engine/idle_tracker.h"
#include "services/correlation/engine/output_writer.h"
#include "services/correlation/engine/partition_time.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

// Of the task's own partition.
PartitionTime LoadPartitionTime(const StateReader& state);
// The highest event time of any partition, as far as own events and marks tell.
std::optional<WallTime> HighestEventTime(const RulePlan& plan, const StateReader& state);
// Has own time to tell to a repartition topic that has no mark of it.
bool LacksMark(const RulePlan& plan, const StateReader& state);

class Watermarks {
 public:
  // Both must outlive it.
  Watermarks(StateView& state, const RulePlan& plan)
      : state_(state), plan_(plan), time_(LoadPartitionTime(state)), time_at_start_(time_) {}

  const PartitionTime& own() const { return time_; }
  // An event of the own partition.
  void Observe(WallTime event_time);
  void Promise(const DueSilence& due) {
    time_.Promise(due.idle_for, due.follows, plan_.TimeInSilence(due.beyond));
  }

  // A mark that came through `repartition`. False: it is none.
  bool TakeMark(const Repartition& repartition, const kafka::RecordView& record);

  // For rules that read the own partition alone.
  void AdvanceLocal(const PlannedRule& rule, ReorderBuffer& buffer) const;
  // For rules that read a repartition topic: the minimum over all upstream partitions. Does nothing
  // while no mark has come in this batch, unless `anew`.
  void AdvanceRepartition(const Repartition& repartition, bool anew, ReorderBuffer& buffer) const;
  // For joins: the minimum over the partitions that either side comes from.
  void AdvanceJoin(const PlannedRule& rule, ReorderBuffer& buffer) const;

  // Writes the own time where it changed, and marks for the partitions downstream. The last call.
  void Store(std::int32_t partition, OutputWriter& outputs);

 private:
  StateView& state_;
  const RulePlan& plan_;
  PartitionTime time_;
  const PartitionTime time_at_start_;
  // Repartition topics that brought a mark.
  std::set<std::string> marked_;
};

}  // namespace tocsin::correlation
