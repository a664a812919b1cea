#include <algorithm>
#include <deque>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_state.h"

namespace tocsin::kafka::testing::internal {
namespace {

using State = FakeKafka::State;
using Step = FakeKafka::Step;
using std::chrono::milliseconds;

class FakeProducer final : public Producer {
 public:
  FakeProducer(std::shared_ptr<State> state, ProducerOptions options)
      : state_(std::move(state)), options_(std::move(options)), server_([this] { Serve(); }) {}

  ~FakeProducer() override {
    (void)Flush(options_.close_timeout);
    {
      MutexLock lock(state_->mutex);
      stopping_ = true;
      state_->changed.NotifyAll();
    }
    server_.join();
  }

  absl::Status Produce(OutgoingRecord record, DeliveryCallback done) override {
    MutexLock lock(state_->mutex);
    const auto failure = state_->Take(Step::kProduce);
    if (failure.has_value()) return failure->status;
    if (record.value.has_value() && record.value->size() > options_.max_record_bytes) {
      return InvalidArgument("the record is too large (fake)");
    }
    if (outstanding_ >= options_.max_queued_records) {
      return ResourceExhausted("the queue to Kafka is full (fake)");
    }
    ++outstanding_;
    waiting_.push_back({std::move(record), std::move(done)});
    state_->changed.NotifyAll();
    return absl::OkStatus();
  }

  absl::Status Flush(milliseconds timeout) override {
    const SteadyTime deadline = Clock::Real().SteadyNow() + timeout;
    MutexLock lock(state_->mutex);
    while (outstanding_ > 0) {
      const auto left = deadline - Clock::Real().SteadyNow();
      if (left <= std::chrono::nanoseconds::zero()) {
        return DeadlineExceeded("records are still waiting to be confirmed (fake)");
      }
      state_->changed.WaitFor(state_->mutex, left);
    }
    return absl::OkStatus();
  }

  absl::Status Probe(milliseconds) override {
    MutexLock lock(state_->mutex);
    return state_->TakeStatus(Step::kProbe);
  }

  std::size_t outstanding() const override {
    MutexLock lock(state_->mutex);
    return outstanding_;
  }

 private:
  struct Waiting {
    OutgoingRecord record;
    DeliveryCallback done;
  };

  void Serve() {
    for (;;) {
      Waiting next;
      absl::StatusOr<Delivered> outcome = absl::CancelledError("the producer was closed (fake)");
      {
        MutexLock lock(state_->mutex);
        while (!stopping_ && (waiting_.empty() || state_->held || !state_->reachable)) {
          state_->changed.Wait(state_->mutex);
        }
        if (waiting_.empty()) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
        if (!stopping_) {
          const auto failure = state_->Take(Step::kDelivery);
          if (!failure.has_value() || failure->took_effect) {
            outcome = state_->AppendRecord(next.record, EntryState::kPlain);
          }
          if (failure.has_value()) outcome = failure->status;
        }
      }
      if (next.done) next.done(outcome);
      MutexLock lock(state_->mutex);
      --outstanding_;
      state_->changed.NotifyAll();
    }
  }

  const std::shared_ptr<State> state_;
  const ProducerOptions options_;
  bool stopping_ = false;
  std::size_t outstanding_ = 0;
  std::deque<Waiting> waiting_;
  std::thread server_;
};

class FakeTransactionalProducer final : public TransactionalProducer {
 public:
  FakeTransactionalProducer(std::shared_ptr<State> state, std::string id)
      : state_(std::move(state)), id_(std::move(id)) {}

  TransactionResult Init() override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kInit)) return *std::move(failed);
    Transaction& transaction = state_->transactions[id_];
    if (transaction.open) state_->EndTransaction(transaction, /*commit=*/false);
    epoch_ = ++transaction.epoch;
    return {};
  }

  TransactionResult Begin() override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kBegin)) return *std::move(failed);
    Transaction& transaction = state_->transactions[id_];
    if (epoch_ == 0 || began_) return WrongState("Begin");
    if (transaction.epoch != epoch_) return Fenced();
    began_ = true;
    return {};
  }

  TransactionResult ProduceView(const OutgoingView& record) override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kTransactionalProduce)) return *std::move(failed);
    if (!began_) return WrongState("Produce");
    Transaction& transaction = state_->transactions[id_];
    if (transaction.epoch != epoch_) return Fenced();
    const auto delivered = state_->AppendRecord(Own(record), EntryState::kOpen);
    if (!delivered.ok()) return {delivered.status(), ErrorClass::kAbort};
    transaction.open = true;
    transaction.where.push_back(delivered->where);
    transaction.offsets.push_back(delivered->offset);
    written_[delivered->where] = delivered->offset + 1;
    return {};
  }

  using TransactionalProducer::SendOffsets;
  TransactionResult SendOffsets(const Offsets& next, const GroupMetadata& member) override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kSendOffsets)) return *std::move(failed);
    if (!began_) return WrongState("SendOffsets");
    Transaction& transaction = state_->transactions[id_];
    if (transaction.epoch != epoch_) return Fenced();
    if (member.opaque != std::to_string(state_->groups[member.group].generation)) {
      return {Aborted("the group has moved on to another generation (fake)"), ErrorClass::kAbort};
    }
    transaction.open = true;
    transaction.group = member.group;
    for (const auto& [where, offset] : next) transaction.sent[where] = offset;
    return {};
  }

  CommitResult Commit() override {
    MutexLock lock(state_->mutex);
    CommitResult result;
    const auto failure = state_->Take(Step::kTransactionCommit);
    Transaction& transaction = state_->transactions[id_];
    if (failure.has_value()) {
      Note(*failure);
      if (failure->took_effect && transaction.epoch == epoch_) {
        state_->EndTransaction(transaction, /*commit=*/true);
      }
      if (!failure->status.ok()) {
        result.status = failure->status;
        result.error_class = failure->error_class;
        return result;
      }
    }
    TransactionResult wrong;
    if (!state_->reachable) {
      wrong = {state_->Away(), ErrorClass::kRetriable};
    } else if (!began_) {
      wrong = WrongState("Commit");
    } else if (transaction.epoch != epoch_) {
      wrong = Fenced();
    }
    if (!wrong.ok()) {
      result.status = wrong.status;
      result.error_class = wrong.error_class;
      return result;
    }
    state_->EndTransaction(transaction, /*commit=*/true);
    began_ = false;
    result.written = std::move(written_);
    written_.clear();
    return result;
  }

  TransactionResult Abort() override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kAbort)) return *std::move(failed);
    Transaction& transaction = state_->transactions[id_];
    if (transaction.epoch != epoch_) return Fenced();
    if (!began_) return WrongState("Abort");
    state_->EndTransaction(transaction, /*commit=*/false);
    began_ = false;
    written_.clear();
    return {};
  }

  bool outcome_indefinite() const override {
    MutexLock lock(state_->mutex);
    return indefinite_;
  }
  std::string indefinite_reason() const override {
    return outcome_indefinite() ? "planned by the test" : "";
  }

 private:
  static TransactionResult WrongState(std::string_view call) {
    return {FailedPrecondition(Concat(call, ": not in this state (fake)")), ErrorClass::kFatal};
  }
  static TransactionResult Fenced() {
    return {FailedPrecondition("fenced by a newer producer with this transactional id (fake)"),
            ErrorClass::kFatal};
  }
  void Note(const FakeKafka::Failure& failure) { indefinite_ = indefinite_ || failure.indefinite; }

  std::optional<TransactionResult> Fail(Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    const auto failure = state_->Take(step);
    if (failure.has_value()) {
      Note(*failure);
      if (!failure->status.ok()) return TransactionResult{failure->status, failure->error_class};
    }
    if (!state_->reachable && step != Step::kBegin) {
      return TransactionResult{state_->Away(), ErrorClass::kRetriable};
    }
    return std::nullopt;
  }

  const std::shared_ptr<State> state_;
  const std::string id_;
  std::int64_t epoch_ = 0;
  bool began_ = false;
  bool indefinite_ = false;
  Offsets written_;
};

// What it takes goes into the log at Flush.
class FakeBatchProducer final : public BatchProducer {
 public:
  explicit FakeBatchProducer(std::shared_ptr<State> state) : state_(std::move(state)) {}

  TransactionResult ProduceView(const OutgoingView& record) override {
    MutexLock lock(state_->mutex);
    const auto failure = state_->Take(Step::kProduce);
    if (failure.has_value()) return {failure->status, failure->error_class};
    waiting_.push_back(Own(record));
    return {};
  }

  CommitResult Flush(milliseconds) override {
    MutexLock lock(state_->mutex);
    CommitResult result;
    if (!state_->reachable) return {state_->Away(), ErrorClass::kRetriable, {}};
    for (const OutgoingRecord& record : std::exchange(waiting_, {})) {
      const auto failure = state_->Take(Step::kDelivery);
      if (!failure.has_value() || failure->took_effect) {
        const auto delivered = state_->AppendRecord(record, EntryState::kPlain);
        if (delivered.ok()) {
          result.written[delivered->where] = delivered->offset + 1;
        } else if (result.ok()) {
          result.status = delivered.status();
          result.error_class = ErrorClass::kAbort;
        }
      }
      if (failure.has_value() && result.ok()) {
        result.status = failure->status;
        result.error_class =
            failure->error_class == ErrorClass::kNone ? ErrorClass::kAbort : failure->error_class;
      }
    }
    if (!result.ok()) result.written.clear();
    return result;
  }

 private:
  const std::shared_ptr<State> state_;
  std::vector<OutgoingRecord> waiting_;
};

}  // namespace

std::unique_ptr<BatchProducer> MakeFakeBatchProducer(std::shared_ptr<State> state) {
  return std::make_unique<FakeBatchProducer>(std::move(state));
}

std::unique_ptr<Producer> MakeFakeProducer(std::shared_ptr<State> state, ProducerOptions options) {
  return std::make_unique<FakeProducer>(std::move(state), std::move(options));
}

std::unique_ptr<TransactionalProducer> MakeFakeTransactionalProducer(std::shared_ptr<State> state,
                                                                     std::string id) {
  return std::make_unique<FakeTransactionalProducer>(std::move(state), std::move(id));
}

}  // namespace tocsin::kafka::testing::internal
