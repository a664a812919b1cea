// An excerpt of a changelog that is read while it grows, and while it cannot be read.
#include "services/correlation/inspection/changelog_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/oracle.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr char kChangelog[] = "correlation-calls.raw-changelog";

class ChangelogReaderTest : public ::testing::Test {
 protected:
  ChangelogReaderTest() {
    kafka_.CreateTopic(kChangelog, 2);
    RuleSet rules;
    rules.plans = {testing::MakePlan(testing::PublicSafetyRules(), 2)};
    question_ = std::make_shared<const StateQuestion>(
        StateQuestion::Make(rules, "repeat-location", {"PLACE"}).value());
  }

  void Write(const std::string& key, std::optional<std::string> value, std::int32_t partition = 1) {
    kafka_.Append({.topic = kChangelog, .partition = partition, .key = key, .value = value});
  }

  absl::StatusOr<std::int64_t> Read(StateExcerpt& excerpt, milliseconds patience = seconds(10)) {
    const Clock& clock = Clock::Real();
    return ReadChangelog(
        [this](kafka::ConsumerOptions options) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
          return kafka_.MakeConsumer(std::move(options));
        },
        {kChangelog, 1}, clock, clock.SteadyNow() + patience, excerpt);
  }

  FakeKafka kafka_;
  std::shared_ptr<const StateQuestion> question_;
};

TEST_F(ChangelogReaderTest, TheLastValueOfEachKeyCountsAndOthersAreLeftOut) {
  Write(PartitionTimeKey(), "first");
  Write(PartitionTimeKey(), "last");
  Write(OffsetKey("calls.raw"), EncodeInt64(7));
  Write(OffsetKey("calls.raw"), std::nullopt);
  Write("c", "not asked for");
  Write(PartitionTimeKey(), "of another partition", 0);
  StateExcerpt excerpt(question_);
  EXPECT_THAT(Read(excerpt), IsOkAndHolds(5));
  EXPECT_EQ(excerpt.state().Get(PartitionTimeKey()), "last");
  EXPECT_EQ(excerpt.state().Get(OffsetKey("calls.raw")), std::nullopt);
  EXPECT_EQ(excerpt.state().Get("c"), std::nullopt);
}

TEST_F(ChangelogReaderTest, WhatIsNotDecidedIsNoState) {
  Write(PartitionTimeKey(), "committed");
  auto producer = kafka_.MakeTransactionalProducer("p");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(
      producer
          ->Produce(
              {.topic = kChangelog, .partition = 1, .key = PartitionTimeKey(), .value = "open"})
          .ok());
  StateExcerpt excerpt(question_);
  EXPECT_THAT(Read(excerpt), IsOkAndHolds(1));
  EXPECT_EQ(excerpt.state().Get(PartitionTimeKey()), "committed");
}

TEST_F(ChangelogReaderTest, AnEmptyChangelogIsAnEmptyState) {
  StateExcerpt excerpt(question_);
  EXPECT_THAT(Read(excerpt), IsOkAndHolds(0));
  EXPECT_EQ(excerpt.state().Get(PartitionTimeKey()), std::nullopt);
}

TEST_F(ChangelogReaderTest, WhoHasNoTimeIsToldHowFarItCame) {
  Write(PartitionTimeKey(), "v");
  kafka_.StallReaders({kChangelog, 1}, 100);
  StateExcerpt excerpt(question_);
  EXPECT_THAT(Read(excerpt, milliseconds(200)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("stands at 0 of 1")));
}

TEST_F(ChangelogReaderTest, AReaderThatStandsStillIsStartedAgain) {
  Write(PartitionTimeKey(), "v");
  kafka_.StallReaders({kChangelog, 1}, 1);
  StateExcerpt excerpt(question_);
  EXPECT_THAT(Read(excerpt), IsOkAndHolds(1));
  EXPECT_EQ(excerpt.state().Get(PartitionTimeKey()), "v");
}

TEST_F(ChangelogReaderTest, WithoutABrokerThereIsNoAnswer) {
  kafka_.SetReachable(false);
  StateExcerpt excerpt(question_);
  EXPECT_THAT(Read(excerpt), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace tocsin::correlation
