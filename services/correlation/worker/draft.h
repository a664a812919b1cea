// What the tasks of a worker have computed since the last transaction began: the next transaction
// as far as it has come.
//
// Threads: one at a time, that of the worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/worker/stamp.h"
#include "services/correlation/worker/task_slot.h"
#include "services/correlation/worker/transaction.h"

namespace tocsin::correlation {

class Draft {
 public:
  // One task's part, over all its runs.
  struct Share {
    TaskSlot* slot = nullptr;
    std::vector<OutputRecord> outputs;
    // Of each run.
    std::vector<Counts> counts;
    std::map<std::string, std::int64_t> next;
    InputRanges inputs;
    // The task keeps in memory what its runs have changed.
    bool unflushed = false;
    // Once it is handed over.
    std::shared_ptr<const StateChanges> changes;
  };

  // Adds a run of a task that did not flush; its changes are in the slot's overlay and in the
  // task.
  void Add(TaskSlot& slot, const TaskInput& input, TaskResult result, SteadyTime now);
  void Clear() { *this = {}; }

  // What the tasks keep in memory goes to their overlays, so that every value is written once in
  // a transaction, however many runs have changed it. The first error of a state that cannot be
  // read: then the draft is worthless.
  absl::Status Flush();

  // Nothing to make visible; before Flush: as far as is known.
  bool empty() const;
  bool has_outputs() const { return outputs_ > 0; }
  std::size_t outputs() const { return outputs_; }
  std::size_t records() const { return records_; }
  std::size_t bytes() const { return bytes_; }
  // When the first run was added.
  SteadyTime began() const { return began_.value_or(SteadyTime{}); }
  const std::map<TaskSlot*, Share>& shares() const { return shares_; }

  // Behind Flush. Moves everything into a transaction, and the changes from the overlays into what
  // is in flight. The draft is empty then. `stamp` without its number of outputs. Runs that changed
  // nothing are left out.
  struct Handed {
    TransactionContent content;
    std::vector<Share> shares;
  };
  Handed HandOver(TransactionStamp stamp);

 private:
  std::map<TaskSlot*, Share> shares_;
  std::optional<SteadyTime> began_;
  std::size_t outputs_ = 0;
  std::size_t records_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace tocsin::correlation
