// One member of the consumer group with the tasks of the partitions that it is assigned.
//
//   assigned → restoring (paused; the changelog is read to its end) → running
//   running:  poll → tasks compute over overlays → one transaction → stores follow
//
// Errors:
//   abort     nothing happened; back to the offsets in the state
//   broken    the outcome is not known: producer and consumer are made anew, every task restores
//   refused   the state of a partition cannot be used (a newer format; offsets that somebody
//   moved):
//             the partition stands still and status() says what to do; others go on
//
// Threads: Step, Close and the destructor one at a time; status() and Stop from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/worker/io.h"
#include "services/correlation/worker/late_notice.h"
#include "services/correlation/worker/restorer.h"
#include "services/correlation/worker/task_slot.h"
#include "services/correlation/worker/worker_options.h"

namespace tocsin::correlation {

struct WorkerStatus {
  // The broker has given this worker its place in the group, with or without partitions.
  bool joined = false;
  int tasks = 0;
  int running = 0;
  // Every task runs with the rules of this epoch.
  std::int64_t running_epoch = -1;
  // Why something stands still; empty when nothing does.
  std::string problem;
};

class Worker final : private kafka::RebalanceListener {
 public:
  enum class StepResult {
    // Something was done; call again at once.
    kProgress,
    // Nothing to do; Poll has waited already.
    kIdle,
    // The clients cannot be made for now; wait a little.
    kRetryLater,
  };

  // What `io` points to must outlive the worker.
  Worker(WorkerOptions options, WorkerIo io);
  // As a crash: closes the clients and the stores, commits nothing.
  ~Worker() override;

  StepResult Step();
  // Makes a long Step return soon. It may be called again all the same.
  void Stop();
  // Leaves in good order, keeping the place in the group. Idempotent.
  void Close();

  WorkerStatus status() const;

 private:
  // What one task has computed and not yet made visible.
  struct Computed {
    TaskSlot* slot = nullptr;
    std::unique_ptr<Overlay> overlay;
    TaskInput input;
    TaskResult result;
  };

  // RebalanceListener
  void OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) override;
  void OnRevoked(const std::vector<kafka::TopicPartition>& partitions) override;
  void OnLost(const std::vector<kafka::TopicPartition>& partitions) override;

  bool EnsureClients();
  void DropClients(const absl::Status& why);
  void FollowRules();
  void HandleErrors(const kafka::Batch& batch);
  // The position is not in the log. Before its beginning: goes there, what lay between is lost.
  // Behind its end: goes to the beginning as well, because nobody can tell what is new there; read
  // twice is mended by deduplication, not read at all by nothing.
  absl::Status MoveIntoLog(const kafka::TopicPartition& where);
  TaskSlot* SlotReading(const std::string& topic, std::int32_t partition);

  void Probe(TaskSlot& slot, bool& broker_answers, std::vector<DueSilence>& due);
  std::vector<Computed> Compute(const kafka::Batch& batch);
  // True when a transaction was tried.
  bool Commit(std::vector<Computed> computed);
  void Rewind(TaskSlot& slot);
  void TellLate();
  void PublishStatus();
  bool stopping() const;

  const WorkerOptions options_;
  const WorkerIo io_;
  std::shared_ptr<const RuleSet> rules_;
  std::vector<std::string> subscribed_;
  TaskSlots tasks_;
  Restorer restorer_;
  std::unique_ptr<kafka::TransactionalProducer> producer_;
  std::unique_ptr<kafka::Consumer> consumer_;
  bool joined_ = false;
  std::optional<SteadyTime> next_probe_round_;
  LateNotice late_;
  std::string client_problem_;
  // The consumer's last error since it began to wait for an assignment.
  std::string group_problem_;
  bool closed_ = false;

  mutable Mutex mutex_;
  WorkerStatus status_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tocsin::correlation
