// Joins of two streams against a brute force over all pairs, in a world of crashes, cut batches,
// repeated events and any interleaving of both streams' tasks.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/world.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::Message;
using std::chrono::seconds;
using testing::World;
using testing::WorldOptions;

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kBegin = 1'700'000'000 * kSecond;
constexpr std::int32_t kPartitions = 3;
constexpr std::int64_t kDisorder = 2 * kSecond;

const Descriptor* Build(const char* text, const char* name) {
  google::protobuf::FileDescriptorProto file;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &file));
  // Two pools, as with two subjects of a registry.
  static std::deque<google::protobuf::DescriptorPool> pools;
  EXPECT_NE(pools.emplace_back().BuildFile(file), nullptr);
  return pools.back().FindMessageTypeByName(name);
}

const Descriptor* PaymentType() {
  static const Descriptor* const type = Build(
      R"(name: "event.proto" package: "bank" syntax: "proto3"
         message_type { name: "Payment"
           field { name: "card" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
           field { name: "amount" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
           field { name: "shop" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL } })",
      "bank.Payment");
  return type;
}

const Descriptor* RefusalType() {
  static const Descriptor* const type = Build(
      R"(name: "event.proto" package: "bank" syntax: "proto3"
         message_type { name: "Refusal"
           field { name: "place" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
           field { name: "number" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
           field { name: "limit" number: 3 type: TYPE_INT64 label: LABEL_OPTIONAL } })",
      "bank.Refusal");
  return type;
}

struct Event {
  bool refusal = false;
  // Within its stream: both streams have the same identities.
  std::int64_t row = 0;
  std::int64_t time_us = 0;
  std::string card;
  std::string shop;
  std::int64_t amount = 0;
  std::string sequence;
};

std::string Name(const Event& event) { return Concat(event.refusal ? "r" : "p", event.row); }

kafka::Record MakeRecord(const Event& event) {
  static google::protobuf::DynamicMessageFactory factory;
  const Descriptor* type = event.refusal ? RefusalType() : PaymentType();
  const std::unique_ptr<Message> message(factory.GetPrototype(type)->New());
  const std::string text =
      event.refusal
          ? Concat("number: '", event.card, "' limit: ", event.amount, " place: '", event.shop, "'")
          : Concat("card: '", event.card, "' amount: ", event.amount, " shop: '", event.shop, "'");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, message.get()));
  constexpr std::int32_t kFirstMessage[] = {0};
  kafka::Record record;
  record.topic = event.refusal ? "refusals" : "payments";
  record.key = event.card;
  record.value =
      schema::EncodeFrame(schema::SchemaId(7), kFirstMessage, message->SerializeAsString());
  record.headers.Set("ce_id", std::to_string(event.row));
  record.headers.Set("ce_source", "test://bank");
  record.headers.Set("ce_type", type->full_name());
  record.headers.Set("ce_time", FormatTime(FromMicros(event.time_us)));
  if (!event.sequence.empty()) record.headers.Set("ce_sequence", event.sequence);
  return record;
}

struct JoinSpec {
  std::string id;
  // The left stream: refusals instead of payments.
  bool turned = false;
  bool by_shop = false;
  bool judged = false;
  std::int64_t within_us = 10 * kSecond;
  std::size_t max_events = 1'000;
  std::size_t max_pairs = 100;
  std::string more;
};

std::string Yaml(const JoinSpec& spec) {
  const std::string payments =
      Concat("{stream: payments, ", spec.judged ? "where: amount > 1, " : "", "key: [",
             spec.by_shop ? "shop" : "card", "], as: paid}");
  const std::string refusals =
      Concat("{stream: refusals, key: [", spec.by_shop ? "place" : "number", "], as: refused}");
  return Concat("id: ", spec.id, "\norder: event_time\nidle-timeout: 5s\nmax-disorder: 2s\njoin:\n",
                "  left: ", spec.turned ? refusals : payments,
                "\n  right: ", spec.turned ? payments : refusals,
                "\n  within: ", spec.within_us / 1'000, "ms\n  max-events: ", spec.max_events,
                "\n  max-pairs: ", spec.max_pairs, "\n",
                spec.judged ? "  where: paid.amount > refused.limit\n" : "");
}

std::vector<std::shared_ptr<const RulePlan>> PlansOf(const std::vector<JoinSpec>& specs) {
  const FixedStreams streams({{"payments", PaymentType(), "card", nullptr},
                              {"refusals", RefusalType(), "number", nullptr}});
  std::vector<RuleEntry> rules;
  for (const JoinSpec& spec : specs) {
    const auto rule = CompileRule(Yaml(spec), "rule.yaml", streams);
    EXPECT_THAT(rule.status(), IsOk());
    rules.push_back({*rule, 1});
  }
  std::vector<std::shared_ptr<const RulePlan>> plans;
  for (const char* topic : {"payments", "refusals"}) {
    StreamSpec stream;
    stream.topic = topic;
    stream.partitions = kPartitions;
    stream.message_type = plans.empty() ? "bank.Payment" : "bank.Refusal";
    std::vector<RuleEntry> own;
    std::vector<RuleEntry> joins;
    for (const RuleEntry& rule : rules) {
      (rule.rule->stream() == topic ? own : joins).push_back(rule);
    }
    plans.push_back(RulePlan::Make(stream, own, {}, joins));
  }
  return plans;
}

// --- what must be found ---

bool TakesPart(const JoinSpec& spec, const Event& event) {
  return event.refusal || !spec.judged || event.amount > 1;
}

bool Fit(const JoinSpec& spec, const Event& payment, const Event& refusal) {
  return (spec.by_shop ? payment.shop == refusal.shop : payment.card == refusal.card) &&
         std::abs(payment.time_us - refusal.time_us) <= spec.within_us &&
         (!spec.judged || payment.amount > refusal.amount);
}

std::vector<std::string> AllPairs(const JoinSpec& spec, const std::vector<Event>& events) {
  std::vector<std::string> found;
  for (const Event& payment : events) {
    if (payment.refusal || !TakesPart(spec, payment)) continue;
    for (const Event& refusal : events) {
      if (!refusal.refusal || !Fit(spec, payment, refusal)) continue;
      found.push_back(Concat(spec.by_shop ? payment.shop : payment.card, " ", Name(payment), " ",
                             Name(refusal), " ",
                             std::max(payment.time_us, refusal.time_us) - kBegin));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

// --- what was found ---

std::vector<std::string> Detections(World& world, const std::string& rule) {
  std::vector<std::string> found;
  for (const kafka::Record& record : world.LogOf("detections")) {
    v1::Detection detection;
    const auto framed = schema::DecodeFrame(*record.value);
    EXPECT_TRUE(
        detection.ParseFromArray(framed->payload.data(), static_cast<int>(framed->payload.size())));
    if (detection.rule_id() != rule) continue;
    std::string payment;
    std::string refusal;
    for (const auto& event : detection.evidence()) {
      const bool right = event.topic() == "refusals";
      (right ? refusal : payment) = Concat(right ? "r" : "p", event.id());
    }
    EXPECT_EQ(detection.evidence_size(), 2);
    EXPECT_EQ(
        google::protobuf::util::TimeUtil::TimestampToMicroseconds(detection.evidence(1).time()),
        google::protobuf::util::TimeUtil::TimestampToMicroseconds(detection.time()));
    found.push_back(Concat(
        detection.group_key(0), " ", payment, " ", refusal, " ",
        google::protobuf::util::TimeUtil::TimestampToMicroseconds(detection.time()) - kBegin));
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Says what is too much and what is missing, not all there is.
void ExpectSame(const std::vector<std::string>& found, const std::vector<std::string>& expected) {
  std::vector<std::string> extra;
  std::vector<std::string> missing;
  std::set_difference(found.begin(), found.end(), expected.begin(), expected.end(),
                      std::back_inserter(extra));
  std::set_difference(expected.begin(), expected.end(), found.begin(), found.end(),
                      std::back_inserter(missing));
  EXPECT_THAT(extra, ::testing::IsEmpty());
  EXPECT_THAT(missing, ::testing::IsEmpty());
}

std::set<std::string> DetectionIds(World& world) {
  std::set<std::string> ids;
  for (const kafka::Record& record : world.LogOf("detections")) {
    EXPECT_TRUE(ids.insert(std::string(*record.headers.Find("ce_id"))).second);
  }
  return ids;
}

class JoinTest : public ::testing::TestWithParam<int> {
 protected:
  JoinTest() : random_(static_cast<std::uint64_t>(GetParam())) {}

  WorldOptions Options() const {
    WorldOptions options;
    options.seed = static_cast<std::uint64_t>(GetParam());
    options.max_batch = 1 + options.seed % 40;
    options.task.max_release = 1 + options.seed * 7 % 50;
    options.task.max_sweep = 1 + options.seed % 9;
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    return options;
  }

  // In the order in which they are sent.
  std::vector<Event> Events(std::size_t count, std::int64_t disorder_us) {
    std::vector<std::pair<std::int64_t, Event>> sent;
    std::map<bool, std::int64_t> rows;
    for (std::size_t i = 0; i < count; ++i) {
      Event event;
      event.refusal = random_() % 3 == 0;
      event.row = ++rows[event.refusal];
      event.time_us = kBegin + static_cast<std::int64_t>(i) * 300'000;
      // Many at one time, on both sides.
      if (random_() % 3 == 0) event.time_us = event.time_us / kSecond * kSecond;
      event.card = Concat("c", random_() % 7);
      event.shop = Concat("s", random_() % 4);
      event.amount = static_cast<std::int64_t>(random_() % 6);
      if (random_() % 2 == 0) event.sequence = absl::StrFormat("%06d", random_() % 5);
      sent.emplace_back(event.time_us + static_cast<std::int64_t>(
                                            random_() % static_cast<std::uint64_t>(disorder_us)),
                        event);
    }
    std::stable_sort(sent.begin(), sent.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Event> events;
    for (auto& [at, event] : sent) events.push_back(event);
    return events;
  }

  void Deliver(World& world, const std::vector<Event>& events) {
    std::vector<Event> again;
    for (const Event& event : events) {
      world.Publish(MakeRecord(event));
      if (random_() % 10 == 0) again.push_back(event);
      if (!again.empty() && random_() % 20 == 0) {
        world.Publish(MakeRecord(again.back()));
        again.pop_back();
      }
      for (std::size_t n = random_() % 6; n > 0; --n) world.RunSomething();
    }
  }

  static void Settle(World& world) {
    world.RunUntilQuiet();
    world.StopCrashing();
    world.Wait(seconds(30));
    world.RunUntilQuiet();
  }

  std::mt19937_64 random_;
};
INSTANTIATE_TEST_SUITE_P(Seeds, JoinTest, ::testing::Range(1, 41));

std::vector<JoinSpec> Joins() {
  JoinSpec local;
  local.id = "local";
  JoinSpec through_topic;
  through_topic.id = "through-topic";
  through_topic.by_shop = true;
  through_topic.judged = true;
  through_topic.within_us = 4 * kSecond;
  JoinSpec turned;
  turned.id = "turned";
  turned.turned = true;
  turned.judged = true;
  turned.within_us = 6 * kSecond;
  return {local, through_topic, turned};
}

void ExpectReconciled(World& world, const std::vector<JoinSpec>& joins) {
  for (const std::size_t stream : {0U, 1U}) {
    const Counts& counts = world.counts(stream);
    EXPECT_EQ(Unreconciled(counts), "");
    for (const JoinSpec& join : joins) {
      const RuleCounts& of_rule = counts.rules.at(join.id);
      EXPECT_EQ(counts.accepted,
                of_rule.filtered + of_rule.missing_key + of_rule.late + of_rule.taken);
      EXPECT_EQ(of_rule.dropped.size(), 0U);
    }
  }
}

TEST_P(JoinTest, FindsThePairsOfTheBruteForce) {
  const std::vector<JoinSpec> joins = Joins();
  World world(PlansOf(joins), Options());
  const std::vector<Event> events = Events(250, 1'500'000);
  Deliver(world, events);
  Settle(world);
  for (const JoinSpec& join : joins) {
    SCOPED_TRACE(join.id);
    const std::vector<std::string> expected = AllPairs(join, events);
    EXPECT_GT(expected.size(), 20U);
    ExpectSame(Detections(world, join.id), expected);
    EXPECT_EQ(world.counts(0).rules.at(join.id).late, 0);
    EXPECT_EQ(world.counts(1).rules.at(join.id).late, 0);
  }
  DetectionIds(world);
  ExpectReconciled(world, joins);
  // Then nothing is written any more.
  const std::int64_t commits = world.commits();
  world.Wait(seconds(60));
  EXPECT_EQ(world.commits(), commits);
}

// What its own partition had promised before it decides whether an event is late, on both sides.
TEST_P(JoinTest, LateEventsMakeNoPairs) {
  const std::vector<JoinSpec> joins = Joins();
  World world(PlansOf(joins), Options());
  const std::vector<Event> events = Events(250, 6'000'000);
  Deliver(world, events);
  world.RunUntilQuiet();
  std::map<std::string, Event> by_name;
  for (const Event& event : events) by_name[Name(event)] = event;
  std::vector<Event> in_time;
  std::map<std::pair<bool, bool>, std::int64_t> late;
  for (const bool refusal : {false, true}) {
    for (std::int32_t p = 0; p < kPartitions; ++p) {
      std::optional<std::int64_t> highest;
      std::set<std::string> seen;
      for (const kafka::Record& record : world.Log(refusal ? "refusals" : "payments", p)) {
        const std::string name = Concat(refusal ? "r" : "p", *record.headers.Find("ce_id"));
        if (!seen.insert(name).second) continue;
        const Event& event = by_name.at(name);
        if (highest.has_value() && event.time_us <= *highest - kDisorder - 1'000) {
          ++late[{refusal, false}];
          if (event.refusal || event.amount > 1) ++late[{refusal, true}];
        } else {
          in_time.push_back(event);
        }
        highest = std::max(highest.value_or(event.time_us), event.time_us);
      }
    }
  }
  Settle(world);
  for (const JoinSpec& join : joins) {
    SCOPED_TRACE(join.id);
    ExpectSame(Detections(world, join.id), AllPairs(join, in_time));
    EXPECT_EQ(world.counts(0).rules.at(join.id).late, (late[{false, join.judged}]));
    EXPECT_EQ(world.counts(1).rules.at(join.id).late, (late[{true, join.judged}]));
  }
  EXPECT_GT((late[{false, false}]), 0);
  ExpectReconciled(world, joins);
}

// One side may be silent for as long as it likes: the other goes on, and nothing is held for ever.
TEST_P(JoinTest, ASilentStreamHoldsNobodyBack) {
  const std::vector<JoinSpec> joins = Joins();
  WorldOptions options = Options();
  options.task.max_sweep = 1'000;
  World world(PlansOf(joins), options);
  std::vector<Event> events = Events(60, 1);
  const bool silent = GetParam() % 2 == 0;
  // The rest of that side never comes.
  std::size_t left = 3;
  std::erase_if(events, [&](const Event& event) {
    return event.refusal == silent && (left == 0 || left-- == 0);
  });
  Deliver(world, events);
  Settle(world);
  for (const JoinSpec& join : joins) {
    SCOPED_TRACE(join.id);
    ExpectSame(Detections(world, join.id), AllPairs(join, events));
  }
  // An hour later the side that spoke speaks again, everywhere.
  std::vector<Event> later;
  for (std::int64_t i = 0; i < 30; ++i) {
    Event event;
    event.refusal = !silent;
    event.row = 1'000 + i;
    event.time_us = kBegin + 3'600 * kSecond + i * kSecond;
    event.card = Concat("other ", i);
    event.shop = Concat("other ", i);
    later.push_back(event);
  }
  Deliver(world, later);
  Settle(world);
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    for (const auto& [key, value] : world.state(p).entries()) {
      // What came within the last `within` may stay.
      EXPECT_EQ(value.find("c0"), std::string::npos) << "kept for ever under " << key.front();
      EXPECT_NE(key.front(), 'b') << "held for ever";
    }
  }
}

// The same with caps, event by event in the order of release.
TEST_P(JoinTest, CapsDropWhatTheySayAndCountIt) {
  JoinSpec join;
  join.id = "capped";
  join.max_events = 4;
  join.max_pairs = 2;
  join.within_us = 20 * kSecond;
  World world(PlansOf({join}), Options());
  std::vector<Event> events = Events(250, 1'500'000);
  std::int64_t number = 0;
  // Each with a place of its own in the order, whatever its partition.
  for (Event& event : events) event.sequence = absl::StrFormat("%06d", ++number);
  Deliver(world, events);
  Settle(world);

  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return std::tie(a.time_us, a.sequence) < std::tie(b.time_us, b.sequence);
  });
  std::map<std::string, std::deque<Event>> kept;
  std::vector<std::string> expected;
  std::int64_t full = 0;
  std::int64_t many = 0;
  for (const Event& event : events) {
    std::deque<Event>& of_key = kept[event.card];
    std::erase_if(of_key,
                  [&](const Event& old) { return old.time_us < event.time_us - join.within_us; });
    std::size_t pairs = 0;
    for (auto other = of_key.rbegin(); other != of_key.rend(); ++other) {
      if (other->refusal == event.refusal) continue;
      if (++pairs > join.max_pairs) {
        ++many;
        continue;
      }
      expected.push_back(Concat(event.card, " ", Name(event.refusal ? *other : event), " ",
                                Name(event.refusal ? event : *other), " ", event.time_us - kBegin));
    }
    of_key.push_back(event);
    if (of_key.size() > join.max_events) {
      of_key.pop_front();
      ++full;
    }
  }
  std::sort(expected.begin(), expected.end());
  ExpectSame(Detections(world, "capped"), expected);
  const auto& dropped = world.counts(0).rules.at("capped").dropped;
  EXPECT_EQ(dropped.at("join_full"), full);
  EXPECT_EQ(dropped.at("too_many_pairs"), many);
}

// A rule that goes leaves nothing, and neither stream's tasks wait for it.
TEST_P(JoinTest, ARuleThatIsGoneLeavesNothing) {
  World world(PlansOf(Joins()), Options());
  const std::vector<Event> events = Events(120, 1'500'000);
  Deliver(world, events);
  world.RunUntilQuiet();
  world.SetPlans(PlansOf({Joins().front()}));
  world.RunUntilQuiet();
  Settle(world);
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    for (const auto& [key, value] : world.state(p).entries()) {
      EXPECT_EQ(key.find("through-topic"), std::string::npos) << key.front();
    }
  }
  ExpectSame(Detections(world, "local"), AllPairs(Joins().front(), events));
}

}  // namespace
}  // namespace tocsin::correlation
