// Removes state that no later event can meet: windows and incidents whose time is over, and
// everything of rule versions that are gone.
//
// In pieces, a bounded number of keys in each batch. docs/formats/correlation-state.md says when
// what goes.
//
// Threads: one at a time. Lives as long as its task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/detector.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

class GarbageCollector {
 public:
  // A batch earns Sweep a look at `max_sweep` keys.
  explicit GarbageCollector(std::size_t max_sweep) : max_sweep_(max_sweep) {}

  // Another plan, or the last batch was not committed: what was learnt from it is forgotten.
  void Restart();

  // Before the first batch under a plan: notes its rule versions in the state and finds those that
  // are gone. True when this was that batch.
  bool TakeUpPlan(const RulePlan& plan, StateView& state);
  // There is something to do without any input.
  bool HasWork() const { return !plan_taken_up_ || !retired_.empty(); }

  // Looks at some windows and incidents, round and round. `timestamp_us`: the highest Kafka
  // timestamp so far, by which the state of rules in arrival order ages; of those in event-time
  // order `buffer` says how far they have come. `batches`: how many since the last sweep have done
  // something.
  // Behind a flush: what is removed, `windows` forget.
  void Sweep(const RulePlan& plan, std::int64_t timestamp_us, ReorderBuffer& buffer,
             WindowCaches& windows, std::size_t batches, StateView& state);
  // Removes a piece of what belongs to rule versions that are gone. False: there is more.
  bool RemoveRetired(const RulePlan& plan, StateView& state);

 private:
  const std::size_t max_sweep_;
  bool plan_taken_up_ = false;
  // Prefixes of rule versions whose state is being removed; known once `plan_taken_up_`.
  std::vector<std::string> retired_;
  // Where the next sweep begins; empty: at the first key.
  std::string sweep_from_;
};

}  // namespace tocsin::correlation
