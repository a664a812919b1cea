// The rules over a Kafka and a registry in memory.
#include "services/correlation/rule_keeper/rule_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/events/schema_cache.h"
#include "lib/events/testing/fake_registry.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "services/correlation/rule_keeper/streams.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr char kCallProto[] = R"(syntax = "proto3";
package test;
message Call { string place = 1; string township = 2; string agency = 3; int32 units = 4; }
)";

std::string RuleText(std::string_view id, std::string_view key, int at_least,
                     std::string_view where = "agency != 'TEST'") {
  return Concat("id: ", id, "\ntitle: A rule\nseverity: high\nstream: calls.raw\nwhere: ", where,
                "\norder: event_time\ncorrelation:\n  type: event_count\n  group-by: [", key,
                "]\n  timespan: 10m\n  condition: {gte: ", at_least, "}\n");
}

class RuleKeeperTest : public ::testing::Test {
 protected:
  RuleKeeperTest() {
    kafka_.CreateTopic("correlation.rules", 1);
    kafka_.CreateTopic("calls.raw", 3);
    pack::v1::Stream stream;
    stream.set_topic("calls.raw");
    stream.set_message_type("test.Call");
    stream.set_partition_key("township");
    stream.set_partitions(3);
    stream.set_schema_file("call.proto");
    pack_ = {stream};
    admin_ = kafka_.MakeAdmin();
    producer_ = kafka_.MakeProducer();
    schemas_ = events::MakeSchemaCache(registry_, clock_);
    streams_ = std::make_unique<RegistryStreams>(pack_, *schemas_);
  }
  ~RuleKeeperTest() override { StopPolling(); }

  void RegisterSchema() {
    ASSERT_THAT(registry_.Register("calls.raw-value", kCallProto, {}), IsOk());
  }

  std::unique_ptr<RuleKeeper> MakeKeeper() {
    RuleKeeperIo io;
    io.streams = streams_.get();
    io.admin = admin_.get();
    io.producer = producer_.get();
    io.make_consumer = [this]() -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer({});
    };
    io.clock = &clock_;
    io.running_epoch = [this] {
      if (const RuleKeeper* keeper = read_when_asked_) (void)keeper->Current();
      return running_epoch_.load();
    };
    return std::make_unique<RuleKeeper>(io, RuleKeeperOptions{.replication = 1});
  }
  void Start(RuleKeeper& keeper) {
    keeper.Start({ToSpec(pack_[0])},
                 events::OwnTopic("correlation.rules", tocsin::rule::v1::RuleVersion::descriptor(),
                                  "/tocsin/correlation", {schema::SchemaId(9), {0}}));
  }
  // As the control thread does.
  void PollInBackground(RuleKeeper& keeper) {
    polling_ = true;
    poller_ = std::thread([this, &keeper] {
      while (polling_) (void)keeper.Poll(milliseconds(2));
    });
  }
  void StopPolling() {
    polling_ = false;
    if (poller_.joinable()) poller_.join();
  }
  absl::StatusOr<AppliedRule> Apply(RuleKeeper& keeper, const std::string& text) {
    return keeper.Apply(text, "rule.yaml", clock_.SteadyNow() + seconds(10));
  }

  FakeClock clock_;
  FakeKafka kafka_{clock_};
  events::testing::FakeRegistry registry_;
  std::vector<pack::v1::Stream> pack_;
  std::unique_ptr<kafka::Admin> admin_;
  std::unique_ptr<kafka::Producer> producer_;
  std::unique_ptr<events::SchemaCache> schemas_;
  std::unique_ptr<RegistryStreams> streams_;
  std::atomic<std::int64_t> running_epoch_{1'000'000};
  // The workers' answer may wait for one that reads the rules.
  std::atomic<const RuleKeeper*> read_when_asked_{nullptr};
  std::atomic<bool> polling_{false};
  std::thread poller_;
};

TEST_F(RuleKeeperTest, ATableHasTheNewestSchemaOfItsTopic) {
  RegisterSchema();
  pack::v1::Table table;
  table.set_topic("townships");
  table.set_schema_file("township.proto");
  table.set_message_type("test.Township");
  pack::v1::Table later = table;
  later.set_topic("later");
  const RegistryStreams streams(pack_, *schemas_, {table, later});
  EXPECT_THAT(streams.TableNames(), ::testing::ElementsAre("later", "townships"));
  EXPECT_THAT(streams.FindTable("other"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(streams.FindTable("later"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                   HasSubstr("register township.proto")));
  EXPECT_THAT(registry_.Register("townships-value",
                                 "syntax = \"proto3\"; package test; enum Size { SIZE_NONE = 0; "
                                 "SIZE_CITY = 1; } message Township { Size size = 1; }\n",
                                 {}),
              IsOk());
  EXPECT_THAT(streams.FindTable("townships"), IsOk());
  // Both come from the registry as files of one name.
  EXPECT_THAT(CompileRule("id: r\nstream: calls.raw\n"
                          "enrich: [{table: townships, key: township, as: home}]\n"
                          "where: home.size == Size.SIZE_CITY\n"
                          "correlation: {type: event_count, group-by: [place], timespan: 1m, "
                          "condition: {gte: 2}}\n",
                          "r.yaml", streams),
              IsOk());
}

// Both streams' plans know of a join, and its topics exist; with unequal partitions it is refused.
TEST_F(RuleKeeperTest, AJoinIsPartOfTwoPlans) {
  RegisterSchema();
  ASSERT_THAT(registry_.Register("units.raw-value", kCallProto, {}), IsOk());
  kafka_.CreateTopic("units.raw", 3);
  pack::v1::Stream units = pack_[0];
  units.set_topic("units.raw");
  pack_.push_back(units);
  pack::v1::Stream wide = units;
  wide.set_topic("wide.raw");
  wide.set_partitions(4);
  ASSERT_THAT(registry_.Register("wide.raw-value", kCallProto, {}), IsOk());
  pack_.push_back(wide);
  streams_ = std::make_unique<RegistryStreams>(pack_, *schemas_);
  auto keeper = MakeKeeper();
  keeper->Start({ToSpec(pack_[0]), ToSpec(pack_[1]), ToSpec(pack_[2])},
                events::OwnTopic("correlation.rules", tocsin::rule::v1::RuleVersion::descriptor(),
                                 "/tocsin/correlation", {schema::SchemaId(9), {0}}));
  PollInBackground(*keeper);
  while (keeper->Current()->epoch == 0) std::this_thread::yield();
  const auto text = [](const char* right) {
    return Concat("id: met\norder: event_time\njoin:\n",
                  "  left: {stream: calls.raw, key: [place], as: call}\n",
                  "  right: {stream: ", right, ", key: [agency], as: unit}\n  within: 5m\n");
  };
  EXPECT_THAT(Apply(*keeper, text("wide.raw")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("calls.raw has 3 partitions and wide.raw has 4")));
  ASSERT_THAT(Apply(*keeper, text("units.raw")), IsOk());
  const auto set = keeper->Current();
  const std::string data = "correlation-units.raw-by-agency-for-calls.raw-repartition";
  const std::string time = "correlation-calls.raw-by-.time-for-units.raw-repartition";
  EXPECT_EQ(set->PlanReading(data)->stream().topic, "calls.raw");
  EXPECT_EQ(set->PlanReading(time)->stream().topic, "units.raw");
  EXPECT_NE(set->FindStream("units.raw")->FindWritten(data), nullptr);
  EXPECT_NE(set->FindStream("calls.raw")->FindWritten(time), nullptr);
  const auto topics = admin_->ListTopics(seconds(1));
  ASSERT_THAT(topics, IsOk());
  for (const std::string& topic : set->InputTopics()) {
    if (topic == "wide.raw") continue;
    ASSERT_TRUE(topics->contains(topic)) << topic;
    EXPECT_EQ(topics->at(topic).partitions, 3) << topic;
  }
  EXPECT_THAT(keeper->Delete("met", clock_.SteadyNow() + seconds(10)), IsOk());
  EXPECT_EQ(keeper->Current()->PlanReading(data), nullptr);
  EXPECT_EQ(keeper->Current()->InputTopics().size(), 3U);
  StopPolling();
}

TEST_F(RuleKeeperTest, AppliesCountsVersionsAndDeletes) {
  RegisterSchema();
  auto keeper = MakeKeeper();
  Start(*keeper);
  PollInBackground(*keeper);
  ASSERT_TRUE([&] {
    while (keeper->Current()->epoch == 0) std::this_thread::yield();
    return true;
  }());
  auto applied = Apply(*keeper, RuleText("repeat", "place", 2));
  ASSERT_THAT(applied, IsOk());
  EXPECT_TRUE(applied->changed);
  EXPECT_EQ(applied->version.version(), 1);
  EXPECT_EQ(applied->version.rule().id(), "repeat");
  // Another text of the same content changes nothing.
  applied = Apply(*keeper, Concat("# the same\n", RuleText("repeat", "place", 2)));
  ASSERT_THAT(applied, IsOk());
  EXPECT_FALSE(applied->changed);
  EXPECT_EQ(applied->version.version(), 1);
  applied = Apply(*keeper, RuleText("repeat", "place", 3));
  ASSERT_THAT(applied, IsOk());
  EXPECT_EQ(applied->version.version(), 2);
  ASSERT_THAT(Apply(*keeper, RuleText("surge", "township", 5)), IsOk());

  const auto set = keeper->Current();
  ASSERT_EQ(set->plans.size(), 1U);
  EXPECT_EQ(set->plans[0]->local().size(), 1U);
  ASSERT_EQ(set->plans[0]->repartitions().size(), 1U);
  EXPECT_EQ(set->plans[0]->repartitions()[0].rules[0].version, 2);
  // What it needs exists, with as many partitions as the stream.
  const auto topics = admin_->ListTopics(seconds(1));
  ASSERT_THAT(topics, IsOk());
  EXPECT_EQ(topics->at("correlation-calls.raw-changelog").partitions, 3);
  EXPECT_EQ(topics->at("correlation-workers").partitions, 1);
  EXPECT_EQ(topics->at("correlation-calls.raw-by-place-repartition").partitions, 3);

  ASSERT_EQ(keeper->List().size(), 2U);
  EXPECT_THAT(keeper->Delete("repeat", clock_.SteadyNow() + seconds(10)), IsOk());
  EXPECT_EQ(keeper->List().size(), 1U);
  EXPECT_TRUE(keeper->Current()->plans[0]->repartitions().empty());
  EXPECT_THAT(keeper->Delete("surges", clock_.SteadyNow() + seconds(10)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("did you mean surge?")));

  // Another process comes to the same.
  StopPolling();
  auto other = MakeKeeper();
  Start(*other);
  ASSERT_THAT(other->Poll(milliseconds(0)), IsOk());
  ASSERT_EQ(other->List().size(), 1U);
  EXPECT_EQ(other->List()[0].rule().id(), "surge");
  EXPECT_EQ(other->Current()->plans[0]->local().size(), 1U);
}

TEST_F(RuleKeeperTest, RefusesWithLineColumnAndReason) {
  RegisterSchema();
  auto keeper = MakeKeeper();
  EXPECT_THAT(Apply(*keeper, RuleText("bad", "place", 2, "agenci == 'EMS'")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rule.yaml:5:8:")));
  EXPECT_THAT(Apply(*keeper, RuleText("bad", "plaze", 2)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("plaze")));
  EXPECT_THAT(keeper->Compile(RuleText("good", "place", 2), ""), IsOk());
}

TEST_F(RuleKeeperTest, WithoutASchemaItSaysWhatToDo) {
  auto keeper = MakeKeeper();
  EXPECT_THAT(Apply(*keeper, RuleText("repeat", "place", 2)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("no schema for stream calls.raw yet: register call.proto")));
}

TEST_F(RuleKeeperTest, BeforeTheTopicIsReadNothingChanges) {
  RegisterSchema();
  auto keeper = MakeKeeper();
  EXPECT_THAT(Apply(*keeper, RuleText("repeat", "place", 2)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("the process is starting")));
}

// A rule that cannot be compiled because the registry is away holds the start back: events must not
// pass it by.
TEST_F(RuleKeeperTest, TheRegistryBeingAwayHoldsTheStartBack) {
  RegisterSchema();
  {
    auto keeper = MakeKeeper();
    Start(*keeper);
    PollInBackground(*keeper);
    while (keeper->Current()->epoch == 0) std::this_thread::yield();
    ASSERT_THAT(Apply(*keeper, RuleText("surge", "township", 5)), IsOk());
    StopPolling();
  }
  events::testing::FakeRegistry away;
  away.FailWith(Unavailable("the registry does not answer"));
  const auto schemas = events::MakeSchemaCache(away, clock_);
  streams_ = std::make_unique<RegistryStreams>(pack_, *schemas);
  auto keeper = MakeKeeper();
  Start(*keeper);
  EXPECT_THAT(keeper->Poll(milliseconds(0)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("rule surge: ")));
  EXPECT_EQ(keeper->Current()->epoch, 0);
  away.FailWith(absl::OkStatus());
  ASSERT_THAT(away.Register("calls.raw-value", kCallProto, {}), IsOk());
  clock_.Advance(seconds(5));
  EXPECT_THAT(keeper->Poll(milliseconds(0)), IsOk());
  EXPECT_EQ(keeper->Current()->plans[0]->local().size(), 1U);
}

// One that the schema no longer has room for does not: it keeps its state and waits for its author.
TEST_F(RuleKeeperTest, ARuleThatTheSchemaLeftBehindDoesNotStopTheOthers) {
  RegisterSchema();
  {
    auto keeper = MakeKeeper();
    Start(*keeper);
    PollInBackground(*keeper);
    while (keeper->Current()->epoch == 0) std::this_thread::yield();
    ASSERT_THAT(Apply(*keeper, RuleText("surge", "township", 5)), IsOk());
    ASSERT_THAT(Apply(*keeper, RuleText("units", "township", 5, "units > 3")), IsOk());
    StopPolling();
  }
  ASSERT_THAT(
      registry_.Register("calls.raw-value",
                         "syntax = \"proto3\"; package test;\nmessage Call { string place = "
                         "1; string township = 2; string agency = 3; }\n",
                         {}),
      IsOk());
  clock_.Advance(seconds(10));
  auto keeper = MakeKeeper();
  Start(*keeper);
  EXPECT_THAT(keeper->Poll(milliseconds(0)), IsOk());
  const auto plan = keeper->Current()->plans[0];
  ASSERT_EQ(plan->local().size(), 1U);
  EXPECT_EQ(plan->local()[0].rule->id(), "surge");
  EXPECT_TRUE(plan->Keeps("units", 1));
  EXPECT_EQ(keeper->List().size(), 2U);
}

TEST_F(RuleKeeperTest, WrongInternalTopicsAreSaid) {
  RegisterSchema();
  kafka_.CreateTopic("correlation-calls.raw-changelog", 1);
  auto keeper = MakeKeeper();
  Start(*keeper);
  EXPECT_THAT(keeper->Poll(milliseconds(0)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("correlation-calls.raw-changelog has 1 partitions, its stream has "
                                 "3; they must be equal")));
}

TEST_F(RuleKeeperTest, StoredButNotYetRunningIsTold) {
  RegisterSchema();
  auto keeper = MakeKeeper();
  Start(*keeper);
  PollInBackground(*keeper);
  while (keeper->Current()->epoch == 0) std::this_thread::yield();
  running_epoch_ = 0;
  std::thread time([&] {
    while (kafka_.Log("correlation.rules").empty()) std::this_thread::yield();
    clock_.Advance(seconds(11));
  });
  EXPECT_THAT(Apply(*keeper, RuleText("surge", "township", 5)),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("version 1 of rule surge is stored and will come into force, but "
                                 "the workers do not run it yet")));
  time.join();
  StopPolling();
}

TEST_F(RuleKeeperTest, WorkersMayReadTheRulesBeforeTheyAnswer) {
  RegisterSchema();
  const std::unique_ptr<RuleKeeper> keeper = MakeKeeper();
  Start(*keeper);
  read_when_asked_ = keeper.get();
  PollInBackground(*keeper);
  while (keeper->Current()->epoch == 0) std::this_thread::yield();
  EXPECT_THAT(Apply(*keeper, RuleText("surge", "township", 5)), IsOk());
  StopPolling();
}

TEST_F(RuleKeeperTest, KafkaAwayIsAnErrorThatPasses) {
  RegisterSchema();
  kafka_.SetReachable(false);
  auto keeper = MakeKeeper();
  Start(*keeper);
  EXPECT_THAT(keeper->Poll(milliseconds(0)), StatusIs(absl::StatusCode::kUnavailable));
  kafka_.SetReachable(true);
  EXPECT_THAT(keeper->Poll(milliseconds(0)), IsOk());
}

}  // namespace
}  // namespace tocsin::correlation
