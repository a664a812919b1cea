#include "services/correlation/engine/deduplicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

using std::chrono::hours;

WallTime At(int hour) { return WallTime(hours(24 * 365) + hours(hour)); }

class DeduplicatorTest : public ::testing::Test {
 protected:
  // One batch, committed, of a task that has just begun.
  bool Admit(std::string_view id, WallTime timestamp) {
    Deduplicator deduplicator(options_);
    return AdmitBatch(deduplicator, {id}, timestamp).front();
  }
  std::vector<bool> AdmitBatch(Deduplicator& deduplicator, const std::vector<std::string_view>& ids,
                               WallTime timestamp) {
    Overlay overlay(state_);
    deduplicator.Begin(overlay);
    std::vector<bool> admitted;
    for (const std::string_view id : ids) {
      deduplicator.ObserveTimestamp(timestamp);
      admitted.push_back(AdmitOne(deduplicator, "source", id, timestamp));
    }
    deduplicator.Expire(ids.size());
    deduplicator.Store();
    state_.Apply(overlay.changes());
    return admitted;
  }
  static bool AdmitOne(Deduplicator& deduplicator, std::string_view source, std::string_view id,
                       WallTime timestamp) {
    return deduplicator.Admit(deduplicator.Identify(source, id), source, id, timestamp);
  }
  std::size_t Chunks() const {
    std::size_t chunks = 0;
    for (const auto& [key, value] : state_.entries()) chunks += key.front() == 'e' ? 1 : 0;
    return chunks;
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
  Deduplicator deduplicator(options_);
  deduplicator.Begin(overlay);
  EXPECT_TRUE(AdmitOne(deduplicator, "ab", "c", At(0)));
  EXPECT_TRUE(AdmitOne(deduplicator, "a", "bc", At(0)));
  EXPECT_FALSE(AdmitOne(deduplicator, "ab", "c", At(0)));
  const std::string longest(1'000, 'x');
  EXPECT_TRUE(AdmitOne(deduplicator, longest, "1", At(0)));
  EXPECT_TRUE(AdmitOne(deduplicator, longest, "2", At(0)));
  EXPECT_FALSE(AdmitOne(deduplicator, longest, "1", At(0)));
}

TEST_F(DeduplicatorTest, WhatIsTooOldIsForgottenWithItsKeys) {
  options_.identity_age = hours(24);
  EXPECT_TRUE(Admit("a", At(0)));
  EXPECT_FALSE(Admit("a", At(24)));
  Deduplicator idle(options_);
  AdmitBatch(idle, {"a"}, At(25));
  // The log alone.
  EXPECT_EQ(state_.entries().size(), 1U);
  EXPECT_TRUE(Admit("a", At(25)));
}

TEST_F(DeduplicatorTest, TheOldestGoesWhenThereAreTooMany) {
  options_.identity_count = 100;
  Deduplicator deduplicator(options_);
  // Chunks of 70: the first goes when the two behind it are enough.
  std::vector<std::string> ids;
  for (int i = 0; i < 210; ++i) ids.push_back(std::to_string(i));
  for (std::size_t begin = 0; begin < ids.size(); begin += 70) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
    EXPECT_THAT(AdmitBatch(deduplicator, {first, first + 70}, At(0)), ::testing::Each(true));
  }
  EXPECT_EQ(Chunks(), 2U);
  for (Deduplicator* other : {&deduplicator}) {
    EXPECT_FALSE(AdmitBatch(*other, {"70"}, At(0)).front());
    EXPECT_TRUE(AdmitBatch(*other, {"0"}, At(0)).front());
  }
  EXPECT_FALSE(Admit("0", At(0))) << "and so it is in the state";
}

TEST_F(DeduplicatorTest, SmallChunksGrowAndLargeOnesAreCut) {
  for (int i = 0; i < 63; ++i) EXPECT_TRUE(Admit(std::to_string(i), At(0)));
  EXPECT_EQ(Chunks(), 1U);
  EXPECT_TRUE(Admit("63", At(0)));
  EXPECT_TRUE(Admit("64", At(0)));
  EXPECT_EQ(Chunks(), 2U);
  std::vector<std::string> ids;
  for (int i = 100; i < 10'000; ++i) ids.push_back(std::to_string(i));
  Deduplicator deduplicator(options_);
  AdmitBatch(deduplicator, {ids.begin(), ids.end()}, At(0));
  EXPECT_EQ(Chunks(), 4U);
  for (const int i : {0, 63, 64, 100, 5'000, 9'999}) {
    EXPECT_FALSE(Admit(std::to_string(i), At(0))) << i;
  }
}

TEST_F(DeduplicatorTest, WhatWasNotCommittedIsForgotten) {
  EXPECT_TRUE(Admit("a", At(0)));
  Deduplicator deduplicator(options_);
  {
    Overlay dropped(state_);
    deduplicator.Begin(dropped);
    EXPECT_TRUE(AdmitOne(deduplicator, "source", "b", At(0)));
    deduplicator.Store();
  }
  deduplicator.Drop();
  EXPECT_THAT(AdmitBatch(deduplicator, {"a", "b", "b"}, At(0)),
              ::testing::ElementsAre(false, true, false));
}

TEST_F(DeduplicatorTest, AStateKeepsItsHashKey) {
  options_.identity_key = {1, 2};
  EXPECT_TRUE(Admit("a", At(0)));
  options_.identity_key = {3, 4};
  EXPECT_FALSE(Admit("a", At(0)));
}

TEST_F(DeduplicatorTest, AnOlderTimestampDoesNotTurnTheClockBack) {
  Overlay overlay(state_);
  Deduplicator deduplicator(options_);
  deduplicator.Begin(overlay);
  deduplicator.ObserveTimestamp(At(5));
  deduplicator.ObserveTimestamp(At(3));
  EXPECT_EQ(deduplicator.highest_timestamp_us(), Micros(At(5)));
}

TEST_F(DeduplicatorTest, ABatchThatChangesNothingWritesNothing) {
  EXPECT_TRUE(Admit("a", At(1)));
  Overlay overlay(state_);
  Deduplicator deduplicator(options_);
  deduplicator.Begin(overlay);
  deduplicator.ObserveTimestamp(At(1));
  EXPECT_FALSE(AdmitOne(deduplicator, "source", "a", At(1)));
  deduplicator.Expire(1);
  deduplicator.Store();
  EXPECT_TRUE(overlay.empty());
}

TEST(IdentitySetTest, HoldsWhatWasInsertedAndNotForgotten) {
  for (const std::size_t most : {std::size_t{5}, std::size_t{40}, std::size_t{400}}) {
    std::mt19937_64 random(most);
    IdentitySet set;
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> expected;
    std::deque<std::size_t> counts = {0};
    std::uint32_t first = 1;
    for (int i = 0; i < 200'000; ++i) {
      if (random() % 20 == 0) {
        counts.push_back(0);
        while (counts.size() > most) {
          set.ForgetBefore(++first, counts.front());
          counts.pop_front();
          std::erase_if(expected, [&](const auto& known) { return known.second < first; });
        }
      }
      // Few homes, so that many stand in each other's way.
      const Hash128 hash{random() % 3'000 * 1'021, random() % 4};
      const std::uint32_t chunk = first + static_cast<std::uint32_t>(counts.size()) - 1;
      const bool is_new = expected.try_emplace({hash.low, hash.high}, chunk).second;
      ASSERT_EQ(set.Insert(hash, chunk), is_new) << i;
      if (is_new) ++counts.back();
      ASSERT_EQ(set.size(), expected.size());
    }
  }
}

}  // namespace
}  // namespace tocsin::correlation
