#include "cli/core/resend.h"

#include <gmock/gmock.h>

#include <deque>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Attempts take as long as told, pauses pass at once; nobody sleeps.
class FakeWorld : public ResendIo {
 public:
  struct Step {
    Answer answer;
    milliseconds takes;
  };
  Answer Attempt(milliseconds timeout) override {
    timeouts.push_back(timeout);
    Step step = steps.front();
    if (steps.size() > 1) steps.pop_front();
    now_ += std::min(step.takes, timeout);
    return step.answer;
  }
  bool Wait(milliseconds duration) override {
    now_ += duration;
    return !stopped;
  }
  SteadyTime Now() const override { return now_; }
  void OnAgain(const absl::Status& why, milliseconds) override { told.emplace_back(Message(why)); }
  milliseconds passed() const {
    return std::chrono::duration_cast<milliseconds>(now_ - SteadyTime());
  }

  std::deque<Step> steps;
  bool stopped = false;
  std::vector<milliseconds> timeouts;
  std::vector<std::string> told;

 private:
  SteadyTime now_{};
};

TEST(ResendTest, EndsAtTheFirstSuccess) {
  FakeWorld world;
  world.steps = {{{Unavailable("kafka is away"), true}, milliseconds(4000)},
                 {{absl::OkStatus(), true}, milliseconds(5)}};
  EXPECT_THAT(Resend({}, 1, world).status, IsOk());
  EXPECT_THAT(world.told, ElementsAre("kafka is away"));
}

TEST(ResendTest, WhatCannotSucceedIsNotSentAgain) {
  FakeWorld world;
  world.steps = {{{InvalidArgument("no such field"), true}, milliseconds(5)}};
  EXPECT_THAT(Resend({}, 1, world).status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(world.timeouts, SizeIs(1));
  EXPECT_THAT(world.told, IsEmpty());
}

TEST(ResendTest, SaysWhatTheServiceSaidEvenWhenTheLastAttemptRanOutOfTime) {
  FakeWorld world;
  world.steps = {{{Unavailable("kafka is away"), true}, milliseconds(3750)},
                 {{DeadlineExceeded("Deadline Exceeded"), false}, milliseconds(60'000)}};
  const auto answer = Resend({}, 1, world);
  EXPECT_THAT(answer.status, StatusIs(absl::StatusCode::kUnavailable, "kafka is away"));
  EXPECT_TRUE(answer.from_service);
  EXPECT_LE(world.passed(), milliseconds(15'000));
  EXPECT_THAT(world.passed(), Ge(milliseconds(13'000)));
  EXPECT_EQ(world.timeouts.front(), milliseconds(4'000));
}

TEST(ResendTest, NobodyThereIsBelievedSooner) {
  FakeWorld world;
  world.steps = {{{Unavailable("connection refused"), false}, milliseconds(1)}};
  const auto answer = Resend({}, 1, world);
  EXPECT_THAT(answer.status, StatusIs(absl::StatusCode::kUnavailable, "connection refused"));
  EXPECT_FALSE(answer.from_service);
  EXPECT_LE(world.passed(), milliseconds(3'000));
}

TEST(ResendTest, AStopEndsIt) {
  FakeWorld world;
  world.stopped = true;
  world.steps = {{{absl::CancelledError("cancelled"), false}, milliseconds(1)}};
  EXPECT_THAT(Resend({}, 1, world).status, StatusIs(absl::StatusCode::kCancelled, "stopped"));
  EXPECT_THAT(world.timeouts, SizeIs(1));
}

}  // namespace
}  // namespace tocsin::cli
