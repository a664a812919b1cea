// A verifier that finds nothing is right or blind: every kind of violation is planted, and seen.
#include "services/correlation/worker/output_verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"
#include "services/correlation/worker/worker_fixture.h"

namespace tocsin::correlation {
namespace {

class OutputVerifierTest : public WorkerTest {
 protected:
  OutputVerifierTest() {
    kafka_.CreateTopic("aggregates", kPartitions);
    OutputVerifierIo io;
    io.make_consumer =
        [this](kafka::ConsumerOptions options) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer(std::move(options));
    };
    io.partitions = [](const std::string&) -> absl::StatusOr<std::int32_t> { return kPartitions; };
    io.rules = &rules_;
    io.clock = &clock_;
    verifier_ = std::make_unique<OutputVerifier>(std::move(io));
    EXPECT_THAT(verifier_->Step({}), IsOk());
  }

  // Until everything that lies there is read and judged. By kind, what is new.
  std::map<std::string, double> Verify() {
    std::map<std::string, double> found;
    const std::vector<std::string> kinds = {"repeated", "reordered", "torn", "lost"};
    for (const std::string& kind : kinds) found[kind] = -Count(kind);
    for (int round = 0; round < 3; ++round) {
      clock_.Advance(OutputVerifier::kSettleEvery);
      for (int i = 0; i < 20; ++i) EXPECT_THAT(verifier_->Step({}), IsOk());
    }
    for (const std::string& kind : kinds) found[kind] += Count(kind);
    std::erase_if(found, [](const auto& entry) { return entry.second == 0; });
    return found;
  }
  static double Count(const std::string& kind) {
    return telemetry::GetCounter("tocsin_correlation_eos_violations_total", "", {{"kind", kind}})
        .value();
  }
  void Write(std::int64_t transaction, std::int64_t i, std::int64_t n, std::int32_t partition) {
    kafka_.Append({.topic = "detections",
                   .partition = partition,
                   .value = "v",
                   .headers = {{std::string(kTransactionHeader),
                                TransactionStamp{"stranger", 1, transaction, n}.Header(i)}}});
  }

  std::unique_ptr<OutputVerifier> verifier_;
};

using Found = std::map<std::string, double>;

TEST_F(OutputVerifierTest, WorkersViolateNothing) {
  const std::vector<Call> calls = testing::RandomCalls(30, 200);
  auto a = MakeWorker("a", "disk a");
  auto b = MakeWorker("b", "disk b");
  RunUntilIdle({a.get(), b.get()});
  for (std::size_t begin = 0; begin < calls.size(); begin += 40) {
    Publish(calls, begin, begin + 40);
    kafka_.FailNext(Step::kTransactionCommit, {Unavailable("cut"), ErrorClass::kFatal, true});
    Run({a.get(), b.get()}, 30);
    EXPECT_EQ(Verify(), Found());
    a.reset();
    a = MakeWorker("a", "disk a");
  }
  Settle({a.get(), b.get()});
  EXPECT_EQ(Verify(), Found());
  EXPECT_GE(verifier_->outputs(), static_cast<std::int64_t>(calls.size()));
}

TEST_F(OutputVerifierTest, APlantedTear) {
  Write(1, 1, 2, 0);
  Write(1, 2, 2, 1);
  Write(2, 1, 2, 0);
  EXPECT_EQ(Verify(), (Found{{"torn", 1}}));
}

TEST_F(OutputVerifierTest, APlantedLoss) {
  for (const std::int64_t transaction : {1, 2, 4}) Write(transaction, 1, 1, 0);
  EXPECT_EQ(Verify(), (Found{{"lost", 1}}));
}

TEST_F(OutputVerifierTest, APlantedRepetition) {
  for (const std::int64_t transaction : {1, 2}) Write(transaction, 1, 1, 0);
  EXPECT_EQ(Verify(), Found());
  Write(1, 1, 1, 0);
  EXPECT_EQ(Verify(), (Found{{"repeated", 1}}));
}

TEST_F(OutputVerifierTest, APlantedSwap) {
  Write(2, 1, 1, 0);
  Write(1, 1, 1, 0);
  EXPECT_EQ(Verify(), (Found{{"reordered", 1}}));
}

TEST_F(OutputVerifierTest, WhatLiesInAnOpenTransactionIsWaitedFor) {
  auto producer = kafka_.MakeTransactionalProducer("stranger");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(producer
                  ->Produce({.topic = "detections",
                             .partition = 1,
                             .value = "v",
                             .headers = {{std::string(kTransactionHeader), "stranger/1/1/2/2"}}})
                  .ok());
  Write(1, 1, 2, 0);
  EXPECT_EQ(Verify(), Found());
  ASSERT_TRUE(producer->Commit().ok());
  EXPECT_EQ(Verify(), Found());
}

// A topic that is not read makes whatever has outputs there look torn.
TEST(OutputTopicsTest, EverythingThatWorkersWrite) {
  StreamSpec stream;
  stream.topic = "calls.raw";
  stream.processed = true;
  stream.late = true;
  RuleSet rules;
  rules.plans = {testing::MakePlan(PublicSafetyRules(), kPartitions), RulePlan::Make(stream, {})};
  EXPECT_THAT(OutputTopics(rules, TaskOptions{}),
              ::testing::UnorderedElementsAre("detections", "incidents.correlated", "aggregates",
                                              "calls.processed", "calls.raw.dlq", "calls.raw.late",
                                              kByPlace));
}

}  // namespace
}  // namespace tocsin::correlation
