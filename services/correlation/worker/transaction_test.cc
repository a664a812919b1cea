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
  record.headers.Append(std::string(kTransactionHeader), "of the one that it comes from");
  TransactionContent content;
  content.outputs.push_back({"in:0:1-4", {record}});
  content.offsets = {{{"in", 0}, 5}};
  content.member = *consumer->CurrentGroupMetadata();
  content.stamp = {"w", 7, 3, 1};
  const TransactionOutcome outcome = RunTransaction(*producer, content, {});
  EXPECT_EQ(outcome.kind, test.expected) << outcome.status;
  EXPECT_EQ(outcome.status.ok(), test.expected == Kind::kCommitted);
  EXPECT_EQ(kafka.Log("out").size(), test.visible ? 1U : 0U);
  for (const kafka::Record& seen : kafka.Log("out")) {
    EXPECT_EQ(seen.headers,
              (kafka::Headers{{"tocsin.transaction", "w/7/3/1/1"}, {"tocsin.inputs", "in:0:1-4"}}));
  }
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
  auto producer = kafka.MakeTransactionalProducer("t");
  ASSERT_TRUE(producer->Init().ok());
  kafka.FailNext(Step::kBegin, {Unavailable("cut"), ErrorClass::kRetriable}, 100);
  TransactionRules rules;
  rules.attempts = 100;
  rules.give_up = [] { return true; };
  const TransactionOutcome outcome = RunTransaction(*producer, {}, rules);
  EXPECT_EQ(outcome.kind, Kind::kBroken);
  EXPECT_EQ(kafka.calls(Step::kBegin), 1);
}

// The rule of a third of the session: at the last moment before the commit, too.
TEST(TransactionStopTest, DoesNotCommitWhatItMayNot) {
  for (const int allowed : {0, 1, 2}) {
    FakeKafka kafka;
    kafka.CreateTopic("in", 1);
    kafka.CreateTopic("out", 1);
    auto producer = kafka.MakeTransactionalProducer("t");
    ASSERT_TRUE(producer->Init().ok());
    kafka::ConsumerOptions options;
    options.group = "g";
    auto consumer = kafka.MakeConsumer(options);
    ASSERT_TRUE(consumer->Subscribe({"in"}, nullptr).ok());
    consumer->Poll({});
    TransactionContent content;
    content.outputs.push_back({"", {{.topic = "out", .value = "v"}}});
    content.member = *consumer->CurrentGroupMetadata();
    TransactionRules rules;
    int asked = 0;
    rules.may_commit = [&] {
      return ++asked > allowed ? absl::AbortedError("too late") : absl::OkStatus();
    };
    const TransactionOutcome outcome = RunTransaction(*producer, content, rules);
    EXPECT_EQ(outcome.kind, allowed == 2 ? Kind::kCommitted : Kind::kAborted);
    EXPECT_EQ(kafka.Log("out").size(), allowed == 2 ? 1U : 0U);
    EXPECT_TRUE(producer->Begin().ok());
  }
}

TEST(StampTest, RoundTrip) {
  const TransactionStamp stamp{"host/worker-0", 3, 12, 7};
  EXPECT_EQ(stamp.Header(2), "host/worker-0/3/12/2/7");
  const std::optional<OutputStamp> parsed = ParseStamp(stamp.Header(2));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->transaction, stamp);
  EXPECT_EQ(parsed->i, 2);
  for (const char* bad : {"", "w", "w/1/2/3", "/1/2/3/4", "w/1/2/5/4", "w/1/2/0/4", "w/1/2/x/4",
                          "w/1/2/3/99999999999999999999", "w/1/-2/3/4", "w/1/2/3/4 "}) {
    EXPECT_FALSE(ParseStamp(bad).has_value()) << bad;
  }
  EXPECT_EQ(FormatInputs({{"a", {1, 9}}, {"b", {4, 4}}}, 2), "a:2:1-9,b:2:4-4");
}

}  // namespace
}  // namespace tocsin::correlation
