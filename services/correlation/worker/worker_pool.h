// The workers of this process, each on a thread of its own.
//
// Threads: Start and Stop from one; the rest from any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/stop_signal.h"
#include "services/correlation/worker/worker.h"

namespace tocsin::correlation {

class WorkerPool {
 public:
  WorkerPool() = default;
  // Stops, and waits for as long as a running transaction takes.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // One worker for each id; the other options are theirs alike. Once.
  void Start(const std::vector<std::string>& ids, const WorkerOptions& options, const WorkerIo& io);
  // Every worker finishes its transaction and leaves, keeping its place in the group. False when
  // one has not come to its end by the deadline; it goes on to it all the same.
  bool Stop(SteadyTime deadline);

  bool started() const;
  // Has the worker that has this task look into its state; gives the worker's name. Errors as
  // StateQuestions::Ask; NOT_FOUND: no worker of this process has it.
  absl::StatusOr<std::string> Ask(const TaskId& task, const StateQuestions::Look& look,
                                  SteadyTime deadline) const;
  // The lowest epoch that runs; -1 before the start, or while one restores.
  std::int64_t running_epoch() const;
  // Empty: every partition of this process runs. Otherwise what it waits for.
  std::string problem() const;

 private:
  struct Runner {
    explicit Runner(std::unique_ptr<Worker> given) : worker(std::move(given)) {}
    const std::unique_ptr<Worker> worker;
    std::thread thread;
  };
  void Run(Worker& worker);

  StopSignal stop_;
  mutable Mutex mutex_;
  CondVar ended_;
  std::vector<std::unique_ptr<Runner>> runners_ ABSL_GUARDED_BY(mutex_);
  std::size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tocsin::correlation
