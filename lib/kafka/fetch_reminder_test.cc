#include "lib/kafka/fetch_reminder.h"

#include <gtest/gtest.h>

namespace tocsin::kafka::internal {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kRecords = 100'000;
constexpr std::size_t kBytes = 32U << 20;

class FetchReminderTest : public ::testing::Test {
 protected:
  // A poll of `records` of 100 bytes that leaves `waiting`; 20 ms after the one before.
  bool Poll(std::size_t records, std::size_t waiting, std::size_t record_bytes = 100) {
    now_ += milliseconds(20);
    return reminder_.Polled(records, records * record_bytes, waiting, now_);
  }

  SteadyTime now_ = SteadyTime(std::chrono::hours(1));
  FetchReminder reminder_{kRecords, kBytes};
};

TEST_F(FetchReminderTest, HalfOfAFullQueueIsGone) {
  EXPECT_FALSE(Poll(10'000, 110'000));
  EXPECT_FALSE(Poll(10'000, 100'000));
  EXPECT_FALSE(Poll(30'000, 70'000));
  EXPECT_TRUE(Poll(10'000, 60'000));
  // It fetches on: the queue grows.
  EXPECT_FALSE(Poll(10'000, 90'000));
  EXPECT_FALSE(Poll(10'000, 80'000));
}

TEST_F(FetchReminderTest, AgainWhenAReminderWasLost) {
  EXPECT_FALSE(Poll(10'000, 110'000));
  EXPECT_TRUE(Poll(50'000, 60'000));
  EXPECT_FALSE(Poll(10'000, 50'000));
  EXPECT_TRUE(Poll(20'000, 30'000));
}

TEST_F(FetchReminderTest, AQueueThatWasNeverFullIsFetchedAnyway) {
  for (std::size_t waiting : {20'000, 10'000, 0, 5'000, 0, 0}) EXPECT_FALSE(Poll(10, waiting));
}

TEST_F(FetchReminderTest, LargeRecordsFillItByTheirBytes) {
  EXPECT_FALSE(Poll(2, 30, 1U << 20));
  EXPECT_TRUE(Poll(16, 14, 1U << 20));
}

TEST_F(FetchReminderTest, OneTakenWholeIsAsGoodAsEmpty) {
  EXPECT_TRUE(Poll(120'000, 0));
  EXPECT_FALSE(Poll(0, 0));
}

TEST_F(FetchReminderTest, NotMoreOftenThanOnceInAWhile) {
  EXPECT_TRUE(Poll(60'000, 50'000));
  EXPECT_FALSE(reminder_.Polled(60'000, 6'000'000, 10'000, now_ + milliseconds(1)));
  EXPECT_TRUE(reminder_.Polled(0, 0, 10'000, now_ + milliseconds(10)));
}

}  // namespace
}  // namespace tocsin::kafka::internal
