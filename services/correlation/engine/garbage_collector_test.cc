#include "services/correlation/engine/garbage_collector.h"

#include <gtest/gtest.h>

#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/test_rule.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr std::chrono::microseconds kStart = hours(24 * 365);

std::shared_ptr<const RulePlan> PlanOf(const std::vector<testing::RuleSpec>& rules) {
  StreamSpec stream;
  stream.topic = "calls.raw";
  std::vector<RuleEntry> entries;
  for (const testing::RuleSpec& rule : rules) entries.push_back({testing::MakeRule(rule), 1});
  return RulePlan::Make(stream, entries);
}

testing::RuleSpec Rule(RuleOrder order) {
  testing::RuleSpec rule;
  rule.id = "surge";
  rule.group_by = {"township"};
  rule.order = order;
  rule.timespan = minutes(10);
  rule.join_within = minutes(30);
  return rule;
}

v1::IncidentRecord Incident(std::chrono::microseconds last, std::chrono::microseconds touched) {
  v1::IncidentRecord incident;
  incident.set_last_detection_us(last.count());
  incident.set_touched_us(touched.count());
  return incident;
}

class GarbageCollectorTest : public ::testing::Test {
 protected:
  void Put(const std::string& key, const std::string& value) {
    state_.Apply({{key, std::optional<std::string>(value)}});
  }
  bool Has(const std::string& key) const { return state_.Get(key).has_value(); }

  void Sweep(const RulePlan& plan, std::chrono::microseconds timestamp,
             std::optional<std::chrono::microseconds> watermark = std::nullopt) {
    Overlay overlay(state_);
    ReorderBuffer buffer(100);
    buffer.Begin(overlay);
    WindowCaches windows;
    windows.emplace_back(WindowKey(plan.local().front().prefix, ""));
    if (watermark.has_value()) {
      buffer.Advance(plan.local().front(), FromMicros(watermark->count()));
      buffer.Release(plan.local().front(), [](std::string_view, const PackedEvent&) {});
    }
    collector_.Sweep(plan, timestamp.count(), buffer, windows, /*batches=*/1, overlay);
    state_.Apply(overlay.changes());
  }

  MemoryState state_;
  GarbageCollector collector_{2};
};

TEST_F(GarbageCollectorTest, AnIncidentInEventTimeGoesWhenTheReleasedPartHasPassedIt) {
  const auto plan = PlanOf({Rule(RuleOrder::kEventTime)});
  const std::string key = IncidentKey("surge", "township", "A");
  Put(key, Incident(kStart, kStart).SerializeAsString());
  Sweep(*plan, kStart + hours(1'000));
  EXPECT_TRUE(Has(key)) << "Kafka's timestamps say nothing to a rule in event time";
  Sweep(*plan, kStart, kStart + minutes(30) - std::chrono::microseconds(1));
  EXPECT_TRUE(Has(key));
  Sweep(*plan, kStart, kStart + minutes(30));
  EXPECT_FALSE(Has(key));
}

TEST_F(GarbageCollectorTest, AnIncidentInArrivalOrderGoesADayAfterItsOwnTime) {
  const auto plan = PlanOf({Rule(RuleOrder::kArrival)});
  const std::string key = IncidentKey("surge", "township", "A");
  Put(key, Incident(kStart, kStart).SerializeAsString());
  Sweep(*plan, kStart + hours(24) + minutes(30));
  EXPECT_TRUE(Has(key));
  Sweep(*plan, kStart + hours(24) + minutes(30) + std::chrono::microseconds(1));
  EXPECT_FALSE(Has(key));
}

TEST_F(GarbageCollectorTest, ASweepLooksAtAFewKeysAndGoesOnWhereItEnded) {
  const auto plan = PlanOf({Rule(RuleOrder::kArrival)});
  std::vector<std::string> keys;
  for (const char* place : {"A", "B", "C"}) {
    keys.push_back(IncidentKey("surge", "township", place));
    Put(keys.back(), Incident(kStart, kStart).SerializeAsString());
  }
  Sweep(*plan, kStart + hours(48));
  EXPECT_TRUE(!Has(keys[0]) && !Has(keys[1]) && Has(keys[2]));
  Sweep(*plan, kStart + hours(48));
  EXPECT_FALSE(Has(keys[2]));
}

TEST_F(GarbageCollectorTest, ARetiredRuleGoesInPieces) {
  const auto with = PlanOf({Rule(RuleOrder::kArrival)});
  const auto without = PlanOf({});
  Overlay overlay(state_);
  EXPECT_TRUE(collector_.HasWork());
  EXPECT_TRUE(collector_.TakeUpPlan(*with, overlay));
  EXPECT_FALSE(collector_.TakeUpPlan(*with, overlay));
  EXPECT_FALSE(collector_.HasWork());
  const std::string& prefix = with->local().front().prefix;
  for (int i = 0; i < 300; ++i) overlay.Put(WindowKey(prefix, std::to_string(i)), "");
  state_.Apply(overlay.changes());
  EXPECT_EQ(state_.entries().size(), 301U);

  collector_.Restart();
  for (const bool done : {false, true}) {
    Overlay batch(state_);
    collector_.TakeUpPlan(*without, batch);
    EXPECT_EQ(collector_.RemoveRetired(*without, batch), done);
    EXPECT_EQ(collector_.HasWork(), !done);
    state_.Apply(batch.changes());
  }
  EXPECT_TRUE(state_.entries().empty());
}

}  // namespace
}  // namespace tocsin::correlation
