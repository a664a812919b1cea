#include "lib/base/clock.h"

#include <gtest/gtest.h>

#include "lib/base/testing/fake_clock.h"

namespace tocsin {
namespace {
TEST(FakeClockTest, MovesOnlyWhenTold) {
  FakeClock clock;
  const WallTime wall = clock.Now();
  const SteadyTime steady = clock.SteadyNow();
  EXPECT_EQ(clock.Now(), wall);
  clock.Advance(std::chrono::seconds(3));
  EXPECT_EQ(clock.Now() - wall, std::chrono::seconds(3));
  EXPECT_EQ(clock.SteadyNow() - steady, std::chrono::seconds(3));
}

TEST(FakeClockTest, AWallJumpLeavesTheSteadyClockAlone) {
  FakeClock clock;
  const SteadyTime steady = clock.SteadyNow();
  clock.JumpWall(-std::chrono::hours(1));
  EXPECT_EQ(clock.SteadyNow(), steady);
}
}  // namespace
}  // namespace tocsin
