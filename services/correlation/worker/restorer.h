// Brings the tasks of a worker from "assigned" to "running": opens the store, reads the changelog
// to its end and compares what the state was computed from with what the group has committed. Input
// partitions are paused until then.
//
// Threads: one at a time, that of the worker.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/worker/io.h"
#include "services/correlation/worker/task_slot.h"
#include "services/correlation/worker/worker_options.h"

namespace tocsin::correlation {

class Restorer {
 public:
  // Both must outlive it.
  Restorer(const WorkerOptions& options, const WorkerIo& io) : options_(options), io_(io) {}

  // Makes the consumer of the changelogs where there is none.
  absl::Status EnsureClient();
  void DropClient();
  // The tasks are gone, or others.
  void ForgetTasks();

  // A piece of the work for every task that is restoring. `inputs`: the group's consumer, which the
  // tasks' partitions are assigned to. True when something was done. Waits for the changelogs where
  // nothing runs yet, for at most `poll_timeout`, and for answers of the broker.
  bool Step(TaskSlots& tasks, kafka::Consumer& inputs);

 private:
  absl::Status OpenStore(TaskSlot& slot);
  absl::Status FindTarget(TaskSlot& slot, kafka::Consumer& inputs);
  bool ReadChangelogs(TaskSlots& tasks, kafka::Consumer& inputs);
  // Finds out why a changelog that has more does not give it.
  void Watch(TaskSlot& slot, std::int64_t position);
  absl::Status Finish(TaskSlot& slot, kafka::Consumer& inputs);
  void Rebuild(TaskSlot& slot, std::string_view why);
  void Refuse(TaskSlot& slot, std::string problem);

  const WorkerOptions& options_;
  const WorkerIo& io_;
  std::unique_ptr<kafka::Consumer> changelogs_;
  // What changelogs_ reads now.
  std::set<TaskId> reading_;
};

}  // namespace tocsin::correlation
