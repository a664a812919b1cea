#include "services/correlation/engine/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

struct Case {
  std::string name;
  testing::RuleSpec rule;
  std::vector<Step> steps;
  // Each firing as "value: ids".
  std::vector<std::string> firings;
  int left = 0;
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
  v1::WindowState window;
  std::vector<std::string> firings;
  std::size_t number = 0;
  for (const Step& step : test.steps) {
    const auto firing = AddToWindow(*rule, Event(step, ++number), window);
    if (!firing.has_value()) continue;
    std::string text = Concat(firing->value, ":");
    for (const v1::StoredEvent& event : firing->events) text += " " + event.reference().id();
    firings.push_back(text);
  }
  EXPECT_EQ(firings, test.firings);
  EXPECT_EQ(window.events_size(), test.left);
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
             {{30, ""}, {5, ""}, {7, ""}},
             {"2: 2 3"},
             0},
        // The event at 30 lies after t = 7 and is not in its window; what fires forgets all.
        Case{"ArrivalDoesNotCountWhatLiesAhead",
             Rule(3, kArrival),
             {{30, ""}, {5, ""}, {7, ""}, {31, ""}},
             {},
             4},
        // An event more than the slack behind finds nothing, and is not kept beyond the next one.
        Case{"ArrivalForgetsWhatIsFarBehind",
             Rule(2, kArrival),
             {{0, ""}, {200, ""}, {1, ""}, {300, ""}},
             {},
             1}),
    [](const auto& test) { return test.param.name; });

TEST(WindowBoundTest, FloodOfOneValueKeepsTheCount) {
  const auto rule = testing::MakeRule(Rule(2, kEventTime, "agency"));
  v1::WindowState window;
  EXPECT_FALSE(AddToWindow(*rule, Event({0, "b"}, 0), window).has_value());
  window.Clear();
  for (std::size_t i = 1; i <= 1'500; ++i) {
    ASSERT_FALSE(AddToWindow(*rule, Event({0, "a"}, i), window).has_value());
  }
  EXPECT_EQ(window.events_size(), kMinWindowCapacity);
  EXPECT_EQ(window.events(999).reference().id(), "1500") << "the newest stays";
  const auto firing = AddToWindow(*rule, Event({1, "b"}, 1'501), window);
  ASSERT_TRUE(firing.has_value());
  EXPECT_EQ(firing->value, 2);
}

TEST(WindowBoundTest, NumbersBeyondTheBoundAreRefused) {
  EXPECT_THAT(CheckSupported(*testing::MakeRule(Rule(100'000, kEventTime))), IsOk());
  EXPECT_THAT(CheckSupported(*testing::MakeRule(Rule(100'001, kEventTime))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 100000 events")));
}

}  // namespace
}  // namespace tocsin::correlation
