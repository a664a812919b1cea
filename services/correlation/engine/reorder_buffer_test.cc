#include "services/correlation/engine/reorder_buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/test_rule.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

WallTime At(int minute) { return WallTime(std::chrono::hours(24 * 365) + minutes(minute)); }

class ReorderBufferTest : public ::testing::Test {
 protected:
  ReorderBufferTest() {
    rule_.rule = testing::MakeRule({});
    rule_.prefix = RulePrefix("rule", 1, "content");
  }

  void Hold(ReorderBuffer& buffer, const std::string& id, WallTime time,
            const std::string& sequence = "", std::int64_t offset = 0) {
    Envelope envelope;
    envelope.time = time;
    envelope.sequence = sequence;
    envelope.id = id;
    buffer.Hold(rule_, envelope, {"calls.raw", 0, offset}, "key of " + id, "");
  }

  // Ids in the order released; `complete` where asked for.
  std::vector<std::string> Release(ReorderBuffer& buffer, bool* complete = nullptr) {
    std::vector<std::string> ids;
    const bool all =
        buffer.Release(rule_, [&](std::string_view group_key, const PackedEvent& event) {
          ids.push_back(Unpack(event).reference().id());
          EXPECT_EQ(group_key, "key of " + ids.back());
        });
    if (complete != nullptr) *complete = all;
    return ids;
  }

  void Commit(ReorderBuffer& buffer, Overlay& overlay) {
    buffer.Store();
    state_.Apply(overlay.changes());
  }

  MemoryState state_;
  PlannedRule rule_;
};

TEST_F(ReorderBufferTest, GivesOutInEventTimeOrderUpToTheWatermark) {
  Overlay overlay(state_);
  ReorderBuffer buffer(100);
  buffer.Begin(overlay);
  Hold(buffer, "third", At(3));
  Hold(buffer, "second by offset", At(2), "7", 9);
  Hold(buffer, "second", At(2), "7", 8);
  Hold(buffer, "second without sequence", At(2), "", 10);
  Hold(buffer, "first", At(1));
  EXPECT_THAT(Release(buffer), IsEmpty()) << "nothing is promised yet";
  buffer.Advance(rule_, At(2));
  EXPECT_THAT(Release(buffer),
              ElementsAre("first", "second without sequence", "second", "second by offset"));
  EXPECT_THAT(Release(buffer), IsEmpty());
  buffer.Advance(rule_, At(3));
  EXPECT_THAT(Release(buffer), ElementsAre("third"));
}

TEST_F(ReorderBufferTest, AWatermarkNeverGoesBack) {
  Overlay overlay(state_);
  ReorderBuffer buffer(100);
  buffer.Begin(overlay);
  buffer.Advance(rule_, At(2));
  buffer.Advance(rule_, At(1));
  buffer.Advance(rule_, std::nullopt);
  EXPECT_TRUE(buffer.Passed(rule_, At(2)));
  EXPECT_FALSE(buffer.Passed(rule_, At(2) + std::chrono::microseconds(1)));
}

TEST_F(ReorderBufferTest, TheLimitCutsARelease) {
  Overlay overlay(state_);
  {
    ReorderBuffer buffer(2);
    buffer.Begin(overlay);
    for (int i = 1; i <= 3; ++i) Hold(buffer, std::to_string(i), At(i));
    buffer.Advance(rule_, At(3));
    bool complete = true;
    EXPECT_THAT(Release(buffer, &complete), ElementsAre("1", "2"));
    EXPECT_FALSE(complete);
    EXPECT_EQ(buffer.released(), 2U);
    EXPECT_FALSE(buffer.ReleasedBeyond(rule_, Micros(At(0)), seconds(0)));
    Commit(buffer, overlay);
  }
  Overlay next(state_);
  ReorderBuffer buffer(2);
  buffer.Begin(next);
  bool complete = false;
  EXPECT_THAT(Release(buffer, &complete), ElementsAre("3"));
  EXPECT_TRUE(complete);
  EXPECT_TRUE(buffer.ReleasedBeyond(rule_, Micros(At(2)), minutes(1)));
  EXPECT_FALSE(buffer.ReleasedBeyond(rule_, Micros(At(2)), minutes(2)));
}

TEST_F(ReorderBufferTest, WhatWaitsInTheStateAndWhatHasJustComeAreGivenOutInOneOrder) {
  ReorderBuffer buffer(100);
  Overlay first(state_);
  buffer.Begin(first);
  for (const int minute : {2, 4, 6}) Hold(buffer, std::to_string(minute), At(minute), "", minute);
  buffer.Advance(rule_, At(0));
  Commit(buffer, first);
  EXPECT_EQ(state_.entries().size(), 4U);
  Overlay second(state_);
  buffer.Begin(second);
  // The event of minute 4 has come twice.
  for (const int minute : {7, 5, 4, 3, 1}) {
    Hold(buffer, std::to_string(minute), At(minute), "", minute);
  }
  buffer.Advance(rule_, At(5));
  EXPECT_THAT(Release(buffer), ElementsAre("1", "2", "3", "4", "5"));
  Commit(buffer, second);
  // 6, 7 and the progress.
  EXPECT_EQ(state_.entries().size(), 3U);
  buffer.Drop();
  Overlay third(state_);
  buffer.Begin(third);
  buffer.Advance(rule_, At(9));
  EXPECT_THAT(Release(buffer), ElementsAre("6", "7"));
}

TEST_F(ReorderBufferTest, WhatComesAndGoesInOneTransactionLeavesNoTrace) {
  ReorderBuffer buffer(100);
  Overlay overlay(state_);
  buffer.Begin(overlay);
  Hold(buffer, "1", At(1));
  buffer.Advance(rule_, At(1));
  EXPECT_THAT(Release(buffer), ElementsAre("1"));
  buffer.Store();
  EXPECT_EQ(overlay.changes().size(), 1U) << "the progress alone";
}

TEST_F(ReorderBufferTest, ProgressIsInTheState) {
  {
    Overlay overlay(state_);
    ReorderBuffer buffer(100);
    buffer.Begin(overlay);
    buffer.Advance(rule_, At(5));
    Release(buffer);
    Commit(buffer, overlay);
  }
  Overlay overlay(state_);
  ReorderBuffer buffer(100);
  buffer.Begin(overlay);
  EXPECT_TRUE(buffer.Passed(rule_, At(5)));
  buffer.Store();
  EXPECT_TRUE(overlay.empty()) << "nothing has changed";
}

}  // namespace
}  // namespace tocsin::correlation
