#include "services/correlation/worker/worker_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

constexpr std::chrono::milliseconds kRetryPause{500};

}  // namespace

WorkerPool::~WorkerPool() { Stop(SteadyTime::min()); }

void WorkerPool::Start(const std::vector<std::string>& ids, const WorkerOptions& options,
                       const WorkerIo& io) {
  MutexLock lock(mutex_);
  for (const std::string& id : ids) {
    WorkerOptions own = options;
    own.id = id;
    auto& runner =
        runners_.emplace_back(std::make_unique<Runner>(std::make_unique<Worker>(own, io)));
    ++running_;
    runner->thread = std::thread([this, worker = runner->worker.get()] { Run(*worker); });
  }
}

void WorkerPool::Run(Worker& worker) {
  while (!stop_.stopped()) {
    if (worker.Step() == Worker::StepResult::kRetryLater) stop_.WaitFor(kRetryPause);
  }
  worker.Close();
  MutexLock lock(mutex_);
  --running_;
  ended_.NotifyAll();
}

bool WorkerPool::Stop(SteadyTime deadline) {
  stop_.Stop();
  std::vector<std::unique_ptr<Runner>> runners;
  bool in_time = true;
  {
    MutexLock lock(mutex_);
    for (const auto& runner : runners_) runner->worker->Stop();
    while (running_ > 0 && in_time && deadline != SteadyTime::min()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      in_time = left > std::chrono::nanoseconds(0);
      if (in_time) ended_.WaitFor(mutex_, left);
    }
    if (!in_time) return false;
    runners.swap(runners_);
  }
  for (const auto& runner : runners) {
    if (runner->thread.joinable()) runner->thread.join();
  }
  return true;
}

bool WorkerPool::started() const {
  MutexLock lock(mutex_);
  return !runners_.empty();
}

absl::StatusOr<std::string> WorkerPool::Ask(const TaskId& task, const StateQuestions::Look& look,
                                            SteadyTime deadline) const {
  std::vector<std::pair<std::string, std::shared_ptr<StateQuestions>>> workers;
  {
    MutexLock lock(mutex_);
    for (const auto& runner : runners_) {
      workers.emplace_back(runner->worker->id(), runner->worker->questions());
    }
  }
  for (const auto& [id, questions] : workers) {
    const absl::Status asked = questions->Ask(task, look, deadline);
    if (asked.ok()) return id;
    if (!absl::IsNotFound(asked)) return asked;
  }
  return NotFound("no worker of this process has the partition");
}

std::int64_t WorkerPool::running_epoch() const {
  MutexLock lock(mutex_);
  if (runners_.empty()) return -1;
  std::int64_t lowest = INT64_MAX;
  for (const auto& runner : runners_) {
    lowest = std::min(lowest, runner->worker->status().running_epoch);
  }
  return lowest;
}

std::string WorkerPool::problem() const {
  MutexLock lock(mutex_);
  if (runners_.empty()) return "the workers have not started";
  for (const auto& runner : runners_) {
    const WorkerStatus status = runner->worker->status();
    if (!status.problem.empty()) return status.problem;
    if (!status.joined) return "a worker waits for its place in the group";
  }
  return "";
}

}  // namespace tocsin::correlation
