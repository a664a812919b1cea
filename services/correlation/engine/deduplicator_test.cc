#include "services/correlation/engine/deduplicator.h"

#include <gtest/gtest.h>

#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

using std::chrono::hours;

WallTime At(int hour) { return WallTime(hours(24 * 365) + hours(hour)); }

class DeduplicatorTest : public ::testing::Test {
 protected:
  // One batch, committed.
  bool Admit(std::string_view id, WallTime timestamp) {
    Overlay overlay(state_);
    Deduplicator deduplicator(overlay, options_);
    deduplicator.ObserveTimestamp(timestamp);
    const bool admitted = deduplicator.Admit("source", id, timestamp);
    deduplicator.Expire(1);
    deduplicator.Store();
    state_.Apply(overlay.changes());
    return admitted;
  }

  MemoryState state_;
  TaskOptions options_;
};

TEST_F(DeduplicatorTest, AnIdentityIsAdmittedOnce) {
  EXPECT_TRUE(Admit("a", At(0)));
  EXPECT_FALSE(Admit("a", At(1)));
  EXPECT_TRUE(Admit("b", At(1)));
}

TEST_F(DeduplicatorTest, SourceAndIdTogetherAreTheIdentity) {
  Overlay overlay(state_);
  Deduplicator deduplicator(overlay, options_);
  EXPECT_TRUE(deduplicator.Admit("ab", "c", At(0)));
  EXPECT_TRUE(deduplicator.Admit("a", "bc", At(0)));
  EXPECT_FALSE(deduplicator.Admit("ab", "c", At(0)));
}

TEST_F(DeduplicatorTest, WhatIsTooOldIsForgottenWithItsKeys) {
  options_.identity_age = hours(24);
  EXPECT_TRUE(Admit("a", At(0)));
  EXPECT_FALSE(Admit("a", At(24)));
  EXPECT_TRUE(Admit("b", At(25)));
  // One identity in two keys, and the log.
  EXPECT_EQ(state_.entries().size(), 3U);
  EXPECT_TRUE(Admit("a", At(25)));
}

TEST_F(DeduplicatorTest, TheOldestGoesWhenThereAreTooMany) {
  options_.identity_count = 2;
  for (const char* id : {"a", "b", "c"}) EXPECT_TRUE(Admit(id, At(0)));
  EXPECT_FALSE(Admit("b", At(0)));
  EXPECT_TRUE(Admit("a", At(0)));
}

TEST_F(DeduplicatorTest, AnOlderTimestampDoesNotTurnTheClockBack) {
  Overlay overlay(state_);
  Deduplicator deduplicator(overlay, options_);
  deduplicator.ObserveTimestamp(At(5));
  deduplicator.ObserveTimestamp(At(3));
  EXPECT_EQ(deduplicator.highest_timestamp_us(), Micros(At(5)));
}

TEST_F(DeduplicatorTest, ABatchThatChangesNothingWritesNothing) {
  EXPECT_TRUE(Admit("a", At(1)));
  Overlay overlay(state_);
  Deduplicator deduplicator(overlay, options_);
  deduplicator.ObserveTimestamp(At(1));
  EXPECT_FALSE(deduplicator.Admit("source", "a", At(1)));
  deduplicator.Expire(1);
  deduplicator.Store();
  EXPECT_TRUE(overlay.empty());
}

}  // namespace
}  // namespace tocsin::correlation
