// What the worker does with time, with the transaction under way, with a full disk, and where
// outputs do not wait.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "services/correlation/worker/worker.h"
#include "services/correlation/worker/worker_fixture.h"

namespace tocsin::correlation {
namespace {

using ::testing::HasSubstr;

// Runs a transaction when the test says so.
class HeldCommitter final : public Committer {
 public:
  explicit HeldCommitter(const bool& held) : held_(held) {}
  void Start(Run run) override { run_ = std::move(run); }
  bool busy() const override { return run_ != nullptr; }
  std::optional<TransactionOutcome> Take(std::chrono::nanoseconds wait) override {
    if (run_ == nullptr || (held_ && wait == std::chrono::nanoseconds(0))) return std::nullopt;
    return std::exchange(run_, nullptr)();
  }

 private:
  const bool& held_;
  Run run_;
};

class RuntimeTest : public WorkerTest {
 protected:
  // Each id once, where it came first.
  static std::vector<kafka::Record> Unique(const std::vector<kafka::Record>& records) {
    std::set<std::string> ids;
    std::vector<kafka::Record> unique;
    for (const kafka::Record& record : records) {
      if (ids.insert(std::string(record.headers.Find("ce_id").value_or(""))).second) {
        unique.push_back(record);
      }
    }
    return unique;
  }

  bool held_ = false;
};

TEST_F(RuntimeTest, TheNextIsComputedWhileOneIsUnderWay) {
  const std::vector<Call> calls = testing::RandomCalls(40, 120);
  make_committer_ = [this] { return std::make_unique<HeldCommitter>(held_); };
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  held_ = true;
  Publish(calls, 0, 60);
  Run({worker.get()}, 40);
  // One is under way, everything else has been computed and waits.
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 0U);
  held_ = false;
  worker->Step();
  held_ = true;
  Run({worker.get()}, 3);
  // What waited is in at most two: the one that was under way, and all the rest.
  std::set<std::string> transactions;
  for (const kafka::Record& record : kafka_.Log("calls.processed")) {
    const auto stamp = ParseStamp(*record.headers.Find(kTransactionHeader));
    transactions.insert(std::to_string(stamp->transaction.transaction));
  }
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 60U);
  EXPECT_EQ(transactions.size(), 2U);
  held_ = false;
  Publish(calls, 60, 120);
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(RuntimeTest, AnAbortTakesWhatStandsOnIt) {
  const std::vector<Call> calls = testing::RandomCalls(41, 120);
  make_committer_ = [this] { return std::make_unique<HeldCommitter>(held_); };
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  for (std::size_t begin = 0; begin < calls.size(); begin += 30) {
    held_ = true;
    Publish(calls, begin, begin + 30);
    Run({worker.get()}, 20);
    kafka_.FailNext(Step::kSendOffsets, {Aborted("planned"), ErrorClass::kAbort});
    held_ = false;
    Run({worker.get()}, 20);
  }
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  EXPECT_EQ(Order("calls.processed"), Order("calls.raw"));
}

TEST_F(RuntimeTest, NewRulesLoseNothingOfTheDraft) {
  // The plan changes while what was computed under the one before waits for its transaction.
  const std::vector<Call> calls = testing::RandomCalls(45, 120);
  const std::vector<RuleSpec> all = PublicSafetyRules();
  make_committer_ = [this] { return std::make_unique<HeldCommitter>(held_); };
  rules_.Set({all[0]});
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  for (std::size_t begin = 0; begin < calls.size(); begin += 30) {
    held_ = true;
    Publish(calls, begin, begin + 30);
    Run({worker.get()}, 20);
    rules_.Set({all[0]});
    Run({worker.get()}, 20);
    held_ = false;
    Run({worker.get()}, 20);
  }
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, {all[0]}));
}

TEST_F(RuntimeTest, ARebalanceWaitsForTheTransactionUnderWay) {
  const std::vector<Call> calls = testing::RandomCalls(42, 60);
  make_committer_ = [this] { return std::make_unique<HeldCommitter>(held_); };
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  held_ = true;
  Publish(calls, 0, 60);
  Run({worker.get()}, 20);
  // The fake's group refuses the generation at once; a real one takes it until the member has
  // given its partitions back. Either way the transaction has ended when they go.
  const int ended = kafka_.calls(Step::kTransactionCommit) + kafka_.calls(Step::kAbort);
  kafka_.Rebalance("correlation");
  worker->Step();
  EXPECT_EQ(kafka_.calls(Step::kTransactionCommit) + kafka_.calls(Step::kAbort), ended + 1);
  held_ = false;
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(RuntimeTest, LostPartitionsCommitNothing) {
  const std::vector<Call> calls = testing::RandomCalls(43, 60);
  make_committer_ = [this] { return std::make_unique<HeldCommitter>(held_); };
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  held_ = true;
  Publish(calls, 0, 60);
  Run({worker.get()}, 20);
  const int commits = kafka_.calls(Step::kTransactionCommit);
  kafka_.ExpireSessions("correlation");
  worker->Step();
  EXPECT_EQ(kafka_.calls(Step::kTransactionCommit), commits);
  held_ = false;
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(RuntimeTest, WhoHasNotPolledForAThirdOfTheSessionCommitsNothing) {
  const std::vector<Call> calls = testing::RandomCalls(44, 60);
  make_committer_ = [this] { return std::make_unique<HeldCommitter>(held_); };
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  held_ = true;
  Publish(calls, 0, 20);
  Run({worker.get()}, 20);
  const telemetry::Counter aborted =
      telemetry::GetCounter("tocsin_correlation_transactions_total", "", {{"outcome", "aborted"}});
  const double before = aborted.value();
  const int begun = kafka_.calls(Step::kBegin);
  // As a process that stood still in between.
  clock_.Advance(milliseconds(3'400));
  held_ = false;
  worker->Step();
  EXPECT_EQ(aborted.value(), before + 1);
  EXPECT_LE(kafka_.calls(Step::kBegin), begun + 1) << "the one after a poll";
  Publish(calls, 20, 60);
  Settle({worker.get()});
  EXPECT_EQ(worker->status().problem, "");
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(RuntimeTest, ATransactionBeginsOnDemand) {
  configure_ = [](WorkerOptions& options) {
    options.commit_interval = {milliseconds(5), milliseconds(100)};
    options.max_batch = 1'000;
  };
  const std::vector<Call> calls = testing::RandomCalls(45, 60);
  auto worker = MakeWorker("w0");
  // New rules are taken up without outputs.
  Run({worker.get()}, 20);
  clock_.Advance(milliseconds(100));
  Run({worker.get()}, 20);
  const int begun = kafka_.calls(Step::kBegin);
  Publish(calls, 0, 30);
  Run({worker.get()}, 5);
  clock_.Advance(milliseconds(4));
  Run({worker.get()}, 5);
  EXPECT_EQ(kafka_.calls(Step::kBegin), begun) << "not before 5 ms";
  clock_.Advance(milliseconds(1));
  worker->Step();
  EXPECT_EQ(kafka_.calls(Step::kBegin), begun + 1) << "there are outputs";
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 30U);
}

TEST_F(RuntimeTest, WhileThereIsMoreToReadATransactionGrows) {
  configure_ = [](WorkerOptions& options) {
    options.commit_interval = {milliseconds(5), milliseconds(100)};
    options.max_transaction_records = 40;
  };
  const std::vector<Call> calls = testing::RandomCalls(46, 120);
  auto worker = MakeWorker("w0");
  Run({worker.get()}, 20);
  clock_.Advance(milliseconds(100));
  Run({worker.get()}, 20);
  const int begun = kafka_.calls(Step::kBegin);
  Publish(calls, 0, 120);
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(milliseconds(5));
    worker->Step();
  }
  EXPECT_EQ(kafka_.calls(Step::kBegin), begun) << "35 records in 25 ms";
  clock_.Advance(milliseconds(5));
  worker->Step();
  EXPECT_EQ(kafka_.calls(Step::kBegin), begun + 1) << "42 are as many as one may have";
}

TEST_F(RuntimeTest, AtLeastOnceRepeatsAndLosesNothing) {
  configure_ = [](WorkerOptions& options) { options.guarantee = Guarantee::kAtLeastOnce; };
  const std::vector<Call> calls = testing::RandomCalls(47, 200);
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  std::size_t n = 0;
  for (std::size_t begin = 0; begin < calls.size(); begin += 20, ++n) {
    const Step step[] = {Step::kTransactionCommit, Step::kSendOffsets, Step::kBegin,
                         Step::kDelivery};
    kafka_.FailNext(step[n % 4], {Unavailable("planned"), ErrorClass::kFatal}, 1,
                    static_cast<int>(n % 3));
    Publish(calls, begin, begin + 20);
    Run({worker.get()}, 30);
    if (n % 2 == 1) {
      worker.reset();
      worker = MakeWorker("w0");
    }
  }
  Settle({worker.get()});
  const std::vector<kafka::Record> detections = kafka_.Log(kDetectionsTopic);
  testing::ExpectSame(testing::Observed(Unique(detections), Unique(kafka_.Log(kIncidentsTopic))),
                      testing::BruteForce(calls, PublicSafetyRules()));
  const std::vector<kafka::Record> processed = kafka_.Log("calls.processed");
  EXPECT_GT(processed.size(), calls.size()) << "a fault between the two shows";
  EXPECT_EQ(Unique(processed).size(), calls.size());
  // What correlation tells itself is exact.
  EXPECT_EQ(Unique(kafka_.Log(kByPlace)).size() - 1, [&] {
    std::size_t events = 0;
    for (const kafka::Record& record : kafka_.Log(kByPlace)) {
      if (record.headers.Find("ce_id").has_value()) ++events;
    }
    return events;
  }()) << "marks have no id";
}

TEST_F(RuntimeTest, AtLeastOnceOutputsDoNotWaitForTheCommit) {
  configure_ = [](WorkerOptions& options) {
    options.guarantee = Guarantee::kAtLeastOnce;
    options.commit_interval = {seconds(1), seconds(1)};
  };
  auto worker = MakeWorker("w0");
  Run({worker.get()}, 30);
  Publish(testing::RandomCalls(48, 20), 0, 20);
  // The producer of outputs has a thread of its own: as long as that takes.
  const auto deadline = std::chrono::steady_clock::now() + seconds(30);
  while (kafka_.Log("calls.processed").size() < 20 && std::chrono::steady_clock::now() < deadline) {
    worker->Step();
  }
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 20U);
  EXPECT_TRUE(kafka_.Committed("correlation").empty());
}

TEST_F(RuntimeTest, BadInputGoesToTheDeadLettersAndThePartitionGoesOn) {
  const std::vector<Call> calls = testing::RandomCalls(49, 60);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 30);
  const kafka::OutgoingRecord good = Outgoing(calls[0]);
  std::vector<std::pair<std::string, kafka::OutgoingRecord>> bad;
  const auto add = [&](std::string cause) -> kafka::OutgoingRecord& {
    kafka::OutgoingRecord& record = bad.emplace_back(std::move(cause), good).second;
    record.headers.Set("ce_id", Concat("bad ", bad.size()));
    return record;
  };
  add("ce_id").headers.Remove("ce_id");
  add("ce_time").headers.Set("ce_time", "yesterday");
  add("has no key").key = std::nullopt;
  bad.back().second.partition = 1;
  add("neither 1970 nor 2100").headers.Set("ce_time", "1970-01-01T00:00:01Z");
  add("neither 1970 nor 2100").headers.Set("ce_time", "2100-01-01T00:00:00Z");
  add("no value").value = std::nullopt;
  add("value").value = std::string("\0\0", 2);
  kafka::OutgoingRecord& truncated = add("is not a message");
  truncated.value->pop_back();
  // An unknown group in a group, a thousand deep.
  kafka::OutgoingRecord& deep = add("is not a message");
  for (int i = 0; i < 1'000; ++i) deep.value->push_back('\x7b');
  for (int i = 0; i < 1'000; ++i) deep.value->push_back('\x7c');
  for (const auto& [cause, record] : bad) kafka_.Append(record);
  Publish(calls, 30, 60);
  kafka_.FailNext(Step::kTransactionCommit, {Unavailable("planned"), ErrorClass::kAbort});
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  const std::vector<kafka::Record> letters = kafka_.Log("calls.raw.dlq");
  ASSERT_EQ(letters.size(), bad.size());
  // In the order of partitions there; none is like another.
  for (const auto& [cause, record] : bad) {
    const auto letter = std::find_if(letters.begin(), letters.end(), [&](const auto& candidate) {
      return candidate.key == record.key && candidate.value == record.value &&
             candidate.headers.Find("ce_time") == record.headers.Find("ce_time") &&
             candidate.headers.Find("ce_id") == record.headers.Find("ce_id");
    });
    ASSERT_NE(letter, letters.end()) << cause;
    EXPECT_THAT(std::string(letter->headers.Find("dlq.message").value_or("")), HasSubstr(cause));
    EXPECT_TRUE(letter->headers.Find(kTransactionHeader).has_value());
  }
  EXPECT_EQ(worker->status().problem, "");
}

// A file system of a few megabytes, for as long as it lives.
class SmallDisk {
 public:
  explicit SmallDisk(std::string folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
    if (::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=2m") != 0) {
      why_ = Concat("mount: ", std::strerror(errno));
    }
  }
  ~SmallDisk() {
    if (why_.empty()) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  const std::string& why_not() const { return why_; }
  void Fill() {
    std::ofstream file(folder_ + "/of somebody else", std::ios::binary);
    const std::string block(4096, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void Free() { std::filesystem::remove(folder_ + "/of somebody else"); }

 private:
  const std::string folder_;
  std::string why_;
};

using FullDiskTest = RuntimeTest;

TEST_F(FullDiskTest, TheWorkerSaysSoAndNothingIsHalfApplied) {
  SmallDisk disk(folder_ + "/disk");
  if (!disk.why_not().empty()) GTEST_SKIP() << "needs a tmpfs of its own: " << disk.why_not();
  configure_ = [](WorkerOptions& options) {
    options.max_batch = 40;
    options.store.write_buffer_bytes = 64U << 10;
  };
  const std::vector<Call> calls = testing::RandomCalls(50, 1'200);
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  Publish(calls, 0, 200);
  RunUntilIdle({worker.get()});
  disk.Fill();
  Publish(calls, 200, calls.size());
  std::string problem;
  for (int i = 0; i < 3'000 && problem.find("No space") == std::string::npos; ++i) {
    worker->Step();
    problem = worker->status().problem;
  }
  EXPECT_THAT(problem, HasSubstr("No space left on device"));
  EXPECT_LT(worker->status().running, kPartitions);
  disk.Free();
  Settle({worker.get()});
  EXPECT_EQ(worker->status().problem, "");
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  EXPECT_EQ(Order("calls.processed"), Order("calls.raw"));
}

}  // namespace
}  // namespace tocsin::correlation
