#include "services/correlation/worker/transaction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/kafka/testing/fake_kafka.h"

namespace tocsin::correlation {
namespace {

using kafka::ErrorClass;
using kafka::testing::FakeKafka;
using Kind = TransactionOutcome::Kind;
using Step = FakeKafka::Step;

struct Case {
  std::string name;
  Step step;
  ErrorClass error_class;
  int times;
  Kind expected;
  // Of the record that the transaction writes.
  bool visible;
};

class TransactionTest : public ::testing::TestWithParam<Case> {};

TEST_P(TransactionTest, EndsAsItsErrorsAsk) {
  const Case& test = GetParam();
  FakeClock clock;
  FakeKafka kafka(clock);
  kafka.CreateTopic("in", 1);
  kafka.CreateTopic("out", 1);
  auto producer = kafka.MakeTransactionalProducer("t");
  ASSERT_TRUE(producer->Init().ok());
  kafka::ConsumerOptions options;
  options.group = "g";
  auto consumer = kafka.MakeConsumer(options);
  ASSERT_TRUE(consumer->Subscribe({"in"}, nullptr).ok());
  consumer->Poll({});
  if (test.error_class != ErrorClass::kNone) {
    kafka.FailNext(test.step, {Unavailable("cut"), test.error_class}, test.times);
    if (test.step == Step::kAbort) {
      kafka.FailNext(Step::kSendOffsets, {Aborted("moved on"), ErrorClass::kAbort});
    }
  }
  kafka::OutgoingRecord record;
  record.topic = "out";
  record.value = "v";
  const TransactionOutcome outcome =
      RunTransaction(*producer, *consumer, {record}, {{{"in", 0}, 5}}, 3, nullptr);
  EXPECT_EQ(outcome.kind, test.expected) << outcome.status;
  EXPECT_EQ(outcome.status.ok(), test.expected == Kind::kCommitted);
  EXPECT_EQ(kafka.Log("out").size(), test.visible ? 1U : 0U);
  EXPECT_EQ(kafka.Committed("g").size(), test.visible ? 1U : 0U);
  if (test.expected == Kind::kCommitted) {
    EXPECT_EQ(outcome.written, (kafka::Offsets{{{"out", 0}, 1}}));
  }
  if (test.expected != Kind::kBroken) {
    EXPECT_TRUE(producer->Begin().ok()) << "the producer is good for another";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, TransactionTest,
    ::testing::Values(
        Case{"Good", Step::kBegin, ErrorClass::kNone, 0, Kind::kCommitted, true},
        Case{"BeginFatal", Step::kBegin, ErrorClass::kFatal, 1, Kind::kBroken, false},
        Case{"BeginRetried", Step::kBegin, ErrorClass::kRetriable, 2, Kind::kCommitted, true},
        Case{"ProduceAbort", Step::kTransactionalProduce, ErrorClass::kAbort, 1, Kind::kAborted,
             false},
        Case{"ProduceFatal", Step::kTransactionalProduce, ErrorClass::kFatal, 1, Kind::kBroken,
             false},
        Case{"OffsetsRetried", Step::kSendOffsets, ErrorClass::kRetriable, 2, Kind::kCommitted,
             true},
        Case{"OffsetsRetriedTooOften", Step::kSendOffsets, ErrorClass::kRetriable, 3, Kind::kBroken,
             false},
        Case{"OffsetsAbort", Step::kSendOffsets, ErrorClass::kAbort, 1, Kind::kAborted, false},
        Case{"OffsetsFatal", Step::kSendOffsets, ErrorClass::kFatal, 1, Kind::kBroken, false},
        Case{"CommitRetried", Step::kTransactionCommit, ErrorClass::kRetriable, 2, Kind::kCommitted,
             true},
        Case{"CommitAbort", Step::kTransactionCommit, ErrorClass::kAbort, 1, Kind::kAborted, false},
        Case{"CommitFatal", Step::kTransactionCommit, ErrorClass::kFatal, 1, Kind::kBroken, false},
        Case{"AbortRetried", Step::kAbort, ErrorClass::kRetriable, 2, Kind::kAborted, false},
        Case{"AbortFatal", Step::kAbort, ErrorClass::kFatal, 1, Kind::kBroken, false}),
    [](const auto& test) { return test.param.name; });

TEST(TransactionStopTest, GivesUpBetweenTries) {
  FakeKafka kafka;
  kafka.CreateTopic("in", 1);
  auto producer = kafka.MakeTransactionalProducer("t");
  ASSERT_TRUE(producer->Init().ok());
  kafka::ConsumerOptions options;
  options.group = "g";
  auto consumer = kafka.MakeConsumer(options);
  kafka.FailNext(Step::kBegin, {Unavailable("cut"), ErrorClass::kRetriable}, 100);
  const TransactionOutcome outcome =
      RunTransaction(*producer, *consumer, {}, {}, 100, [] { return true; });
  EXPECT_EQ(outcome.kind, Kind::kBroken);
  EXPECT_EQ(kafka.calls(Step::kBegin), 1);
}

}  // namespace
}  // namespace tocsin::correlation
