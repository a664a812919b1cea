#include "services/correlation/worker/standby.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"
#include "services/correlation/worker/worker_fixture.h"

namespace tocsin::correlation {
namespace {

class StandbyTest : public WorkerTest {
 protected:
  std::unique_ptr<Standby> MakeStandby(const std::string& disk) {
    WorkerOptions options;
    options.state_folder = Concat(folder_, "/", disk);
    StandbyIo io;
    io.make_consumer =
        [this](
            kafka::ConsumerOptions consumer) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer(std::move(consumer));
    };
    io.rules = &rules_;
    io.clock = &clock_;
    return std::make_unique<Standby>(std::move(options), std::move(io));
  }
  static void Run(Standby& standby) {
    for (int i = 0; i < 20; ++i) EXPECT_THAT(standby.Step({}), IsOk());
  }
};

TEST_F(StandbyTest, ATakeoverReadsOnlyWhatIsLeft) {
  const std::vector<Call> calls = testing::RandomCalls(60, 200);
  auto owner = MakeWorker("a", "disk a");
  auto standby = MakeStandby("disk b");
  RunUntilIdle({owner.get()});
  for (std::size_t begin = 0; begin < 150; begin += 30) {
    Publish(calls, begin, begin + 30);
    RunUntilIdle({owner.get()});
    Run(*standby);
  }
  EXPECT_EQ(standby->standing().copies, kPartitions);
  EXPECT_EQ(standby->standing().behind, 0);
  // The owner is gone with its disk; another takes its place where the warm copies are. Of the
  // changelog nothing is left but its end, as if it had been read.
  owner.reset();
  wrap_ = [&](WorkerIo& io) { io.claims = standby.get(); };
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    const kafka::TopicPartition changelog{"correlation-calls.raw-changelog", p};
    kafka_.DeleteBefore(changelog, kafka_.EndOffset(changelog));
  }
  auto successor = MakeWorker("a", "disk b");
  RunUntilIdle({successor.get()});
  EXPECT_EQ(successor->status().running, kPartitions) << successor->status().problem;
  EXPECT_EQ(standby->standing().copies, 0);
  Run(*standby);
  EXPECT_EQ(standby->standing().copies, 0) << "they are the worker's now";
  Publish(calls, 150, 200);
  Settle({successor.get()});
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(StandbyTest, WhatAWorkerGivesBackIsFollowedAgain) {
  const std::vector<Call> calls = testing::RandomCalls(61, 120);
  auto standby = MakeStandby("disk b");
  wrap_ = [&](WorkerIo& io) { io.claims = standby.get(); };
  auto b = MakeWorker("b", "disk b");
  RunUntilIdle({b.get()});
  Publish(calls, 0, 60);
  RunUntilIdle({b.get()});
  wrap_ = nullptr;
  // Another comes: some of the partitions move to it.
  auto a = MakeWorker("a", "disk a");
  RunUntilIdle({a.get(), b.get()});
  Run(*standby);
  EXPECT_EQ(standby->standing().copies, 0) << "they might come back at once";
  clock_.Advance(Standby::kPause);
  RunUntilIdle({a.get(), b.get()});
  Run(*standby);
  EXPECT_EQ(standby->standing().copies, a->status().running);
  EXPECT_GT(a->status().running, 0);
  Publish(calls, 60, 120);
  RunUntilIdle({a.get(), b.get()});
  // It goes for good, and they come back warm.
  a->Close();
  a.reset();
  Run(*standby);
  kafka_.ForgetMember("correlation", "a");
  Settle({b.get()});
  EXPECT_EQ(b->status().running, kPartitions) << b->status().problem;
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
}

TEST_F(StandbyTest, ACopyWhoseChangelogHasGoneOnIsMadeAnew) {
  const std::vector<Call> calls = testing::RandomCalls(62, 60);
  auto owner = MakeWorker("a", "disk a");
  RunUntilIdle({owner.get()});
  Publish(calls, 0, 30);
  RunUntilIdle({owner.get()});
  auto standby = MakeStandby("disk b");
  Run(*standby);
  standby.reset();
  Publish(calls, 30, 60);
  RunUntilIdle({owner.get()});
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    const kafka::TopicPartition changelog{"correlation-calls.raw-changelog", p};
    kafka_.DeleteBefore(changelog, kafka_.EndOffset(changelog) - 1);
  }
  standby = MakeStandby("disk b");
  Run(*standby);
  clock_.Advance(Standby::kPause);
  Run(*standby);
  EXPECT_EQ(standby->standing().copies, kPartitions);
  EXPECT_EQ(standby->standing().behind, 0);
}

}  // namespace
}  // namespace tocsin::correlation
