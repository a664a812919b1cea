// What is held for a key, taken out of states that the engine itself has made.
#include "services/correlation/inspection/held_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/testing/test_rule.h"
#include "services/correlation/testing/world.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::World;

constexpr WallTime kNoon{std::chrono::seconds(1'452'859'200)};  // 2016-01-15T12:00:00Z

std::string Correlation(std::string_view key, int at_least, std::string_view type = "event_count",
                        std::string_view field = "") {
  return Concat("id: surge\nstream: calls.raw\norder: event_time\nmax-disorder: 0s\n",
                "idle-timeout: 1h\ncorrelation:\n  type: ", type, "\n  group-by: [", key,
                "]\n  timespan: 10m\n  condition: {gte: ", at_least,
                field.empty() ? "" : Concat(", field: ", field), "}\n");
}

class HeldStateTest : public ::testing::Test {
 protected:
  void Start(const std::string& yaml, std::int32_t partitions = 1) {
    const FixedStreams streams({{"calls.raw", testing::CallDescriptor(), "township", nullptr}});
    const auto rule = CompileRule(yaml, "rule.yaml", streams);
    ASSERT_THAT(rule.status(), IsOk());
    StreamSpec stream;
    stream.topic = "calls.raw";
    stream.partitions = partitions;
    stream.message_type = "test.Call";
    rules_.plans = {RulePlan::Make(stream, {{*rule, 3}})};
    testing::WorldOptions options;
    options.crash_percent = 0;
    options.restart_percent = 0;
    world_ = std::make_unique<World>(rules_.plans.front(), options);
  }

  void Call(std::string place, int second, std::string township = "NORTH") {
    testing::Call call;
    call.place = std::move(place);
    call.township = std::move(township);
    call.time = kNoon + seconds(second);
    call.row = ++row_;
    world_->Publish(testing::MakeCallRecord(call));
    world_->RunUntilQuiet();
  }

  std::shared_ptr<const StateQuestion> Ask(const std::vector<std::string>& key) {
    auto question = StateQuestion::Make(
        rules_, rules_.plans.front()->local().empty() ? RepartitionedRule() : LocalRule(), key);
    EXPECT_THAT(question.status(), IsOk());
    return std::make_shared<const StateQuestion>(*std::move(question));
  }
  std::string LocalRule() { return rules_.plans.front()->local().front().rule->id(); }
  std::string RepartitionedRule() {
    return rules_.plans.front()->repartitions().front().rules.front().rule->id();
  }

  // From the whole state, which a changelog gives alike.
  v1::ShowStateResponse Show(const std::string& key) {
    StateExcerpt excerpt(Ask({key}));
    excerpt.Take(world_->state(0));
    StateExcerpt replayed(Ask({key}));
    for (const auto& [name, value] : world_->state(0).entries()) {
      replayed.Apply(name, "what was there before");
      replayed.Apply(name, std::nullopt);
      replayed.Apply(name, value);
    }
    v1::ShowStateResponse shown = Describe(excerpt);
    EXPECT_EQ(shown.SerializeAsString(), Describe(replayed).SerializeAsString());
    return shown;
  }

  static std::vector<std::string> Ids(
      const google::protobuf::RepeatedPtrField<v1::HeldStateEvent>& events) {
    std::vector<std::string> ids;
    for (const v1::HeldStateEvent& event : events) ids.push_back(event.reference().id());
    return ids;
  }

  // Of the call number `row`, with one partition.
  std::int64_t OffsetOf(std::size_t row) { return world_->Log("calls.raw", 0)[row - 1].offset; }

  RuleSet rules_;
  std::unique_ptr<World> world_;
  std::int64_t row_ = 0;
};

TEST_F(HeldStateTest, BothSidesOfAJoin) {
  const FixedStreams streams({{"calls.raw", testing::CallDescriptor(), "township", nullptr},
                              {"units.raw", testing::CallDescriptor(), "township", nullptr}});
  const auto rule = CompileRule(
      "id: met\norder: event_time\nidle-timeout: 1h\njoin:\n"
      "  left: {stream: calls.raw, key: [township], as: call}\n"
      "  right: {stream: units.raw, key: [township], as: unit}\n"
      "  within: 10m\n  where: call.place == unit.place\n",
      "rule.yaml", streams);
  ASSERT_THAT(rule.status(), IsOk());
  for (const char* topic : {"calls.raw", "units.raw"}) {
    StreamSpec stream;
    stream.topic = topic;
    const std::vector<RuleEntry> entry{{*rule, 1}};
    const bool left = rules_.plans.empty();
    rules_.plans.push_back(RulePlan::Make(stream, left ? entry : std::vector<RuleEntry>(), {},
                                          left ? std::vector<RuleEntry>() : entry));
  }
  testing::WorldOptions options;
  options.crash_percent = 0;
  world_ = std::make_unique<World>(rules_.plans, options);
  for (int second : {0, 5, 10, 20}) {
    for (const char* topic : {"calls.raw", "units.raw"}) {
      if (second == 20 && topic == std::string_view("units.raw")) continue;
      testing::Call call;
      call.place = "A";
      call.township = second == 5 ? "SOUTH" : "NORTH";
      call.time = kNoon + seconds(second);
      call.row = ++row_;
      kafka::Record record = testing::MakeCallRecord(call);
      record.topic = topic;
      world_->Publish(record);
    }
  }
  world_->RunUntilQuiet();
  v1::ShowStateResponse shown = Show("NORTH");
  EXPECT_EQ(shown.stream(), "calls.raw");
  // The units have come to 10 s, and the last unit waits for what comes behind it.
  EXPECT_EQ(TimeUtil::ToString(shown.watermark()), "2016-01-15T12:00:09.999Z");
  ASSERT_EQ(shown.upstream_size(), 1);
  EXPECT_EQ(shown.upstream(0).stream(), "units.raw");
  EXPECT_THAT(Ids(shown.events()), ElementsAre("1", "2"));
  EXPECT_THAT(shown.events(0).values(), ElementsAre("call"));
  EXPECT_THAT(shown.events(1).values(), ElementsAre("unit"));
  EXPECT_THAT(Ids(shown.waiting()), ElementsAre("5", "6", "7"));
  EXPECT_EQ(shown.waiting(1).values(0), "unit");
  EXPECT_EQ(shown.incident().detection_count(), 1);
}

TEST_F(HeldStateTest, EventsInTheWindowAndThoseThatWait) {
  Start(Correlation("place", 5));
  Call("A", 0);
  Call("AB", 10);
  Call("A", 60);
  Call("A", 120);
  v1::ShowStateResponse shown = Show("A");
  EXPECT_EQ(shown.rule_id(), "surge");
  EXPECT_EQ(shown.rule_version(), 3);
  EXPECT_THAT(shown.group_by(), ElementsAre("place"));
  EXPECT_THAT(Ids(shown.events()), ElementsAre("1", "3"));
  EXPECT_EQ(shown.events(0).reference().topic(), "calls.raw");
  EXPECT_EQ(shown.events(1).reference().offset(), OffsetOf(3));
  EXPECT_EQ(shown.events(1).reference().time().seconds(), 1'452'859'260);
  // The last one may not be the last of its time.
  EXPECT_THAT(Ids(shown.waiting()), ElementsAre("4"));
  EXPECT_EQ(TimeUtil::ToString(shown.watermark()), "2016-01-15T12:01:59.999Z");
  EXPECT_EQ(TimeUtil::ToString(shown.highest_time()), "2016-01-15T12:02:00Z");
  ASSERT_EQ(shown.upstream_size(), 1);
  EXPECT_EQ(TimeUtil::ToString(shown.upstream(0).highest_time()), "2016-01-15T12:02:00Z");
  ASSERT_EQ(shown.inputs_size(), 2);
  EXPECT_EQ(shown.inputs(0).topic(), "calls.raw");
  EXPECT_GT(shown.inputs(0).next_offset(), OffsetOf(4));
  EXPECT_FALSE(shown.has_incident());
  EXPECT_FALSE(shown.empty());

  shown = Show("AB");
  EXPECT_THAT(Ids(shown.events()), ElementsAre("2"));
  EXPECT_THAT(shown.waiting(), IsEmpty());
  EXPECT_TRUE(Show("B").empty());
}

TEST_F(HeldStateTest, LongWindowsAndKeysThatBeginAlike) {
  Start(Correlation("place", 500));
  std::vector<std::string> of_a;
  for (int i = 0; i < 60; ++i) {
    Call("A", i);
    of_a.push_back(std::to_string(row_));
    Call("AB", i);
    Call("A1234", i);
  }
  Call("Z", 60);
  EXPECT_EQ(Ids(Show("A").events()), of_a);
  EXPECT_EQ(Show("AB").events_size(), 60);
  EXPECT_EQ(Show("A1234").events_size(), 60);
}

TEST_F(HeldStateTest, TheIncidentThatTheNextDetectionMayJoin) {
  Start(Correlation("place", 2));
  Call("A", 0);
  Call("A", 1);
  Call("A", 2);
  Call("Z", 3);
  const v1::ShowStateResponse shown = Show("A");
  EXPECT_EQ(shown.incident().detection_count(), 1);
  EXPECT_EQ(shown.incident().revision(), 1);
  EXPECT_EQ(TimeUtil::ToString(shown.incident().opened_time()), "2016-01-15T12:00:01Z");
  // What has fired is used up.
  EXPECT_THAT(Ids(shown.events()), ElementsAre("3"));
}

TEST_F(HeldStateTest, ValuesThatAreCountedAreShown) {
  Start(Correlation("township", 9, "value_count", "place"));
  Call("A", 0);
  Call("B", 1);
  Call("C", 2);
  const v1::ShowStateResponse shown = Show("NORTH");
  ASSERT_EQ(shown.events_size(), 2);
  EXPECT_THAT(shown.events(0).values(), ElementsAre("A"));
  ASSERT_EQ(shown.waiting_size(), 1);
  EXPECT_THAT(shown.waiting(0).values(), ElementsAre("C"));
}

TEST_F(HeldStateTest, OpenWindowsWithTheirAggregates) {
  Start(
      "id: busy\nstream: calls.raw\norder: event_time\nmax-disorder: 0s\nidle-timeout: 1h\n"
      "window:\n  type: hopping\n  size: 2m\n  slide: 1m\n  grace: 0s\n  group-by: [township]\n"
      "  aggregates: [{name: n, function: count}, {name: places, function: distinct, field: "
      "place}]\n");
  Call("A", 0);
  Call("B", 10);
  Call("A", 70);
  Call("C", 80);
  Call("C", 80, "SOUTH");
  const v1::ShowStateResponse shown = Show("NORTH");
  ASSERT_EQ(shown.panes_size(), 2);
  EXPECT_EQ(TimeUtil::ToString(shown.panes(0).start()), "2016-01-15T12:00:00Z");
  EXPECT_EQ(TimeUtil::ToString(shown.panes(0).end()), "2016-01-15T12:01:00Z");
  EXPECT_EQ(shown.panes(0).events(), 2);
  EXPECT_EQ(shown.panes(0).aggregates(0).name(), "n");
  EXPECT_EQ(shown.panes(0).aggregates(0).integer(), 2);
  EXPECT_EQ(shown.panes(0).aggregates(1).integer(), 2);
  EXPECT_EQ(shown.panes(1).events(), 1);
  EXPECT_TRUE(shown.has_next_close());
  ASSERT_EQ(shown.waiting_size(), 1);
  EXPECT_EQ(TimeUtil::ToString(shown.waiting(0).reference().time()), "2016-01-15T12:01:20Z");
  EXPECT_EQ(shown.waiting(0).reference().offset(), OffsetOf(4));
  EXPECT_THAT(shown.waiting(0).values(), ElementsAre("", "C"));
}

TEST_F(HeldStateTest, TheKeyNamesThePartition) {
  Start(Correlation("place", 2), 6);
  EXPECT_EQ(Ask({"A"})->Partition("township"), PartitionForKey("A", 6));
  Start(Correlation("agency, township", 2), 6);
  EXPECT_EQ(Ask({"EMS", "NORTH"})->Partition("township"), PartitionForKey("NORTH", 6));
  EXPECT_EQ(Ask({"EMS", "NORTH"})->Partition("place"), std::nullopt);
}

TEST_F(HeldStateTest, QuestionsThatCannotBeAnswered) {
  Start(Correlation("agency, township", 2));
  EXPECT_THAT(StateQuestion::Make(rules_, "surgee", {"EMS", "NORTH"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("surge")));
  EXPECT_THAT(StateQuestion::Make(rules_, "surge", {"EMS"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("agency, township: give 2 values in this order, not 1")));
}

TEST_F(HeldStateTest, AnAnswerIsBounded) {
  Start(Correlation("place", 500));
  Call("A", 0);
  StateExcerpt excerpt(Ask({"A"}));
  const std::string large(StateExcerpt::kMostBytes, 'x');
  const std::string key = Ask({"A"})->ranges().front().first;
  excerpt.Apply(key, large);
  EXPECT_TRUE(excerpt.cut_short());
  EXPECT_TRUE(Describe(excerpt).cut_short());
}

}  // namespace
}  // namespace tocsin::correlation
