// Workers on a Kafka in memory: every step of a transaction fails in every way, workers crash and
// come back with and without their disk, the group moves. What comes out is what the brute force
// says, each time.
#include "services/correlation/worker/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/telemetry/trace.h"
#include "services/correlation/worker/worker_fixture.h"

namespace tocsin::correlation {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(WorkerTest, AnswersThenFallsQuiet) {
  const std::vector<Call> calls = testing::RandomCalls(1, 200);
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  EXPECT_EQ(worker->status().running, kPartitions);
  EXPECT_EQ(worker->status().running_epoch, 1);
  for (std::size_t begin = 0; begin < calls.size(); begin += 20) {
    Publish(calls, begin, begin + 20);
    Run({worker.get()}, 3);
  }
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  EXPECT_EQ(kafka_.Log("calls.processed").size(), calls.size());
  const int begun = kafka_.calls(Step::kBegin);
  for (int i = 0; i < 60; ++i) {
    clock_.Advance(seconds(1));
    worker->Step();
  }
  EXPECT_EQ(kafka_.calls(Step::kBegin), begun) << "an idle system is quiet";
}

TEST_F(WorkerTest, OutputsContinueTheTraceOfTheEventThatFired) {
  const std::vector<Call> calls = testing::RandomCalls(2, 60);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  Settle({worker.get()});
  const std::vector<kafka::Record> detections = kafka_.Log(kDetectionsTopic);
  ASSERT_FALSE(detections.empty());
  std::map<std::string, Call> by_trace;
  for (const Call& call : calls) {
    const auto record = testing::MakeCallRecord(call);
    by_trace[telemetry::TraceContext::FromTraceparent(*record.headers.Find("traceparent"))
                 .TraceIdHex()] = call;
  }
  const testing::Answers answers = Observed();
  for (const kafka::Record& record : detections) {
    const auto context =
        telemetry::TraceContext::FromTraceparent(record.headers.Find("traceparent").value_or(""));
    ASSERT_TRUE(context.valid());
    ASSERT_TRUE(by_trace.contains(context.TraceIdHex())) << "the forwarded event's trace goes on";
  }
}

// Time without a broker is no silence.
TEST_F(WorkerTest, AnOutageIsNoSilence) {
  const std::vector<Call> calls = testing::RandomCalls(3, 120);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  RunUntilIdle({worker.get()});
  kafka_.SetReachable(false);
  for (int i = 0; i < 120; ++i) {
    clock_.Advance(seconds(1));
    worker->Step();
  }
  kafka_.SetReachable(true);
  // What comes now is as early as it would have been without the outage.
  Publish(calls, 60, 120);
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

// Events that lie in an open transaction have been sent, though nobody may read them yet.
TEST_F(WorkerTest, AnOpenTransactionIsNoSilence) {
  const std::vector<Call> calls = testing::RandomCalls(15, 120);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  RunUntilIdle({worker.get()});
  auto sender = kafka_.MakeTransactionalProducer("sender");
  ASSERT_TRUE(sender->Init().ok());
  ASSERT_TRUE(sender->Begin().ok());
  for (std::size_t i = 60; i < calls.size(); ++i) {
    kafka::OutgoingRecord record = Outgoing(calls[i]);
    if (PartitionForKey(*record.key, kPartitions) == 0) {
      ASSERT_TRUE(sender->Produce(std::move(record)).ok());
    } else {
      kafka_.Append(record);
    }
  }
  // Meanwhile the other partitions go far ahead.
  for (int i = 0; i < 60; ++i) {
    clock_.Advance(seconds(1));
    RunUntilIdle({worker.get()});
  }
  ASSERT_TRUE(sender->Commit().ok());
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(WorkerTest, OffsetsThatSomebodyMovedAreRefusedWithAWord) {
  const std::vector<Call> calls = testing::RandomCalls(4, 60);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  Settle({worker.get()});
  worker->Close();
  worker.reset();
  kafka::Offsets moved = kafka_.Committed("correlation");
  moved[{"calls.raw", 0}] = 1;
  kafka_.SetCommitted("correlation", moved);
  worker = MakeWorker("w0");
  Run({worker.get()}, 200);
  EXPECT_EQ(worker->status().running, kPartitions - 1);
  EXPECT_THAT(
      worker->status().problem,
      HasSubstr("calls.raw[0] stands still: the group correlation has committed offset 1 of "
                "calls.raw[0]"));
}

TEST_F(WorkerTest, WithoutGroupOffsetsTheStateKnows) {
  const std::vector<Call> calls = testing::RandomCalls(5, 120);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  RunUntilIdle({worker.get()});
  worker->Close();
  worker.reset();
  kafka_.SetCommitted("correlation", {});
  worker = MakeWorker("w0");
  Publish(calls, 60, 120);
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(WorkerTest, WhatRetentionRemovedIsSaidAndTheRestGoesOn) {
  const std::vector<Call> calls = testing::RandomCalls(6, 60);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 30);
  RunUntilIdle({worker.get()});
  worker->Close();
  worker.reset();
  Publish(calls, 30, 60);
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    const std::int64_t end = kafka_.EndOffset({"calls.raw", p});
    kafka_.DeleteBefore({"calls.raw", p}, end);
  }
  Publish(testing::RandomCalls(7, 30), 0, 30);
  const double before = Resets("removed");
  worker = MakeWorker("w0");
  Settle({worker.get()});
  EXPECT_GT(Resets("removed"), before);
  EXPECT_EQ(worker->status().running, kPartitions);
  EXPECT_EQ(worker->status().problem, "");
}

TEST_F(WorkerTest, ALogThatEndsBeforeThePositionIsReadAnewAndEventsCountOnce) {
  const std::vector<Call> calls = testing::RandomCalls(6, 90);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  RunUntilIdle({worker.get()});
  worker->Close();
  worker.reset();
  // Each partition loses the second half of what was read.
  int cut = 0;
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    const std::int64_t end = kafka_.EndOffset({"calls.raw", p});
    if (end < 2) continue;  // no key came to lie here
    kafka_.TruncateTo({"calls.raw", p}, end / 2);
    ++cut;
  }
  ASSERT_GT(cut, 0);
  const double before = Resets("truncated");
  worker = MakeWorker("w0");
  Settle({worker.get()});
  EXPECT_EQ(Resets("truncated") - before, cut);
  EXPECT_EQ(worker->status().problem, "");
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 60U) << "what was read before counts once";
  Publish(calls, 60, 90);
  Settle({worker.get()});
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 90U) << "and nothing new is left out";
}

TEST_F(WorkerTest, NewRulesRunWithoutARestart) {
  const std::vector<Call> calls = testing::RandomCalls(8, 200);
  rules_.Set({PublicSafetyRules()[2]});
  auto worker = MakeWorker("w0");
  RunUntilIdle({worker.get()});
  const std::int64_t first = worker->status().running_epoch;
  rules_.Set(PublicSafetyRules());
  RunUntilIdle({worker.get()});
  EXPECT_EQ(worker->status().running_epoch, first + 1);
  Publish(calls, 0, calls.size());
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  // And without the rules nothing new comes.
  rules_.Set({});
  RunUntilIdle({worker.get()});
  const std::size_t before = kafka_.Log(kDetectionsTopic).size();
  std::vector<Call> more = testing::RandomCalls(9, 50);
  for (Call& call : more) {
    call.id = Concat("again ", call.row);
    call.time += std::chrono::hours(24 * 365);
  }
  Publish(more, 0, more.size());
  Settle({worker.get()});
  EXPECT_EQ(kafka_.Log(kDetectionsTopic).size(), before);
}

// --- restoring is held up ---

constexpr char kChangelog[] = "correlation-calls.raw-changelog";

TEST_F(WorkerTest, ATransactionThatNobodyEndsIsToldAndHoldsUpItsPartitionAlone) {
  const std::vector<Call> calls = testing::RandomCalls(13, 120);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  RunUntilIdle({worker.get()});
  worker->Close();
  worker.reset();
  auto stranger = kafka_.MakeTransactionalProducer("stranger");
  ASSERT_TRUE(stranger->Init().ok());
  ASSERT_TRUE(stranger->Begin().ok());
  const std::int64_t at = kafka_.EndOffset({kChangelog, 1});
  ASSERT_TRUE(stranger->Produce({.topic = kChangelog, .partition = 1, .value = "x"}).ok());

  worker = MakeWorker("w0");
  Run({worker.get()}, 50);
  EXPECT_EQ(worker->status().running, kPartitions - 1);
  EXPECT_EQ(worker->status().problem, "calls.raw[1] reads its changelog");
  // Kafka being away is another thing.
  kafka_.SetReachable(false);
  clock_.Advance(seconds(31));
  Run({worker.get()}, 5);
  EXPECT_THAT(worker->status().problem, Not(HasSubstr("transaction")));
  kafka_.SetReachable(true);
  Run({worker.get()}, 50);
  clock_.Advance(seconds(31));
  Run({worker.get()}, 5);
  EXPECT_THAT(worker->status().problem,
              HasSubstr(Concat("calls.raw[1] waits in its changelog: at offset ", at, " of ",
                               kChangelog, "[1] (end ", at + 1, ") a transaction is open")));

  ASSERT_TRUE(stranger->Abort().ok());
  Publish(calls, 60, 120);
  Settle({worker.get()});
  EXPECT_EQ(worker->status().problem, "");
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(WorkerTest, AReaderThatStandsStillIsStartedAgain) {
  const std::vector<Call> calls = testing::RandomCalls(14, 120);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 60);
  RunUntilIdle({worker.get()});
  worker->Close();
  worker.reset();
  worker = MakeWorker("w0", "another disk");
  // Once with the others, once alone.
  kafka_.StallReaders({kChangelog, 1}, 2);
  Run({worker.get()}, 50);
  ASSERT_EQ(worker->status().running, kPartitions - 1);
  clock_.Advance(seconds(31));
  Publish(calls, 60, 120);
  Settle({worker.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(WorkerTest, WhyThereIsNoPlaceInTheGroupIsTold) {
  auto worker = MakeWorker("w0");
  kafka_.FailNext(Step::kCommitted, {Unavailable("offsets are undecided")}, 3);
  Run({worker.get()}, 3);
  EXPECT_EQ(worker->status().problem,
            "a worker waits for its place in the group: offsets are undecided");
  RunUntilIdle({worker.get()});
  EXPECT_EQ(worker->status().problem, "");
}

// --- the group moves ---

TEST_F(WorkerTest, PartitionsMoveBetweenWorkers) {
  const std::vector<Call> calls = testing::RandomCalls(10, 300);
  auto a = MakeWorker("a");
  auto b = MakeWorker("b");
  for (std::size_t begin = 0; begin < calls.size(); begin += 30) {
    Publish(calls, begin, begin + 30);
    Run({a.get(), b.get()}, 4);
    if (begin == 60) kafka_.Rebalance("correlation");
    if (begin == 120) kafka_.ExpireSessions("correlation");
    if (begin == 180) {
      // b goes for good; a takes all.
      b->Close();
      kafka_.ForgetMember("correlation", "b");
    }
    if (begin == 240) b = MakeWorker("b", "another disk");
  }
  Settle({a.get(), b.get()});
  EXPECT_EQ(a->status().running + b->status().running, kPartitions);
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

// One that stood still while others took its place can commit nothing when it wakes.
TEST_F(WorkerTest, AZombieCommitsNothing) {
  const std::vector<Call> calls = testing::RandomCalls(11, 200);
  auto zombie = MakeWorker("a", "disk a");
  Publish(calls, 0, 100);
  Run({zombie.get()}, 12);
  auto successor = MakeWorker("a", "disk b");
  Publish(calls, 100, 200);
  Settle({successor.get()});
  const std::size_t found = kafka_.Log(kDetectionsTopic).size();
  Run({zombie.get()}, 3);
  EXPECT_EQ(kafka_.Log(kDetectionsTopic).size(), found);
  Settle({successor.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

// --- every step fails ---

enum class After { kGoOn, kCrash, kCrashLosingTheTail, kCrashLosingTheDisk };

struct Fault {
  std::string name;
  Step step;
  ErrorClass error_class;
  bool took_effect = false;
  bool indefinite = false;
};

class WorkerFaultTest : public WorkerTest,
                        public ::testing::WithParamInterface<std::tuple<Fault, After>> {};

TEST_P(WorkerFaultTest, TheAnswersStay) {
  const auto& [fault, after] = GetParam();
  lose_unwritten_ = after == After::kCrashLosingTheTail;
  const std::vector<Call> calls = testing::RandomCalls(12, 160);
  auto worker = MakeWorker("w0");
  int disks = 0;
  RunUntilIdle({worker.get()});
  for (std::size_t begin = 0; begin < calls.size(); begin += 16) {
    FakeKafka::Failure failure;
    if (fault.error_class != ErrorClass::kNone) failure.status = Unavailable("planned");
    failure.error_class = fault.error_class;
    failure.took_effect = fault.took_effect;
    failure.indefinite = fault.indefinite;
    if (fault.step == Step::kAbort) {
      kafka_.FailNext(Step::kSendOffsets, {Aborted("planned"), ErrorClass::kAbort}, 1,
                      static_cast<int>(begin / 16) % 3);
    }
    if (fault.step == Step::kInit) {
      kafka_.FailNext(Step::kTransactionCommit, {Unavailable("planned"), ErrorClass::kFatal});
    }
    const int calls_before =
        fault.step == Step::kTransactionalProduce ? 11 * static_cast<int>(begin / 16) : 0;
    kafka_.FailNext(fault.step, failure, 1, calls_before);
    const int tries = kafka_.calls(fault.step) + calls_before;
    Publish(calls, begin, begin + 16);
    for (int i = 0; i < 40; ++i) {
      worker->Step();
      if (after != After::kGoOn && kafka_.calls(fault.step) > tries) {
        // The worker has seen the failure, and is no more.
        worker.reset();
        if (after == After::kCrashLosingTheDisk) ++disks;
        worker = MakeWorker("w0", Concat("disk", disks));
        break;
      }
    }
    Run({worker.get()}, 6);
  }
  Settle({worker.get()});
  EXPECT_EQ(worker->status().problem, "");
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  // Once each, and none has overtaken another of its key.
  EXPECT_EQ(Order("calls.processed"), Order("calls.raw"));
}

std::string FaultName(const ::testing::TestParamInfo<std::tuple<Fault, After>>& test) {
  constexpr const char* kAfter[] = {"GoOn", "Crash", "CrashLosingTheTail", "CrashLosingTheDisk"};
  const auto& [fault, after] = test.param;
  return Concat(fault.name, kAfter[static_cast<std::size_t>(after)]);
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, WorkerFaultTest,
    ::testing::Combine(
        ::testing::Values(
            Fault{"InitRetriable", Step::kInit, ErrorClass::kRetriable},
            Fault{"InitFatal", Step::kInit, ErrorClass::kFatal},
            Fault{"BeginRetriable", Step::kBegin, ErrorClass::kRetriable},
            Fault{"BeginFatal", Step::kBegin, ErrorClass::kFatal},
            Fault{"ProduceAbort", Step::kTransactionalProduce, ErrorClass::kAbort},
            Fault{"ProduceFatal", Step::kTransactionalProduce, ErrorClass::kFatal},
            Fault{"SendOffsetsRetriable", Step::kSendOffsets, ErrorClass::kRetriable},
            Fault{"SendOffsetsAbort", Step::kSendOffsets, ErrorClass::kAbort},
            Fault{"SendOffsetsFatal", Step::kSendOffsets, ErrorClass::kFatal},
            Fault{"CommitRetriable", Step::kTransactionCommit, ErrorClass::kRetriable},
            Fault{"CommitRetriableButDone", Step::kTransactionCommit, ErrorClass::kRetriable, true},
            Fault{"CommitAbort", Step::kTransactionCommit, ErrorClass::kAbort},
            Fault{"CommitFatal", Step::kTransactionCommit, ErrorClass::kFatal},
            Fault{"CommitFatalButDone", Step::kTransactionCommit, ErrorClass::kFatal, true},
            Fault{"CommitIndefinite", Step::kTransactionCommit, ErrorClass::kNone, false, true},
            Fault{"AbortRetriable", Step::kAbort, ErrorClass::kRetriable},
            Fault{"AbortFatal", Step::kAbort, ErrorClass::kFatal},
            Fault{"CommittedUnavailable", Step::kCommitted, ErrorClass::kRetriable},
            Fault{"QueryUnavailable", Step::kQueryOffset, ErrorClass::kRetriable}),
        ::testing::Values(After::kGoOn, After::kCrash, After::kCrashLosingTheTail,
                          After::kCrashLosingTheDisk)),
    FaultName);

}  // namespace
}  // namespace tocsin::correlation
