// Outputs with every fault planted, read over spans of time that cut through transactions.
#include "services/correlation/verifier/range_verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "services/correlation/worker/stamp.h"

namespace tocsin::correlation {
namespace {

using kafka::TopicPartition;
using kafka::testing::FakeKafka;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const TopicPartition kA{"detections", 0};
const TopicPartition kB{"detections", 1};
const TopicPartition kC{"incidents", 0};

// Time goes on with every look at it.
class TickingClock final : public Clock {
 public:
  WallTime Now() const override { return Clock::Real().Now(); }
  SteadyTime SteadyNow() const override { return SteadyTime(seconds(1) * ++ticks_); }

 private:
  mutable std::atomic<int> ticks_{1'000};
};

class RangeVerifierTest : public ::testing::Test {
 protected:
  RangeVerifierTest() { Create("detections", 2, {}); }

  void Create(const std::string& name, std::int32_t partitions,
              std::map<std::string, std::string> configs) {
    EXPECT_THAT(admin_->CreateTopics({{name, partitions, 1, std::move(configs)}}, seconds(1)),
                IsOk());
    topics_.insert(name);
  }

  static std::string Stamp(std::int64_t transaction, std::int64_t i, std::int64_t n,
                           std::int64_t incarnation = 1) {
    return TransactionStamp{"worker-0", incarnation, transaction, n}.Header(i);
  }
  void Write(const TopicPartition& where, const std::string& stamp) {
    kafka_.Append({.topic = where.topic,
                   .partition = where.partition,
                   .key = "k",
                   .value = "v",
                   .headers = {{std::string(kTransactionHeader), stamp}}});
  }
  // A transaction that is whole, an output in each of these.
  void Whole(std::int64_t transaction, const std::vector<TopicPartition>& outputs = {kA, kB}) {
    std::int64_t i = 0;
    for (const TopicPartition& where : outputs) {
      Write(where, Stamp(transaction, ++i, static_cast<std::int64_t>(outputs.size())));
    }
    clock_.Advance(seconds(1));
  }

  absl::Status Verify(TimeSpan span, const Clock* clock = nullptr) {
    found_.clear();
    RangeVerifierIo io;
    io.make_consumer =
        [this](kafka::ConsumerOptions options) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer(std::move(options));
    };
    io.admin = admin_.get();
    io.clock = clock == nullptr ? &clock_ : clock;
    RangeVerifier verifier(std::move(io), topics_, span);
    return verifier.Run([this](const v1::VerifyResponse& response) {
      if (response.has_finding()) found_.push_back(response.finding().kind());
      if (response.has_finding()) what_ = response.finding().what();
      if (response.has_summary()) summary_ = response.summary();
      return listens_;
    });
  }
  // All that there is.
  absl::Status Verify() { return Verify({start_ - seconds(1), clock_.Now() + seconds(1)}); }

  FakeClock clock_;
  const WallTime start_ = clock_.Now();
  FakeKafka kafka_{clock_};
  std::unique_ptr<kafka::Admin> admin_ = kafka_.MakeAdmin();
  std::set<std::string> topics_;
  std::vector<std::string> found_;
  std::string what_;
  v1::VerifySummary summary_;
  bool listens_ = true;
};

TEST_F(RangeVerifierTest, WholeTransactionsAreFine) {
  for (int n = 1; n <= 5; ++n) Whole(n);
  kafka_.Append({.topic = "detections", .partition = 0, .value = "without a stamp"});
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, IsEmpty());
  EXPECT_EQ(summary_.outputs(), 10);
  EXPECT_EQ(summary_.records(), 11);
  EXPECT_THAT(summary_.topics(), ElementsAre("detections"));
  EXPECT_TRUE(summary_.violations().empty());
}

TEST_F(RangeVerifierTest, ATornTransactionIsFound) {
  Whole(1);
  Write(kA, Stamp(2, 1, 3));
  Write(kB, Stamp(2, 3, 3));
  Whole(3);
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("torn"));
  EXPECT_THAT(what_, HasSubstr("worker-0/1/2: 2 of 3"));
  EXPECT_EQ(summary_.violations().at("torn"), 1);
}

TEST_F(RangeVerifierTest, ALostTransactionIsFound) {
  Whole(1);
  Whole(2);
  Whole(4);
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("lost"));
  EXPECT_THAT(what_, HasSubstr("worker-0/1/3"));
}

TEST_F(RangeVerifierTest, ARepeatedOutputIsFound) {
  Whole(1);
  Write(kA, Stamp(2, 1, 1));
  Write(kA, Stamp(2, 1, 1));
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("repeated"));
}

TEST_F(RangeVerifierTest, OutputsOutOfOrderAreFound) {
  Whole(1);
  Write(kA, Stamp(3, 1, 1));
  Write(kA, Stamp(2, 1, 1));
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("reordered"));
}

TEST_F(RangeVerifierTest, TransactionsThatReachOverTheEdgesAreWhole) {
  Whole(1);
  clock_.Advance(hours(1));
  Write(kA, Stamp(2, 1, 2));
  clock_.Advance(seconds(5));
  const WallTime from = clock_.Now();
  clock_.Advance(seconds(5));
  Write(kB, Stamp(2, 2, 2));
  Whole(3);
  Write(kA, Stamp(4, 1, 2));
  clock_.Advance(seconds(5));
  const WallTime to = clock_.Now();
  clock_.Advance(seconds(5));
  Write(kB, Stamp(4, 2, 2));
  clock_.Advance(hours(1));
  // Not seen.
  Write(kA, Stamp(5, 1, 2));
  clock_.Advance(hours(1));
  ASSERT_THAT(Verify({from, to}), IsOk());
  EXPECT_THAT(found_, IsEmpty());

  // One that begins in the span and has no end is found.
  Write(kA, Stamp(6, 1, 2));
  ASSERT_THAT(Verify({clock_.Now() - seconds(1), clock_.Now() + seconds(1)}), IsOk());
  EXPECT_THAT(found_, ElementsAre("torn"));
}

TEST_F(RangeVerifierTest, ALongSpanIsReadInPieces) {
  for (int n = 1; n <= 200; ++n) {
    if (n == 77) {
      Write(kA, Stamp(n, 1, 2));
    } else {
      Whole(n);
    }
    clock_.Advance(minutes(1));
  }
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("torn"));
  EXPECT_THAT(what_, HasSubstr("worker-0/1/77"));
  EXPECT_EQ(summary_.outputs(), 399);
}

TEST_F(RangeVerifierTest, WhatCompactionMayHaveTakenIsNotMissing) {
  Create("incidents", 1, {{"cleanup.policy", "compact"}});
  Whole(1, {kA, kC});
  Write(kA, Stamp(2, 1, 2));
  clock_.Advance(seconds(1));
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, IsEmpty());
  EXPECT_GT(summary_.whole_from_time().seconds(), summary_.from_time().seconds());
  // What it may not take yet is.
  ASSERT_THAT(
      admin_->SetTopicConfigs("incidents", {{"min.compaction.lag.ms", "86400000"}}, seconds(1)),
      IsOk());
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("torn"));
  EXPECT_EQ(summary_.whole_from_time().seconds(), summary_.from_time().seconds());
}

TEST_F(RangeVerifierTest, WhatRetentionHasTakenIsNotMissing) {
  Whole(1);
  Whole(2);
  clock_.Advance(minutes(5));
  Whole(3);
  kafka_.DeleteBefore(kA, 1);
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, IsEmpty());
  Write(kB, Stamp(4, 2, 2));
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, ElementsAre("torn"));
}

TEST_F(RangeVerifierTest, AbortedAndOpenTransactionsAreNotOutputs) {
  Whole(1);
  auto producer = kafka_.MakeTransactionalProducer("p");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  kafka::OutgoingRecord record{.topic = "detections", .partition = 0, .value = "v"};
  record.headers.Set(kTransactionHeader, Stamp(2, 1, 5));
  ASSERT_TRUE(producer->Produce(record).ok());
  ASSERT_TRUE(producer->Abort().ok());
  Whole(2);
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_THAT(found_, IsEmpty());
}

TEST_F(RangeVerifierTest, WhoCannotReadSaysSo) {
  Whole(1);
  kafka_.StallReaders(kA, 100);
  const TickingClock clock;
  EXPECT_THAT(Verify({start_ - seconds(1), clock_.Now() + seconds(1)}, &clock),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("detections[0] gives nothing")));
  kafka_.SetReachable(false);
  EXPECT_THAT(Verify(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(RangeVerifierTest, AnEmptySpanAndNobodyWhoListens) {
  EXPECT_THAT(Verify({start_, start_}), StatusIs(absl::StatusCode::kInvalidArgument));
  Whole(1);
  listens_ = false;
  EXPECT_THAT(Verify(), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace tocsin::correlation
