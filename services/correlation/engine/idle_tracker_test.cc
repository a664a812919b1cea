#include "services/correlation/engine/idle_tracker.h"

#include <gtest/gtest.h>

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

WallTime At(int minute) { return WallTime(std::chrono::hours(400'000)) + minutes(minute); }

class IdleTrackerTest : public ::testing::Test {
 protected:
  // Probes once a second for `count` seconds; what the last probe found due for ten seconds.
  std::optional<DueSilence> Probe(int count, std::optional<WallTime> highest) {
    std::optional<DueSilence> last;
    for (int i = 0; i < count; ++i) {
      now_ += seconds(1);
      const std::vector<DueSilence> due = tracker_.OnProbe(now_, highest, {seconds(10)});
      last = due.empty() ? std::nullopt : std::optional(due.front());
    }
    return last;
  }

  SteadyTime now_{std::chrono::hours(1)};
  IdleTracker tracker_;
};

TEST_F(IdleTrackerTest, TenSecondsAreElevenProbes) {
  EXPECT_FALSE(Probe(10, At(1)).has_value());
  const std::optional<DueSilence> due = Probe(1, At(1));
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(due->idle_for, seconds(10));
  EXPECT_EQ(due->follows, At(1));
}

TEST_F(IdleTrackerTest, DataOrAFailedProbeBeginsAnew) {
  Probe(10, At(1));
  tracker_.Reset();
  EXPECT_FALSE(Probe(10, At(1)).has_value());
  EXPECT_TRUE(Probe(1, At(1)).has_value());
}

TEST_F(IdleTrackerTest, APauseCountsForTwoSecondsAtMost) {
  Probe(1, At(1));
  now_ += minutes(5);
  Probe(1, At(1));
  EXPECT_EQ(tracker_.credit(), seconds(2));
}

// The promise is about what was seen when the silence that it rests on began.
TEST_F(IdleTrackerTest, FollowsAtTheDistanceOfTheTimeout) {
  Probe(6, At(1));  // at 0 … 5 s of credit
  Probe(4, At(2));  // 6 … 9
  EXPECT_EQ(Probe(1, At(3))->follows, At(1));
  EXPECT_EQ(Probe(5, At(3))->follows, At(1));  // 15
  EXPECT_EQ(Probe(1, At(3))->follows, At(2));  // 16: at(2) was first seen at 6
  EXPECT_EQ(Probe(3, At(3))->follows, At(2));  // 19
  EXPECT_EQ(Probe(1, At(3))->follows, At(3));  // 20
  EXPECT_EQ(Probe(100, At(3))->follows, At(3));
}

TEST_F(IdleTrackerTest, NothingSeenAnywhereIsDueAsNothing) {
  const std::optional<DueSilence> due = Probe(11, std::nullopt);
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(due->follows, std::nullopt);
  // Then others wake; this one's silence after that counts from then.
  EXPECT_EQ(Probe(10, At(1))->follows, std::nullopt);
  EXPECT_EQ(Probe(1, At(1))->follows, At(1));
}

TEST_F(IdleTrackerTest, EachTimeoutHasItsOwnAnswer) {
  std::vector<DueSilence> due;
  for (int i = 0; i <= 30; ++i) {
    now_ += seconds(1);
    due = tracker_.OnProbe(now_, At(i), {seconds(3), seconds(20), seconds(40)});
  }
  ASSERT_EQ(due.size(), 2U);
  EXPECT_EQ(due[0].follows, At(27));
  EXPECT_EQ(due[1].follows, At(10));
}

TEST_F(IdleTrackerTest, ProbesAreDueOnceASecond) {
  EXPECT_TRUE(tracker_.ProbeDue(now_));
  Probe(1, At(1));
  EXPECT_FALSE(tracker_.ProbeDue(now_ + milliseconds(900)));
  EXPECT_TRUE(tracker_.ProbeDue(now_ + seconds(1)));
}

}  // namespace
}  // namespace tocsin::correlation
