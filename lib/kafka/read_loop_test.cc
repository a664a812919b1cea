#include "lib/kafka/read_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/stop_signal.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_kafka.h"

namespace tocsin::kafka {
namespace {
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using testing::FakeKafka;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Step = FakeKafka::Step;

const TopicPartition kFirst{"t", 0};
const TopicPartition kSecond{"t", 1};

// Keeps what it is given.
struct FakeReader : LogReader {
  absl::StatusOr<std::chrono::nanoseconds> Attach(Consumer& consumer, RebalanceListener& listener,
                                                  bool fresh) override {
    ++attached;
    fresh_ones += fresh ? 1 : 0;
    TOCSIN_RETURN_IF_ERROR(attach_error);
    if (group) {
      if (fresh) TOCSIN_RETURN_IF_ERROR(consumer.Subscribe({"t"}, &listener));
      return kOnce;
    }
    if (fresh) TOCSIN_RETURN_IF_ERROR(consumer.Assign(next));
    return std::chrono::seconds(60);
  }
  absl::Status Take(Consumer& /*consumer*/, const Batch& batch) override {
    ++takes;
    TOCSIN_RETURN_IF_ERROR(take_error);
    for (const Record& record : batch.records) {
      read.push_back(*record.value);
      next[record.where()] = record.offset + 1;
    }
    return absl::OkStatus();
  }
  void OnMoved(const TopicPartition& where, std::optional<std::int64_t> /*position*/,
               std::int64_t beginning) override {
    moved.push_back(Concat(Describe(where), "@", beginning));
  }
  void OnState(const absl::Status& /*state*/) override { told.Stop(); }
  bool in_group() const override { return group; }
  void OnAssigned(const std::vector<AssignedPartition>& partitions) override {
    assigned += static_cast<int>(partitions.size());
  }

  bool group = false;
  Offsets next = {{kFirst, 0}, {kSecond, 0}};
  absl::Status attach_error;
  absl::Status take_error;
  std::vector<std::string> read;
  std::vector<std::string> moved;
  int attached = 0;
  int fresh_ones = 0;
  int takes = 0;
  int assigned = 0;
  StopSignal told;
};

class ReadLoopTest : public ::testing::Test {
 protected:
  ReadLoopTest() { kafka_.CreateTopic("t", 2); }

  void Make(BackoffOptions retry = {.initial = milliseconds(0), .maximum = milliseconds(0)}) {
    loop_ = std::make_unique<ReadLoop>(
        reader_,
        [this]() -> absl::StatusOr<std::unique_ptr<Consumer>> {
          ++made_;
          ConsumerOptions options;
          options.group = reader_.group ? "g" : "";
          options.instance_id = reader_.group ? "me" : "";
          return kafka_.MakeConsumer(options);
        },
        ReadLoopOptions{.name = "t", .poll = milliseconds(0), .retry = retry}, clock_);
  }
  // The state after so many steps.
  absl::Status Steps(int count) {
    absl::Status state;
    for (int i = 0; i < count; ++i) state = loop_->Step();
    return state;
  }
  void Append(const TopicPartition& where, const std::string& value) {
    kafka_.Append({.topic = where.topic, .partition = where.partition, .value = value});
  }
  // The first partition loses what the reader has not read yet, but for the last record.
  void LosePosition() {
    for (const char* value : {"lost", "lost too", "kept"}) Append(kFirst, value);
    kafka_.DeleteBefore(kFirst, kafka_.EndOffset(kFirst) - 1);
  }

  FakeKafka kafka_;
  FakeClock clock_;
  FakeReader reader_;
  std::unique_ptr<ReadLoop> loop_;
  int made_ = 0;
};

TEST_F(ReadLoopTest, HandsOverWhatIsRead) {
  Make();
  Append(kFirst, "a");
  EXPECT_THAT(Steps(2), IsOk());
  Append(kFirst, "b");
  EXPECT_THAT(Steps(2), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("a", "b"));
  EXPECT_EQ(made_, 1);
  EXPECT_EQ(reader_.attached, 1);
}

TEST_F(ReadLoopTest, APositionThatIsGoneIsMovedAtOnce) {
  Make();
  LosePosition();
  Steps(3).IgnoreError();
  EXPECT_THAT(reader_.read, ElementsAre("kept"));
  EXPECT_THAT(reader_.moved, ElementsAre("t[0]@2"));
  EXPECT_THAT(Steps(1), IsOk());
}

TEST_F(ReadLoopTest, APositionThatIsGoneIsMovedHoweverOftenTheQuestionFails) {
  Make();
  LosePosition();
  kafka_.FailNext(Step::kQueryOffset, {.status = Unavailable("cut")}, 5);
  EXPECT_THAT(Steps(4), StatusIs(absl::StatusCode::kUnavailable,
                                 ::testing::AllOf(HasSubstr("t[0]"), HasSubstr("cut"))));
  // The other partition is read meanwhile.
  Append(kSecond, "other");
  EXPECT_THAT(Steps(1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_FALSE(loop_->blocked());
  EXPECT_THAT(reader_.read, ElementsAre("other"));
  EXPECT_THAT(Steps(5), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("other", "kept"));
  EXPECT_THAT(reader_.moved, ElementsAre("t[0]@2"));
}

TEST_F(ReadLoopTest, QuestionsThatFailAreAskedAgainAfterAPause) {
  Make({.initial = milliseconds(1'000), .maximum = milliseconds(60'000)});
  LosePosition();
  kafka_.FailNext(Step::kQueryOffset, {.status = Unavailable("cut")}, 3);
  EXPECT_FALSE(Steps(50).ok());
  EXPECT_EQ(kafka_.calls(Step::kQueryOffset), 1);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_FALSE(Steps(50).ok());
  EXPECT_EQ(kafka_.calls(Step::kQueryOffset), 2);
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(std::chrono::seconds(60));
    Steps(5).IgnoreError();
  }
  EXPECT_THAT(Steps(1), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("kept"));
}

TEST_F(ReadLoopTest, APartitionThatNeverAnswersKeepsNoOtherFromBeingMoved) {
  const TopicPartition gone{"a", 0};
  kafka_.CreateTopic("a", 1);
  reader_.next = {{gone, 0}, {kFirst, 0}};
  Make({.initial = milliseconds(1'000), .maximum = milliseconds(1'000)});
  EXPECT_THAT(Steps(2), IsOk());
  ASSERT_THAT(kafka_.MakeAdmin()->DeleteTopics({"a"}, milliseconds(0)), IsOk());
  EXPECT_THAT(Steps(5), StatusIs(absl::StatusCode::kNotFound));
  LosePosition();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(std::chrono::seconds(2));
    EXPECT_THAT(Steps(2), StatusIs(absl::StatusCode::kNotFound));
  }
  EXPECT_THAT(reader_.read, ElementsAre("kept"));
}

TEST_F(ReadLoopTest, WhatWasNotTakenComesAgain) {
  Make();
  Append(kFirst, "a");
  reader_.take_error = Unavailable("the disk is full");
  EXPECT_THAT(Steps(3), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("disk")));
  EXPECT_TRUE(loop_->blocked());
  EXPECT_EQ(reader_.takes, 3);
  Append(kFirst, "b");
  reader_.take_error = absl::OkStatus();
  EXPECT_THAT(Steps(2), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("a", "b"));
}

TEST_F(ReadLoopTest, ThatKafkaIsAwayIsSaidUntilItAnswers) {
  Make();
  EXPECT_THAT(Steps(2), IsOk());
  kafka_.SetReachable(false);
  // The client itself says it once.
  EXPECT_THAT(Steps(1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Steps(20), StatusIs(absl::StatusCode::kUnavailable));
  kafka_.SetReachable(true);
  EXPECT_THAT(Steps(2), IsOk());
  EXPECT_EQ(made_, 1);
}

TEST_F(ReadLoopTest, RecordsProveThatKafkaAnswersToo) {
  Make({.initial = milliseconds(1'000), .maximum = milliseconds(60'000)});
  EXPECT_THAT(Steps(2), IsOk());
  kafka_.SetReachable(false);
  EXPECT_THAT(Steps(5), StatusIs(absl::StatusCode::kUnavailable));
  kafka_.SetReachable(true);
  EXPECT_THAT(Steps(1), StatusIs(absl::StatusCode::kUnavailable)) << "nothing came, nothing asked";
  Append(kSecond, "a");
  EXPECT_THAT(Steps(1), IsOk());
}

TEST_F(ReadLoopTest, AnAttachmentIsTriedAgain) {
  Make();
  reader_.attach_error = Unavailable("no such topic yet");
  EXPECT_THAT(Steps(3), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("topic")));
  EXPECT_TRUE(loop_->blocked());
  // Each time with a new one: what the old one believes of the cluster may be why it failed.
  EXPECT_EQ(made_, 3);
  EXPECT_EQ(reader_.fresh_ones, 3);
  reader_.attach_error = absl::OkStatus();
  Append(kFirst, "a");
  EXPECT_THAT(Steps(1), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("a"));
}

TEST_F(ReadLoopTest, WhatIsAttachedIsReadWhileALaterLookFails) {
  Make();
  EXPECT_THAT(Steps(1), IsOk());
  reader_.attach_error = Unavailable("the controller is away");
  clock_.Advance(std::chrono::seconds(61));
  Append(kFirst, "a");
  EXPECT_THAT(Steps(1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("controller")));
  EXPECT_THAT(reader_.read, ElementsAre("a"));
  EXPECT_EQ(reader_.fresh_ones, 1);
  reader_.attach_error = absl::OkStatus();
  EXPECT_THAT(Steps(1), IsOk());
}

TEST_F(ReadLoopTest, ANewConsumerGoesOnFromTheReadersPosition) {
  Make();
  Append(kFirst, "a");
  EXPECT_THAT(Steps(2), IsOk());
  loop_->Renew();
  Append(kFirst, "b");
  EXPECT_THAT(Steps(2), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("a", "b"));
  EXPECT_EQ(made_, 2);
  EXPECT_EQ(reader_.fresh_ones, 2);
}

TEST_F(ReadLoopTest, AMemberIsReadingWhenItHasBeenGivenItsPart) {
  reader_.group = true;
  Make();
  // The group waits for this one.
  auto other = kafka_.MakeConsumer({.group = "g", .instance_id = "other"});
  ASSERT_THAT(other->Subscribe({"t"}, nullptr), IsOk());
  EXPECT_THAT(Steps(3), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("given out")));
  EXPECT_EQ(reader_.assigned, 0);
  static_cast<void>(other->Poll(milliseconds(0)));
  EXPECT_THAT(Steps(2), IsOk());
  EXPECT_EQ(reader_.assigned, 1);
}

TEST_F(ReadLoopTest, AMemberSaysWhyItHasNotBeenGivenItsPart) {
  reader_.group = true;
  Make();
  kafka_.FailNext(Step::kCommitted, {.status = Unavailable("no coordinator")}, 2);
  EXPECT_THAT(Steps(2), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no coordinator")));
  EXPECT_THAT(Steps(2), IsOk());
  EXPECT_EQ(reader_.assigned, 2);
}

TEST_F(ReadLoopTest, AFencedMemberComesBack) {
  reader_.group = true;
  Make();
  EXPECT_THAT(Steps(2), IsOk());
  {
    // Another one under the same name, for a moment.
    auto other = kafka_.MakeConsumer({.group = "g", .instance_id = "me"});
    ASSERT_THAT(other->Subscribe({"t"}, nullptr), IsOk());
    EXPECT_THAT(Steps(1), StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(loop_->blocked());
  }
  Append(kFirst, "a");
  EXPECT_THAT(Steps(4), IsOk());
  EXPECT_EQ(made_, 2);
  EXPECT_THAT(reader_.read, ElementsAre("a"));
}

TEST_F(ReadLoopTest, APositionThatIsGoneIsForgottenWithThePartition) {
  reader_.group = true;
  kafka_.SetCommitted("g", {{kFirst, 0}});
  Make();
  LosePosition();
  kafka_.FailNext(Step::kQueryOffset, {.status = Unavailable("cut")}, 1'000);
  EXPECT_FALSE(Steps(5).ok());
  // Somebody else has gone on in between.
  Append(kFirst, "read by another");
  Append(kFirst, "next");
  kafka_.SetCommitted("g", {{kFirst, 4}});
  kafka_.Rebalance("g");
  EXPECT_THAT(Steps(5), IsOk());
  EXPECT_THAT(reader_.read, ElementsAre("next"));
  EXPECT_THAT(reader_.moved, IsEmpty());
}

TEST_F(ReadLoopTest, RunEndsWhenItIsToldTo) {
  Make({.initial = std::chrono::hours(1), .maximum = std::chrono::hours(1)});
  reader_.attach_error = Unavailable("never");
  StopSignal stop;
  std::thread thread(
      [&] { loop_->Run([&](std::chrono::nanoseconds pause) { return stop.WaitFor(pause); }); });
  // Now, or very soon, it is in a pause of up to an hour.
  ASSERT_TRUE(reader_.told.WaitFor(std::chrono::seconds(30)));
  stop.Stop();
  thread.join();
  EXPECT_EQ(reader_.attached, 1);
}

}  // namespace
}  // namespace tocsin::kafka
