// The lag of a group on a Kafka in memory: what is counted, and what is said where Kafka does not
// answer.
#include "services/correlation/lag/lag_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/telemetry/metrics.h"
#include "services/correlation/lag/lag_monitor.h"
#include "services/correlation/testing/oracle.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kStream[] = "calls.raw";
constexpr char kByPlace[] = "correlation-calls.raw-by-place-repartition";

class LagReaderTest : public ::testing::Test {
 protected:
  LagReaderTest() {
    kafka_.CreateTopic(kStream, 2);
    kafka_.CreateTopic(kByPlace, 2);
    rules_.plans = {testing::MakePlan(testing::PublicSafetyRules(), 2)};
    LagIo io;
    io.make_consumer =
        [this](kafka::ConsumerOptions options) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      ++clients_made_;
      return kafka_.MakeConsumer(std::move(options));
    };
    io.admin = admin_.get();
    io.clock = &clock_;
    reader_ = std::make_unique<LagReader>(std::move(io), "correlation");
  }

  absl::StatusOr<Lag> Read() { return reader_->Read(rules_, clock_.SteadyNow() + seconds(5)); }

  PartitionLag Of(const std::string& topic, std::int32_t partition) {
    const auto lag = Read();
    EXPECT_THAT(lag, IsOk());
    if (!lag.ok()) return {};
    for (const PartitionLag& one : lag->partitions) {
      if (one.where == kafka::TopicPartition{topic, partition}) return one;
    }
    ADD_FAILURE() << "not there: " << topic << " " << partition;
    return {};
  }

  void Append(int count, std::int32_t partition = 0) {
    for (int i = 0; i < count; ++i) {
      kafka_.Append({.topic = kStream, .partition = partition, .key = "k", .value = "v"});
      clock_.Advance(seconds(1));
    }
  }

  FakeClock clock_;
  FakeKafka kafka_{clock_};
  std::unique_ptr<kafka::Admin> admin_ = kafka_.MakeAdmin();
  RuleSet rules_;
  int clients_made_ = 0;
  std::unique_ptr<LagReader> reader_;
};

TEST_F(LagReaderTest, EveryInputPartitionIsThereAndNothingIsBehind) {
  const auto lag = Read();
  ASSERT_THAT(lag, IsOk());
  std::vector<std::string> names;
  for (const PartitionLag& one : lag->partitions) {
    names.push_back(kafka::Describe(one.where));
    EXPECT_EQ(one.stream, kStream);
    EXPECT_EQ(one.records, 0);
    EXPECT_EQ(one.behind.count(), 0);
    EXPECT_EQ(one.problem, "");
    EXPECT_EQ(one.committed, std::nullopt);
  }
  EXPECT_THAT(names, ElementsAre("calls.raw[0]", "calls.raw[1]",
                                 "correlation-calls.raw-by-place-repartition[0]",
                                 "correlation-calls.raw-by-place-repartition[1]"));
}

TEST_F(LagReaderTest, RecordsAndSecondsOfWhatIsNotHandled) {
  Append(5, 1);
  kafka_.SetCommitted("correlation", {{{kStream, 1}, 2}});
  const PartitionLag lag = Of(kStream, 1);
  EXPECT_EQ(lag.committed, 2);
  EXPECT_EQ(lag.end, 5);
  EXPECT_EQ(lag.high_watermark, 5);
  EXPECT_EQ(lag.records, 3);
  // Record 2 was sent two seconds after the first, five before now.
  EXPECT_EQ(lag.behind, seconds(3));
  EXPECT_EQ(Of(kStream, 0).records, 0);

  kafka_.SetCommitted("correlation", {{{kStream, 1}, 5}});
  EXPECT_EQ(Of(kStream, 1).records, 0);
  EXPECT_EQ(Of(kStream, 1).behind, seconds(0));
  EXPECT_EQ(clients_made_, 2);
}

TEST_F(LagReaderTest, AGroupThatHasCommittedNothingBeginsAtTheBeginning) {
  Append(4);
  kafka_.DeleteBefore({kStream, 0}, 1);
  const PartitionLag lag = Of(kStream, 0);
  EXPECT_EQ(lag.committed, std::nullopt);
  EXPECT_EQ(lag.records, 3);
  EXPECT_EQ(lag.behind, seconds(3));
}

TEST_F(LagReaderTest, MarkersAloneAreNothingLeft) {
  auto producer = kafka_.MakeTransactionalProducer("p");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(producer->Produce({.topic = kStream, .partition = 0, .value = "v"}).ok());
  ASSERT_TRUE(producer->Commit().ok());
  kafka_.SetCommitted("correlation", {{{kStream, 0}, 1}});
  const PartitionLag lag = Of(kStream, 0);
  EXPECT_EQ(lag.end, 2);
  EXPECT_EQ(lag.records, 0);
  EXPECT_EQ(lag.problem, "");
}

TEST_F(LagReaderTest, AnOpenTransactionIsBehindTheEnd) {
  auto producer = kafka_.MakeTransactionalProducer("p");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(producer->Produce({.topic = kStream, .partition = 0, .value = "v"}).ok());
  const PartitionLag lag = Of(kStream, 0);
  EXPECT_EQ(lag.end, 0);
  EXPECT_EQ(lag.high_watermark, 1);
  EXPECT_EQ(lag.records, 0);
  EXPECT_TRUE(producer->Abort().ok());
}

TEST_F(LagReaderTest, WhatRetentionHasTakenIsNotCounted) {
  Append(5);
  kafka_.SetCommitted("correlation", {{{kStream, 0}, 1}});
  kafka_.DeleteBefore({kStream, 0}, 3);
  const PartitionLag lag = Of(kStream, 0);
  EXPECT_EQ(lag.records, 2);
  EXPECT_EQ(lag.behind, seconds(2));
  EXPECT_EQ(lag.problem, "");
}

TEST_F(LagReaderTest, TheOwnerIsTheWorkerThatTheGroupHasGivenItTo) {
  auto worker = kafka_.MakeConsumer({.group = "correlation", .instance_id = "worker-7"});
  ASSERT_THAT(worker->Subscribe({kStream}, nullptr), IsOk());
  for (int i = 0; i < 10 && worker->Assignment().empty(); ++i) (void)worker->Poll(milliseconds(0));
  EXPECT_EQ(Of(kStream, 0).owner, "worker-7");
  EXPECT_EQ(Of(kByPlace, 0).owner, "");
}

TEST_F(LagReaderTest, APartitionThatDoesNotAnswerSaysSoAndTheOthersAreTold) {
  Append(2, 0);
  Append(2, 1);
  kafka_.FailNext(FakeKafka::Step::kQueryOffset, {Unavailable("no leader")});
  const auto lag = Read();
  ASSERT_THAT(lag, IsOk());
  EXPECT_THAT(lag->partitions[0].problem, HasSubstr("no leader"));
  EXPECT_EQ(lag->partitions[1].problem, "");
  EXPECT_EQ(lag->partitions[1].records, 2);
}

TEST_F(LagReaderTest, AReaderThatStandsStillIsStartedAgain) {
  Append(2);
  kafka_.StallReaders({kStream, 0}, 1);
  LagIo io;
  io.make_consumer =
      [this](kafka::ConsumerOptions options) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
    return kafka_.MakeConsumer(std::move(options));
  };
  io.admin = admin_.get();
  io.clock = &Clock::Real();
  LagReader reader(std::move(io), "correlation");
  const auto lag = reader.Read(rules_, Clock::Real().SteadyNow() + seconds(20));
  ASSERT_THAT(lag, IsOk());
  EXPECT_EQ(lag->partitions[0].problem, "");
  EXPECT_TRUE(lag->partitions[0].oldest.has_value());
}

TEST_F(LagReaderTest, ATopicThatIsNotThereSaysSo) {
  ASSERT_THAT(admin_->DeleteTopics({kByPlace}, seconds(1)), IsOk());
  const auto lag = Read();
  ASSERT_THAT(lag, IsOk());
  ASSERT_EQ(lag->partitions.size(), 3U);
  EXPECT_THAT(lag->partitions[2].problem, HasSubstr("no such topic"));
}

TEST_F(LagReaderTest, WithoutABrokerOrRulesThereIsNoAnswer) {
  kafka_.SetReachable(false);
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kUnavailable));
  kafka_.SetReachable(true);
  EXPECT_THAT(Read(), IsOk());
  rules_.plans.clear();
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("rules")));
}

TEST_F(LagReaderTest, OwnPartitionsAreMetricsUntilOthersHaveThem) {
  auto worker = kafka_.MakeConsumer({.group = "correlation", .instance_id = "worker-7"});
  ASSERT_THAT(worker->Subscribe({kStream}, nullptr), IsOk());
  for (int i = 0; i < 10 && worker->Assignment().empty(); ++i) (void)worker->Poll(milliseconds(0));
  Append(3);
  LagMonitor monitor(*reader_, {"worker-7"});
  const auto update = [&] {
    EXPECT_THAT(monitor.Update(rules_, clock_.SteadyNow() + seconds(5)), IsOk());
  };
  update();
  const auto records =
      telemetry::GetGauge("tocsin_correlation_lag_records",
                          "Records of a partition of this process that are not handled yet.",
                          {{"topic", kStream}, {"partition", "0"}});
  EXPECT_EQ(records.value(), 3);
  worker.reset();
  kafka_.ForgetMember("correlation", "worker-7");
  update();
  EXPECT_EQ(records.value(), 0);
}

}  // namespace
}  // namespace tocsin::correlation
