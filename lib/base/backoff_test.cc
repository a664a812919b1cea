#include "lib/base/backoff.h"

#include <gtest/gtest.h>

namespace tocsin {
namespace {
using std::chrono::milliseconds;

TEST(BackoffTest, StaysBelowTheDoublingCeilingAndTheMaximum) {
  Backoff backoff({.initial = milliseconds(100), .maximum = milliseconds(1000)}, 7);
  for (int i = 0; i < 100; ++i) {
    const milliseconds delay = backoff.Next();
    EXPECT_GE(delay, milliseconds(0));
    EXPECT_LE(delay, std::min(milliseconds(1000), milliseconds(100LL << std::min(i, 20))));
  }
}

TEST(BackoffTest, ResetStartsAgainAtTheInitialDelay) {
  Backoff backoff({.initial = milliseconds(10), .maximum = milliseconds(100'000)}, 7);
  for (int i = 0; i < 12; ++i) backoff.Next();
  backoff.Reset();
  EXPECT_LE(backoff.Next(), milliseconds(10));
  EXPECT_EQ(backoff.attempt(), 1);
}

TEST(BackoffTest, UsesTheWholeRange) {
  Backoff backoff({.initial = milliseconds(1000), .maximum = milliseconds(1000)}, 7);
  milliseconds least(1000);
  milliseconds most(0);
  for (int i = 0; i < 200; ++i) {
    const milliseconds delay = backoff.Next();
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_LT(least, milliseconds(100));
  EXPECT_GT(most, milliseconds(900));
}
}  // namespace
}  // namespace tocsin
