// The process stops at every point of the loop, twenty times each, with and without its disk. What
// comes out is what the brute force says, and every transaction is whole. docs/guarantees.md
// publishes this table.
//
// "Stops": nothing that the worker would do after that point happens any more; what it has in
// memory is gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "services/correlation/worker/stamp_checker.h"
#include "services/correlation/worker/worker.h"
#include "services/correlation/worker/worker_fixture.h"

namespace tocsin::correlation {
namespace {

enum class Point {
  kPoll,
  kProcess,
  kBegin,
  kProduce,
  kSendOffsets,
  kCommitSent,
  kCommitAcknowledged,
  kApply,
};
constexpr const char* kPointNames[] = {
    "Poll", "Process", "Begin", "Produce", "SendOffsets", "CommitSent", "CommitAcknowledged",
    "Apply"};

struct Stopped {};

// Counts down to the moment at which the process stops.
class Fuse {
 public:
  void Arm(Point point, int after) {
    point_ = point;
    left_ = after;
    armed_ = true;
  }
  bool armed() const { return armed_; }
  // Throws when it is time.
  void At(Point point) {
    if (!armed_ || point != point_ || left_-- > 0) return;
    armed_ = false;
    throw Stopped{};
  }
  // The same, told instead of thrown.
  bool Due(Point point) {
    if (!armed_ || point != point_ || left_-- > 0) return false;
    armed_ = false;
    return true;
  }

 private:
  Point point_ = Point::kPoll;
  int left_ = 0;
  bool armed_ = false;
};

class FusedConsumer final : public kafka::Consumer {
 public:
  FusedConsumer(std::unique_ptr<kafka::Consumer> inner, Fuse& fuse)
      : inner_(std::move(inner)), fuse_(fuse) {}
  absl::Status Subscribe(std::vector<std::string> topics,
                         kafka::RebalanceListener* listener) override {
    return inner_->Subscribe(std::move(topics), listener);
  }
  absl::Status Assign(const kafka::Offsets& from) override { return inner_->Assign(from); }
  kafka::ViewBatch PollViews(milliseconds timeout) override {
    kafka::ViewBatch batch = inner_->PollViews(timeout);
    if (!batch.records().empty()) fuse_.At(Point::kPoll);
    return batch;
  }
  absl::Status Seek(const kafka::TopicPartition& where, std::int64_t offset) override {
    return inner_->Seek(where, offset);
  }
  absl::Status Pause(const std::vector<kafka::TopicPartition>& partitions) override {
    return inner_->Pause(partitions);
  }
  absl::Status Resume(const std::vector<kafka::TopicPartition>& partitions) override {
    return inner_->Resume(partitions);
  }
  std::optional<std::int64_t> Position(const kafka::TopicPartition& where) const override {
    return inner_->Position(where);
  }
  std::vector<kafka::TopicPartition> Assignment() const override { return inner_->Assignment(); }
  absl::StatusOr<kafka::Offsets> Committed(const std::vector<kafka::TopicPartition>& partitions,
                                           milliseconds timeout) override {
    return inner_->Committed(partitions, timeout);
  }
  absl::Status Commit(const kafka::Offsets& next) override { return inner_->Commit(next); }
  absl::StatusOr<kafka::GroupMetadata> CurrentGroupMetadata() override {
    return inner_->CurrentGroupMetadata();
  }
  absl::Status Probe(milliseconds timeout) override { return inner_->Probe(timeout); }
  absl::StatusOr<std::int64_t> QueryEndOffset(const kafka::TopicPartition& where,
                                              kafka::Isolation isolation,
                                              milliseconds timeout) override {
    return inner_->QueryEndOffset(where, isolation, timeout);
  }
  absl::StatusOr<std::int64_t> QueryBeginningOffset(const kafka::TopicPartition& where,
                                                    milliseconds timeout) override {
    return inner_->QueryBeginningOffset(where, timeout);
  }
  absl::StatusOr<std::optional<std::int64_t>> QueryTimeOffset(const kafka::TopicPartition& where,
                                                              WallTime time,
                                                              milliseconds timeout) override {
    return inner_->QueryTimeOffset(where, time, timeout);
  }
  void Close() override { inner_->Close(); }

 private:
  const std::unique_ptr<kafka::Consumer> inner_;
  Fuse& fuse_;
};

class FusedProducer final : public kafka::TransactionalProducer {
 public:
  FusedProducer(std::unique_ptr<kafka::TransactionalProducer> inner, Fuse& fuse, bool arrives)
      : inner_(std::move(inner)), fuse_(fuse), arrives_(arrives) {}
  kafka::TransactionResult Init() override { return inner_->Init(); }
  kafka::TransactionResult Begin() override {
    kafka::TransactionResult result = inner_->Begin();
    fuse_.At(Point::kBegin);
    return result;
  }
  kafka::TransactionResult ProduceView(const kafka::OutgoingView& record) override {
    kafka::TransactionResult result = inner_->ProduceView(record);
    fuse_.At(Point::kProduce);
    return result;
  }
  kafka::TransactionResult SendOffsets(const kafka::Offsets& next,
                                       const kafka::GroupMetadata& member) override {
    kafka::TransactionResult result = inner_->SendOffsets(next, member);
    fuse_.At(Point::kSendOffsets);
    return result;
  }
  kafka::CommitResult Commit() override {
    // Sent, and nobody is there any more for the answer: it has arrived, or it has not.
    const bool stop = fuse_.Due(Point::kCommitSent);
    if (stop && !arrives_) throw Stopped{};
    kafka::CommitResult result = inner_->Commit();
    if (stop) throw Stopped{};
    fuse_.At(Point::kCommitAcknowledged);
    return result;
  }
  kafka::TransactionResult Abort() override { return inner_->Abort(); }
  bool outcome_indefinite() const override { return inner_->outcome_indefinite(); }
  std::string indefinite_reason() const override { return inner_->indefinite_reason(); }

 private:
  const std::unique_ptr<kafka::TransactionalProducer> inner_;
  Fuse& fuse_;
  const bool arrives_;
};

// Runs a transaction some steps after it was started, so that the next is computed meanwhile; on
// the worker's thread, so that a seed decides everything.
class LateCommitter final : public Committer {
 public:
  LateCommitter(std::mt19937_64& random, Fuse& fuse) : random_(random), fuse_(fuse) {}
  void Start(Run run) override { run_ = std::move(run); }
  bool busy() const override { return run_ != nullptr; }
  std::optional<TransactionOutcome> Take(std::chrono::nanoseconds wait) override {
    if (run_ == nullptr) return std::nullopt;
    if (wait == std::chrono::nanoseconds(0) && random_() % 4 != 0) return std::nullopt;
    const Run run = std::exchange(run_, nullptr);
    TransactionOutcome outcome = run();
    // The stores are about to follow; what comes first of several may have happened.
    if (outcome.kind == TransactionOutcome::Kind::kCommitted) fuse_.At(Point::kApply);
    return outcome;
  }

 private:
  std::mt19937_64& random_;
  Fuse& fuse_;
  Run run_;
};

// The process stops where a task asks for the time: between the tasks of a batch, or between the
// stores of a transaction.
class FusedClock final : public Clock {
 public:
  FusedClock(const Clock& inner, Fuse& fuse) : inner_(inner), fuse_(fuse) {}
  WallTime Now() const override {
    fuse_.At(Point::kProcess);
    return inner_.Now();
  }
  SteadyTime SteadyNow() const override { return inner_.SteadyNow(); }

 private:
  const Clock& inner_;
  Fuse& fuse_;
};

std::vector<Violation> CheckStamps(const FakeKafka& kafka, const std::vector<std::string>& topics) {
  StampChecker checker;
  for (const std::string& topic : topics) {
    for (const kafka::Record& record : kafka.Log(topic)) {
      const auto header = record.headers.Find(kTransactionHeader);
      const auto stamp = header.has_value() ? ParseStamp(*header) : std::nullopt;
      EXPECT_TRUE(stamp.has_value()) << topic;
      if (stamp.has_value()) checker.Read(record.where(), record.offset, *stamp);
    }
  }
  checker.Settle(checker.Moment());
  return checker.Take();
}

class CrashMatrixTest : public WorkerTest,
                        public ::testing::WithParamInterface<std::tuple<Point, int>> {};

TEST_P(CrashMatrixTest, TheAnswersStay) {
  const Point point = std::get<0>(GetParam());
  const int seed = std::get<1>(GetParam());
  std::mt19937_64 random(static_cast<std::uint64_t>(seed) * 8 + static_cast<std::uint64_t>(point));
  Fuse fuse;
  const FusedClock clock(clock_, fuse);
  make_committer_ = [&] { return std::make_unique<LateCommitter>(random, fuse); };
  wrap_ = [&](WorkerIo& io) {
    io.clock = &clock;
    io.make_consumer =
        [this, &fuse](
            kafka::ConsumerOptions options) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      const bool reads_inputs = !options.group.empty();
      auto consumer = kafka_.MakeConsumer(std::move(options));
      if (!reads_inputs) return consumer;
      return std::make_unique<FusedConsumer>(std::move(consumer), fuse);
    };
    io.make_producer =
        [this, &fuse,
         &random](std::string id) -> absl::StatusOr<std::unique_ptr<kafka::TransactionalProducer>> {
      return std::make_unique<FusedProducer>(kafka_.MakeTransactionalProducer(std::move(id)), fuse,
                                             random() % 2 == 0);
    };
  };
  // Where state lies afterwards: on a disk that has everything, on one that lost its tail, or
  // nowhere.
  lose_unwritten_ = seed % 3 == 1;
  const std::vector<Call> calls = testing::RandomCalls(static_cast<std::uint64_t>(seed) + 100, 96);
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  int disks = 0;
  int stops = 0;
  for (std::size_t begin = 0; begin < calls.size(); begin += 16) {
    Publish(calls, begin, begin + 16);
    fuse.Arm(point, static_cast<int>(random() % (point == Point::kProduce ? 40 : 3)));
    for (int i = 0; i < 30; ++i) {
      try {
        worker->Step();
      } catch (const Stopped&) {
        ++stops;
        worker.reset();
        if (seed % 3 == 2) ++disks;
        worker = MakeWorker("w0", Concat("disk", disks));
        break;
      }
    }
    fuse = {};
    Run({worker.get()}, static_cast<int>(random() % 12));
  }
  Settle({worker.get()});
  EXPECT_GE(stops, 3) << "the point must be met";
  EXPECT_EQ(worker->status().problem, "");
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  EXPECT_EQ(Order("calls.processed"), Order("calls.raw"));
  for (const Violation& violation :
       CheckStamps(kafka_, {"calls.processed", "calls.raw.dlq", std::string(kDetectionsTopic),
                            std::string(kIncidentsTopic), kByPlace})) {
    ADD_FAILURE() << violation.kind << ": " << violation.what;
  }
  // What the group has committed, what the stores were computed from and what was written last are
  // of the same transaction.
  worker->Close();
  worker = MakeWorker("w0", Concat("disk", disks));
  RunUntilIdle({worker.get()});
  EXPECT_EQ(worker->status().running, kPartitions) << worker->status().problem;
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, CrashMatrixTest,
    ::testing::Combine(::testing::Values(Point::kPoll, Point::kProcess, Point::kBegin,
                                         Point::kProduce, Point::kSendOffsets, Point::kCommitSent,
                                         Point::kCommitAcknowledged, Point::kApply),
                       ::testing::Range(0, 20)),
    [](const ::testing::TestParamInfo<std::tuple<Point, int>>& test) {
      return Concat(kPointNames[static_cast<std::size_t>(std::get<0>(test.param))],
                    std::get<1>(test.param));
    });

}  // namespace
}  // namespace tocsin::correlation
