#include "services/correlation/engine/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/util/time_util.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/correlation/testing/test_rule.h"

namespace tocsin::correlation {
namespace {

using ::testing::HasSubstr;

struct Step {
  int minute;
  std::string value;
};

v1::StoredEvent Event(const Step& step, std::size_t number) {
  v1::StoredEvent event;
  *event.mutable_reference()->mutable_time() =
      google::protobuf::util::TimeUtil::SecondsToTimestamp(1'700'000'000 + 60 * step.minute);
  event.mutable_reference()->set_id(std::to_string(number));
  event.set_value(step.value);
  return event;
}

std::optional<Firing> Add(const CompiledRule& rule, const Step& step, std::size_t number,
                          Window& window) {
  std::string packed;
  AppendPacked(Event(step, number), packed);
  std::string_view rest = packed;
  return window.Add(rule, *TakePacked(rest), 7);
}

struct Case {
  std::string name;
  testing::RuleSpec rule;
  std::vector<Step> steps;
  // Each firing as "value: ids".
  std::vector<std::string> firings;
  std::size_t left = 0;
};

testing::RuleSpec Rule(std::int64_t at_least, RuleOrder order, std::string count_field = "") {
  testing::RuleSpec rule;
  rule.at_least = at_least;
  rule.order = order;
  rule.count_field = std::move(count_field);
  return rule;
}

class WindowTest : public ::testing::TestWithParam<Case> {};

TEST_P(WindowTest, Fires) {
  const Case& test = GetParam();
  const auto rule = testing::MakeRule(test.rule);
  Window window;
  std::vector<std::string> firings;
  std::size_t number = 0;
  for (const Step& step : test.steps) {
    const auto firing = Add(*rule, step, ++number, window);
    if (!firing.has_value()) continue;
    std::string text = Concat(firing->value, ":");
    for (const v1::StoredEvent& event : firing->events) text += " " + event.reference().id();
    firings.push_back(text);
  }
  EXPECT_EQ(firings, test.firings);
  EXPECT_EQ(window.size(), test.left);
}

constexpr RuleOrder kEventTime = RuleOrder::kEventTime;
constexpr RuleOrder kArrival = RuleOrder::kArrival;

INSTANTIATE_TEST_SUITE_P(
    Table, WindowTest,
    ::testing::Values(
        Case{"CountReached",
             Rule(3, kEventTime),
             {{0, ""}, {1, ""}, {2, ""}, {3, ""}},
             {"3: 1 2 3"},
             1},
        // (t - timespan, t]: what is exactly timespan old is outside.
        Case{
            "TheStartIsOutside", Rule(2, kEventTime), {{0, ""}, {10, ""}, {19, ""}}, {"2: 2 3"}, 0},
        Case{"SameTimeIsInside", Rule(2, kEventTime), {{5, ""}, {5, ""}}, {"2: 1 2"}, 0},
        Case{"DistinctValues",
             Rule(2, kEventTime, "agency"),
             {{0, "a"}, {1, "a"}, {2, "b"}, {3, "a"}},
             {"2: 1 2 3"},
             1},
        Case{"DistinctValuesSlideOut",
             Rule(2, kEventTime, "agency"),
             {{0, "a"}, {10, "b"}, {11, "b"}, {12, "c"}},
             {"2: 2 3 4"},
             0},
        Case{"ArrivalLooksBackFromTheEventItself",
             Rule(2, kArrival),
             {{15, ""}, {5, ""}, {7, ""}},
             {"2: 2 3"},
             0},
        // The event at 18 lies after t = 7 and is not in its window; what fires forgets all.
        Case{"ArrivalDoesNotCountWhatLiesAhead",
             Rule(3, kArrival),
             {{18, ""}, {5, ""}, {7, ""}, {19, ""}},
             {},
             4},
        // An event more than the slack behind finds nothing, and is not kept beyond the next one.
        Case{"ArrivalForgetsWhatIsFarBehind",
             Rule(2, kArrival),
             {{0, ""}, {20, ""}, {1, ""}, {40, ""}},
             {},
             1},
        // As far behind as the window is long it finds all of it, and a minute further less.
        Case{"ArrivalFindsAWholeWindowOneTimespanBehind",
             Rule(3, kArrival),
             {{1, ""}, {5, ""}, {20, ""}, {10, ""}},
             {"3: 1 2 4"},
             0},
        Case{"ArrivalFindsLessFurtherBehind",
             Rule(3, kArrival),
             {{1, ""}, {5, ""}, {21, ""}, {10, ""}},
             {},
             3}),
    [](const auto& test) { return test.param.name; });

TEST(WindowBoundTest, FloodOfOneValueKeepsTheCount) {
  const auto rule = testing::MakeRule(Rule(2, kEventTime, "agency"));
  Window window;
  for (std::size_t i = 1; i <= 1'500; ++i) {
    ASSERT_FALSE(Add(*rule, {0, "a"}, i, window).has_value());
  }
  EXPECT_EQ(window.size(), static_cast<std::size_t>(kMinWindowCapacity));
  EXPECT_EQ(window.Events().back().reference().id(), "1500") << "the newest stays";
  const auto firing = Add(*rule, {1, "b"}, 1'501, window);
  ASSERT_TRUE(firing.has_value());
  EXPECT_EQ(firing->value, 2);
}

// Against the plainest way to say it, with the window read anew from the state now and then.
TEST(WindowPropertyTest, FiresAsTheDefinitionSays) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const RuleOrder order = seed % 2 == 0 ? kEventTime : kArrival;
    const bool distinct = seed % 3 == 0;
    const auto at_least = static_cast<std::int64_t>(2 + seed % 5);
    const auto rule = testing::MakeRule(Rule(at_least, order, distinct ? "agency" : ""));
    Window window;
    MemoryState state;
    bool stored = false;
    std::vector<std::pair<Step, std::size_t>> kept;
    int minute = 0;
    for (std::size_t number = 1; number <= 150; ++number) {
      minute += static_cast<int>(random() % 4);
      // In arrival order some come late, few so late that they find nothing.
      int at = minute;
      if (order == kArrival && random() % 4 == 0) at -= static_cast<int>(random() % 25);
      const Step step{at, std::string(1, static_cast<char>('a' + random() % 3))};
      int newest = at;
      for (const auto& [other, id] : kept) newest = std::max(newest, other.minute);
      const int oldest = (order == kArrival ? newest - 10 : at) - 10;
      std::erase_if(kept, [&](const auto& old) { return old.first.minute <= oldest; });
      kept.emplace_back(step, number);
      std::vector<std::string> ids;
      std::set<std::string> values;
      for (const auto& [other, id] : kept) {
        if (other.minute <= at - 10 || other.minute > at) continue;
        ids.push_back(std::to_string(id));
        values.insert(other.value);
      }
      const std::size_t count = distinct ? values.size() : ids.size();
      const auto firing = Add(*rule, step, number, window);
      ASSERT_EQ(firing.has_value(), std::cmp_greater_equal(count, at_least))
          << "seed " << seed << " event " << number;
      if (firing.has_value()) {
        std::vector<std::string> fired;
        for (const v1::StoredEvent& event : firing->events) fired.push_back(event.reference().id());
        ASSERT_EQ(fired, ids);
        kept.clear();
      }
      ASSERT_EQ(window.size(), kept.size());
      if (random() % 5 != 0) continue;
      Overlay overlay(state);
      window.Save(overlay, "k", stored);
      state.Apply(overlay.changes());
      ASSERT_EQ(state.entries().empty(), kept.empty()) << "no piece is left behind";
      stored = !kept.empty();
      if (kept.empty()) continue;
      const Window::Summary summary = Window::Summarise(*state.Get("k"));
      EXPECT_EQ(summary.touched_us, 7);
      newest = at;
      for (const auto& [other, id] : kept) newest = std::max(newest, other.minute);
      EXPECT_EQ(summary.highest_us, 1'000'000 * (1'700'000'000 + 60 * std::int64_t{newest}));
      if (random() % 2 == 0) window = Window::Load(state, "k", stored);
      ASSERT_TRUE(stored);
      ASSERT_EQ(window.size(), kept.size());
      for (std::size_t i = 0; i < kept.size(); ++i) {
        ASSERT_EQ(window.Events()[i].reference().id(), std::to_string(kept[i].second));
      }
      if (random() % 20 == 0) {
        Overlay removal(state);
        Window::Remove("k", *state.Get("k"), removal);
        MemoryState without = state;
        without.Apply(removal.changes());
        EXPECT_TRUE(without.entries().empty());
      }
    }
  }
}

// A window with many events changes a little of the state with each.
TEST(WindowStateTest, AnEventWritesLittle) {
  const auto rule = testing::MakeRule(Rule(1'000, kArrival));
  MemoryState state;
  Window window;
  std::size_t written = 0;
  for (std::size_t number = 1; number <= 400; ++number) {
    ASSERT_FALSE(Add(*rule, {static_cast<int>(number) / 32, ""}, number, window).has_value());
    Overlay overlay(state);
    window.Save(overlay, "k", number > 1);
    for (const auto& [key, value] : overlay.changes()) written += value.value_or("").size();
    state.Apply(overlay.changes());
  }
  EXPECT_EQ(window.size(), 400U);
  EXPECT_LT(written / 400, 8 * 32U + 64U);
}

TEST(WindowFormatTest, Format1IsRead) {
  v1::WindowState old;
  *old.add_events() = Event({1, "x"}, 1);
  *old.add_events() = Event({0, "y"}, 2);
  old.set_touched_us(99);
  MemoryState state;
  state.Apply({{"k", old.SerializeAsString()}});
  EXPECT_EQ(Window::Summarise(*state.Get("k")).highest_us, 1'700'000'060'000'000);
  EXPECT_EQ(Window::Summarise(*state.Get("k")).touched_us, 99);
  bool stored = false;
  Window window = Window::Load(state, "k", stored);
  EXPECT_TRUE(stored);
  ASSERT_EQ(window.size(), 2U);
  EXPECT_EQ(window.Events()[1].SerializeAsString(), old.events(1).SerializeAsString());
  Overlay overlay(state);
  window.Save(overlay, "k", stored);
  EXPECT_EQ(Window::Summarise(*overlay.Get("k")).highest_us, 1'700'000'060'000'000);
  EXPECT_EQ(Window::Summarise(*overlay.Get("k")).touched_us, 99);
}

TEST(WindowBoundTest, NumbersBeyondTheBoundAreRefused) {
  EXPECT_THAT(CheckSupported(*testing::MakeRule(Rule(100'000, kEventTime))), IsOk());
  EXPECT_THAT(CheckSupported(*testing::MakeRule(Rule(100'001, kEventTime))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 100000 events")));
}

}  // namespace
}  // namespace tocsin::correlation
