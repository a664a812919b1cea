// One member of the consumer group with the tasks of the partitions that it is assigned.
//
//   assigned → restoring (paused; the changelog is read to its end) → running
//
//   running, all at once:
//     draft       poll → tasks compute, each over its overlay
//     under way   the transaction before: begin → offsets → outputs, changelog → commit, on the
//                 committer's thread
//   A task reads its state through: overlay (draft) over in flight (under way) over its store.
//
//   committed   the stores follow, the draft may become the next transaction
//   aborted     nothing of it happened: the draft stands on it and goes too; back to the committed
//               offsets
//   broken      the outcome is not known: producer and consumer are made anew, every task restores
//   refused     the state of a partition cannot be used (a newer format; offsets that somebody
//               moved): the partition stands still and status() says what to do; others go on
//
// A rebalance waits for the transaction under way and drops the draft.
//
// In parts by subject: worker.cc the loop, worker_clients.cc clients and their errors,
// worker_group.cc assignment, worker_schemas.cc what waits for a schema, worker_transactions.cc
// from draft to store.
//
// Threads: Step, Close and the destructor one at a time; status() and Stop from any.
#pragma once

#include <atomic>
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
#include "services/correlation/worker/committer.h"
#include "services/correlation/worker/draft.h"
#include "services/correlation/worker/io.h"
#include "services/correlation/worker/late_notice.h"
#include "services/correlation/worker/plain_outputs.h"
#include "services/correlation/worker/restorer.h"
#include "services/correlation/worker/state_questions.h"
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
  const std::string& id() const { return options_.id; }
  // Never null; may outlive the worker.
  const std::shared_ptr<StateQuestions>& questions() const { return questions_; }

 private:
  // What the committer's thread may look at.
  struct Shared {
    explicit Shared(const Clock& given) : clock(given) {}
    const Clock& clock;
    // Since the clock's epoch.
    std::atomic<SteadyTime::rep> last_poll{0};
    // The partitions are lost: commit nothing.
    std::atomic<bool> lost{false};
  };
  // The transaction that the committer has.
  struct UnderWay {
    std::vector<Draft::Share> shares;
    std::int64_t outputs = 0;
    bool records_incarnation = false;
  };

  // RebalanceListener
  void OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) override;
  void OnRevoked(const std::vector<kafka::TopicPartition>& partitions) override;
  void OnLost(const std::vector<kafka::TopicPartition>& partitions) override;

  bool EnsureClients();
  void DropClients(const absl::Status& why);
  void FollowRules();
  // Its producer, of a new incarnation.
  absl::Status MakeProducer();
  void HandleErrors(const std::vector<kafka::PollError>& errors);
  // The position is not in the log. Before its beginning: goes there, what lay between is lost.
  // Behind its end: goes to the beginning as well, because nobody can tell what is new there; read
  // twice is mended by deduplication, not read at all by nothing.
  absl::Status MoveIntoLog(const kafka::TopicPartition& where);
  TaskSlot* SlotReading(const std::string& topic, std::int32_t partition);

  void Probe(TaskSlot& slot, bool& broker_answers, std::vector<DueSilence>& due);
  void Compute(const kafka::ViewBatch& batch);
  // May the stream's event be taken in? As SchemaGate::Check.
  absl::Status CheckSchema(TaskSlot& slot, const kafka::RecordView& record);
  // The stream's partition stands at this event until its schema is decided. False: the clients are
  // gone.
  bool HoldAt(TaskSlot& slot, const kafka::RecordView& record, const absl::Status& why);
  // Goes on with partitions whose schema is decided.
  void ReleaseHeld();
  // How long Poll may wait now.
  std::chrono::milliseconds PollTimeout(bool busy) const;

  // Before a commit could not begin any more.
  bool PollIsOld() const;

  bool DraftFull() const;
  bool CommitDue() const;
  // Hands the draft to the committer, which must be free. False: there was nothing to commit after
  // all, or it could not be.
  bool StartTransaction();
  // Takes the outcome of the transaction under way, waiting at most so long for it, and does what
  // it asks for. True when none is under way any more.
  bool Conclude(std::chrono::nanoseconds wait);
  void Apply(const TransactionOutcome& outcome);
  // Nothing of what was computed has happened.
  void RewindAll(const std::vector<Draft::Share>& aborted);
  void Rewind(TaskSlot& slot);
  // The tasks go. Waits for the transaction under way; the draft is dropped.
  void GiveUpTasks();
  void DropTasks();
  // Writes the outputs that do not wait for the transaction.
  void WriteAtOnce(TaskResult& result);
  void TellLate();
  void PublishStatus();
  bool stopping() const;

  const WorkerOptions options_;
  const WorkerIo io_;
  const std::shared_ptr<StateQuestions> questions_ = std::make_shared<StateQuestions>();
  std::shared_ptr<const RuleSet> rules_;
  std::vector<std::string> subscribed_;
  TaskSlots tasks_;
  Restorer restorer_;
  const std::shared_ptr<Shared> shared_;
  std::unique_ptr<kafka::TransactionalProducer> producer_;
  std::unique_ptr<kafka::Consumer> consumer_;
  // Guarantee::kAtLeastOnce.
  std::unique_ptr<PlainOutputs> plain_;
  // Of the draft's outputs; null: none.
  std::shared_ptr<PlainOutputs::Ticket> plain_ticket_;
  // Of this producer: whose first transaction is still to be committed, and how many with outputs
  // were.
  std::int64_t incarnation_ = 0;
  bool incarnation_recorded_ = false;
  std::int64_t transactions_ = 0;
  Draft draft_;
  // The last poll found so much that there is probably a backlog.
  bool behind_ = false;
  std::optional<UnderWay> under_way_;
  // The consumer is calling: it must not be destroyed or sought now.
  bool in_consumer_ = false;
  std::optional<absl::Status> drop_later_;
  bool joined_ = false;
  std::optional<SteadyTime> next_probe_round_;
  LateNotice late_;
  std::string client_problem_;
  // The consumer's last error since it began to wait for an assignment.
  std::string group_problem_;
  bool closed_ = false;

  // Ends before all that its transaction uses.
  std::unique_ptr<Committer> committer_;

  mutable Mutex mutex_;
  WorkerStatus status_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tocsin::correlation
