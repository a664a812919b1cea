// From what was computed to what is committed and stored.
#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "services/correlation/worker/incarnation.h"
#include "services/correlation/worker/metrics.h"
#include "services/correlation/worker/worker.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

// Outputs that others read: they may be repeated where the guarantee is at least once. What is left
// is read by correlation itself, which could not tell a repetition.
bool ForOthers(OutputKind kind) {
  return kind != OutputKind::kForward && kind != OutputKind::kMark;
}

}  // namespace

bool Worker::DraftFull() const {
  return draft_.records() >= options_.max_transaction_records ||
         draft_.outputs() >= 4 * options_.max_transaction_records ||
         draft_.bytes() >= options_.max_transaction_bytes;
}

bool Worker::CommitDue() const {
  if (under_way_.has_value() || committer_->busy() || producer_ == nullptr || draft_.empty()) {
    return false;
  }
  if (DraftFull()) return true;
  const bool soon = draft_.has_outputs() && !behind_;
  const milliseconds due = soon ? options_.commit_interval.min : options_.commit_interval.max;
  return io_.clock->SteadyNow() - draft_.began() >= due;
}

void Worker::WriteAtOnce(TaskResult& result) {
  if (plain_ticket_ == nullptr) plain_ticket_ = std::make_shared<PlainOutputs::Ticket>();
  const auto first =
      std::stable_partition(result.outputs.begin(), result.outputs.end(),
                            [](const OutputRecord& output) { return !ForOthers(output.kind); });
  for (auto output = first; output != result.outputs.end(); ++output) {
    plain_->Write(std::move(output->record), plain_ticket_, options_.session_timeout);
  }
  result.outputs.erase(first, result.outputs.end());
}

bool Worker::StartTransaction() {
  if (const absl::Status flushed = draft_.Flush(); !flushed.ok()) {
    DropClients(flushed);
    return false;
  }
  if (draft_.empty()) {
    draft_.Clear();
    return false;
  }
  absl::StatusOr<kafka::GroupMetadata> member = consumer_->CurrentGroupMetadata();
  if (!member.ok()) {
    // The group has moved on; the next poll tells.
    client_problem_ = Message(member.status());
    RewindAll({});
    return false;
  }
  Draft::Handed handed =
      draft_.HandOver({options_.id, incarnation_, transactions_ + 1, /*outputs=*/0});
  handed.content.member = *std::move(member);
  UnderWay& under_way = under_way_.emplace();
  under_way.shares = std::move(handed.shares);
  under_way.outputs = handed.content.stamp.outputs;
  if (!incarnation_recorded_) {
    handed.content.bookkeeping.push_back(
        IncarnationRecord(options_.WorkersTopic(), options_.id, incarnation_));
    under_way.records_incarnation = true;
  }
  shared_->lost = false;
  TransactionRules rules;
  rules.attempts = options_.attempts;
  rules.give_up = [this] { return stopping(); };
  rules.may_commit = [shared = shared_, longest = options_.session_timeout / 3] {
    if (shared->lost) return absl::AbortedError("the partitions are lost");
    const SteadyTime last{SteadyTime::duration(shared->last_poll.load())};
    if (shared->clock.SteadyNow() - last > longest) {
      return absl::AbortedError(
          "the worker has not polled for a third of its session: its partitions may be another's");
    }
    return absl::OkStatus();
  };
  committer_->Start([producer = producer_.get(), rules = std::move(rules), clock = io_.clock,
                     plain = std::exchange(plain_ticket_, nullptr), wait = options_.session_timeout,
                     content = std::move(handed.content)] {
    const SteadyTime begin = clock->SteadyNow();
    TransactionOutcome outcome;
    outcome.status = plain == nullptr ? absl::OkStatus() : plain->Wait(wait);
    if (outcome.status.ok()) outcome = RunTransaction(*producer, content, rules);
    outcome.took = clock->SteadyNow() - begin;
    return outcome;
  });
  return true;
}

bool Worker::Conclude(std::chrono::nanoseconds wait) {
  std::optional<TransactionOutcome> outcome = committer_->Take(wait);
  if (outcome.has_value()) Apply(*outcome);
  return !under_way_.has_value() && !committer_->busy();
}

void Worker::Apply(const TransactionOutcome& outcome) {
  using Kind = TransactionOutcome::Kind;
  // Without shares when the tasks have gone meanwhile.
  const UnderWay done = std::exchange(under_way_, std::nullopt).value_or(UnderWay{});
  const double seconds = std::chrono::duration<double>(outcome.took).count();
  switch (outcome.kind) {
    case Kind::kBroken:
      CountTransaction("broken", seconds);
      DropClients(outcome.status);
      return;
    case Kind::kAborted:
      CountTransaction("aborted", seconds);
      telemetry::LogWarning("a transaction was aborted; its records are read again",
                            {{"worker", options_.id}, {"error", outcome.status}});
      client_problem_ = Message(outcome.status);
      RewindAll(done.shares);
      break;
    case Kind::kCommitted:
      CountTransaction("committed", seconds);
      incarnation_recorded_ = incarnation_recorded_ || done.records_incarnation;
      if (done.outputs > 0) ++transactions_;
      for (const Draft::Share& share : done.shares) {
        TaskSlot& slot = *share.slot;
        slot.in_flight->Set(nullptr);
        const auto written = outcome.written.find(slot.Changelog());
        const std::int64_t position =
            written != outcome.written.end() ? written->second : slot.store->position().value_or(0);
        for (const auto& [topic, next] : share.next) slot.committed_next[topic] = next;
        for (const Counts& counts : share.counts) {
          CountCommitted(slot.plan->stream().topic, counts);
          late_.Add(slot.plan->stream().topic, counts);
        }
        if (share.changes->empty()) continue;
        const absl::Status applied = slot.store->Apply(*share.changes, position, io_.clock->Now());
        if (!applied.ok()) {
          // It is committed: the changelog has it. Only this machine's copy is behind.
          DropClients(Annotate(applied, slot.Name()));
          return;
        }
      }
      break;
  }
  if (producer_ != nullptr && producer_->outcome_indefinite()) {
    telemetry::LogWarning("the transactional producer is replaced",
                          {{"worker", options_.id}, {"why", producer_->indefinite_reason()}});
    producer_.reset();
  }
}

void Worker::RewindAll(const std::vector<Draft::Share>& aborted) {
  std::set<TaskSlot*> slots;
  for (const Draft::Share& share : aborted) slots.insert(share.slot);
  // What was computed since stands on it.
  for (const auto& [slot, share] : draft_.shares()) slots.insert(slot);
  draft_.Clear();
  plain_ticket_.reset();
  for (TaskSlot* slot : slots) {
    if (consumer_ != nullptr && !in_consumer_) Rewind(*slot);
  }
}

void Worker::Rewind(TaskSlot& slot) {
  slot.overlay->Clear();
  slot.in_flight->Set(nullptr);
  slot.task->Rewind();
  slot.next = slot.committed_next;
  // What was left to do without input may have to be done again.
  slot.more = true;
  for (const auto& [topic, next] : slot.next) {
    if (!slot.assigned_topics.contains(topic)) continue;
    const absl::Status sought = consumer_->Seek({topic, slot.partition}, next);
    if (!sought.ok()) {
      DropClients(Annotate(sought, "going back to the committed offsets"));
      return;
    }
  }
}

void Worker::GiveUpTasks() {
  if (under_way_.has_value() && !Conclude(options_.rebalance_wait)) {
    telemetry::LogWarning("partitions go while a transaction is under way; it is left to itself",
                          {{"worker", options_.id}});
    under_way_->shares.clear();
  }
  DropTasks();
}

void Worker::DropTasks() {
  draft_.Clear();
  plain_ticket_.reset();
  std::vector<TaskId> gone;
  for (const auto& [id, slot] : tasks_) gone.push_back(id);
  tasks_.clear();
  restorer_.ForgetTasks();
  if (io_.claims == nullptr) return;
  for (const TaskId& id : gone) io_.claims->GiveBack(id.first, id.second);
}

}  // namespace tocsin::correlation
