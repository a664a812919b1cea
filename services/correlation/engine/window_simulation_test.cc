// Window rules against a brute force over the log, in a world of crashes, cut batches and any
// interleaving. The brute force keeps plain lists of events and computes each result anew.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_format.h"
#include "lib/base/hash.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/world.h"
#include "tocsin/correlation/v1/aggregate.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::World;
using testing::WorldOptions;

constexpr std::int64_t kMs = 1'000;
constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int32_t kPartitions = 4;

const google::protobuf::Descriptor* BidDescriptor() {
  static const google::protobuf::Descriptor* const descriptor = [] {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
        R"(name: "bid.proto" package: "test" syntax: "proto3"
           message_type { name: "Bid"
             field { name: "auction" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
             field { name: "user" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
             field { name: "price" number: 3 type: TYPE_INT64 label: LABEL_OPTIONAL } })",
        &file));
    static google::protobuf::DescriptorPool pool;
    return pool.BuildFile(file)->FindMessageTypeByName("Bid");
  }();
  return descriptor;
}

struct Bid {
  std::int64_t row = 0;
  std::int64_t time_us = 0;
  std::string auction;
  std::string user;
  std::int64_t price = 0;
};

kafka::Record MakeRecord(const Bid& bid) {
  static google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> message(
      factory.GetPrototype(BidDescriptor())->New());
  const auto field = [&](const char* name) { return BidDescriptor()->FindFieldByName(name); };
  message->GetReflection()->SetString(message.get(), field("auction"), bid.auction);
  message->GetReflection()->SetString(message.get(), field("user"), bid.user);
  message->GetReflection()->SetInt64(message.get(), field("price"), bid.price);
  constexpr std::int32_t kFirstMessage[] = {0};
  kafka::Record record;
  record.topic = "bids";
  record.key = bid.auction;
  record.value =
      schema::EncodeFrame(schema::SchemaId(7), kFirstMessage, message->SerializeAsString());
  record.headers.Set("ce_id", std::to_string(bid.row));
  record.headers.Set("ce_source", "test://bids");
  record.headers.Set("ce_type", "test.Bid");
  record.headers.Set("ce_time", FormatTime(FromMicros(bid.time_us)));
  record.headers.Set("ce_sequence", absl::StrFormat("%012d", bid.row));
  return record;
}

std::shared_ptr<const RulePlan> PlanOf(const std::vector<std::string>& rules) {
  const FixedStreams streams({{"bids", BidDescriptor(), "auction", nullptr}});
  std::vector<RuleEntry> entries;
  for (const std::string& yaml : rules) {
    const auto rule = CompileRule(yaml, "rule.yaml", streams);
    EXPECT_THAT(rule.status(), IsOk());
    entries.push_back({*rule, 1});
  }
  StreamSpec stream;
  stream.topic = "bids";
  stream.partitions = kPartitions;
  stream.message_type = "test.Bid";
  stream.late = true;
  return RulePlan::Make(stream, entries);
}

constexpr char kAggregates[] =
    "aggregates: [{name: n, function: count}, {name: sum, function: sum, field: price}, {name: "
    "min, "
    "function: min, field: price}, {name: users, function: distinct, field: user}, {name: hot, "
    "function: top_k, field: user, k: 1}]";

// --- what must be found ---

// In the order in which it is taken up.
struct Taken {
  std::int64_t position_us = 0;
  Bid bid;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  // What its partition had promised before it.
  std::int64_t promised_us = 0;
};

// As the log has them, each identity once.
std::vector<Taken> ReadLog(World& world, const std::map<std::string, Bid>& bids,
                           std::int64_t disorder_us) {
  std::vector<Taken> taken;
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    std::set<std::string> seen;
    std::int64_t highest = std::numeric_limits<std::int64_t>::min() / 2;
    for (const kafka::Record& record : world.Log("bids", p)) {
      const std::string id(*record.headers.Find("ce_id"));
      if (!seen.insert(id).second) continue;
      const Bid& bid = bids.at(id);
      taken.push_back({0, bid, p, record.offset, highest - disorder_us - kMs});
      highest = std::max(highest, bid.time_us);
    }
  }
  return taken;
}

void SortByPosition(std::vector<Taken>& taken) {
  std::sort(taken.begin(), taken.end(), [](const Taken& a, const Taken& b) {
    return std::tie(a.position_us, a.bid.row, a.partition, a.offset) <
           std::tie(b.position_us, b.bid.row, b.partition, b.offset);
  });
}

std::string Describe(const std::string& key, std::int64_t start, std::int64_t end,
                     const std::vector<Bid>& bids) {
  std::int64_t sum = 0;
  std::int64_t least = bids.front().price;
  std::map<std::string, int> users;
  for (const Bid& bid : bids) {
    sum += bid.price;
    least = std::min(least, bid.price);
    ++users[bid.user];
  }
  int most = 0;
  for (const auto& [user, times] : users) most = std::max(most, times);
  std::string hot;
  for (const auto& [user, times] : users) {
    if (times == most) hot += Concat(user, "*", times, " ");
  }
  return Concat(key, " [", start, ",", end, ") n=", bids.size(), " sum=", sum, " min=", least,
                " users=", users.size(), " hot=", hot);
}

std::string Describe(const v1::WindowResult& result) {
  const auto us = [](const google::protobuf::Timestamp& time) {
    return time.seconds() * kSecond + time.nanos() / 1000;
  };
  std::string hot;
  for (const v1::TopEntry& entry : result.aggregates(4).top().entries()) {
    hot += Concat(entry.value(), "*", entry.count(), " ");
  }
  EXPECT_EQ(result.aggregates(0).integer(), result.events());
  return Concat(result.group_key_size() == 0 ? std::string("all") : result.group_key(0), " [",
                us(result.window_start()), ",", us(result.window_end()),
                ") n=", result.aggregates(0).integer(), " sum=", result.aggregates(1).integer(),
                " min=", result.aggregates(2).integer(), " users=", result.aggregates(3).integer(),
                " hot=", hot);
}

std::vector<v1::WindowResult> Results(World& world, const std::string& rule) {
  std::vector<v1::WindowResult> results;
  std::set<std::string> ids;
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    for (const kafka::Record& record : world.Log(std::string(kAggregatesTopic), p)) {
      EXPECT_TRUE(ids.insert(std::string(*record.headers.Find("ce_id"))).second) << "told twice";
      const auto frame = schema::DecodeFrame(*record.value);
      v1::WindowResult result;
      EXPECT_TRUE(frame.ok() && result.ParseFromString(std::string(frame->payload)));
      if (result.rule_id() == rule) results.push_back(result);
    }
  }
  return results;
}

// The last result of each window, final or not at all.
std::vector<std::string> Corrected(World& world, const std::string& rule) {
  std::map<std::string, v1::WindowResult> last;
  for (const v1::WindowResult& result : Results(world, rule)) {
    v1::WindowResult& known =
        last[Concat(Join({result.group_key().begin(), result.group_key().end()}, ","), " ",
                    result.window_start().ShortDebugString())];
    EXPECT_EQ(result.revision(), known.revision() + 1) << result.ShortDebugString();
    known = result;
  }
  std::vector<std::string> finals;
  for (const auto& [window, result] : last) {
    EXPECT_TRUE(result.final()) << result.ShortDebugString();
    if (result.events() > 0) finals.push_back(Describe(result));
  }
  std::sort(finals.begin(), finals.end());
  return finals;
}

// Each final result once.
std::vector<std::string> Finals(World& world, const std::string& rule) {
  std::vector<std::string> finals;
  for (const v1::WindowResult& result : Results(world, rule)) {
    if (result.final() && result.events() > 0) finals.push_back(Describe(result));
  }
  std::sort(finals.begin(), finals.end());
  return finals;
}

std::string KeyOf(const Bid& bid, const std::string& group_by) {
  if (group_by.empty()) return "all";
  return group_by == "auction" ? bid.auction : bid.user;
}

std::vector<std::string> HoppingOracle(const std::vector<Taken>& log, const std::string& group_by,
                                       std::int64_t size, std::int64_t slide, std::int64_t grace) {
  std::map<std::pair<std::string, std::int64_t>, std::vector<Bid>> windows;
  for (const Taken& event : log) {
    const std::int64_t last = event.bid.time_us / slide * slide;
    for (std::int64_t start = last; start > event.bid.time_us - size; start -= slide) {
      if (start + size + grace - kMs <= event.promised_us) continue;
      windows[{KeyOf(event.bid, group_by), start}].push_back(event.bid);
    }
  }
  std::vector<std::string> found;
  for (const auto& [window, bids] : windows) {
    found.push_back(Describe(window.first, window.second, window.second + size, bids));
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> SessionOracle(std::vector<Taken> log, const std::string& group_by,
                                       std::int64_t gap, std::int64_t grace) {
  for (Taken& event : log) {
    event.position_us = std::max(event.bid.time_us, event.promised_us + 1);
  }
  SortByPosition(log);
  struct Session {
    std::vector<Bid> bids;
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  std::map<std::string, std::vector<Session>> sessions;
  std::vector<std::string> found;
  for (const Taken& event : log) {
    std::vector<Session>& of_key = sessions[KeyOf(event.bid, group_by)];
    Session merged{{event.bid}, event.bid.time_us, event.bid.time_us};
    std::vector<Session> others;
    bool met = false;
    for (Session& session : of_key) {
      const bool open = session.last + gap + grace >= event.position_us;
      if (open && event.bid.time_us >= session.first - gap &&
          event.bid.time_us <= session.last + gap) {
        met = true;
        merged.bids.insert(merged.bids.end(), session.bids.begin(), session.bids.end());
        merged.first = std::min(merged.first, session.first);
        merged.last = std::max(merged.last, session.last);
      } else {
        others.push_back(session);
      }
    }
    if (!met && event.bid.time_us + gap + grace <= event.promised_us) continue;
    others.push_back(merged);
    of_key = others;
  }
  for (const auto& [key, of_key] : sessions) {
    for (const Session& session : of_key) {
      found.push_back(Describe(key, session.first, session.last, session.bids));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

// --- the world ---

struct Setting {
  // How much later than their time events may be sent.
  std::int64_t disorder_ms = 0;
  // Of 100 events, how many come up to ten seconds later than that.
  int late_percent = 0;
};

class WindowSimulationTest : public ::testing::TestWithParam<int> {
 protected:
  WindowSimulationTest() : random_(static_cast<std::uint64_t>(GetParam())) {}

  WorldOptions Options() const {
    WorldOptions options;
    options.seed = static_cast<std::uint64_t>(GetParam());
    options.max_batch = 1 + options.seed % 40;
    options.task.max_release = 1 + options.seed * 7 % 50;
    options.task.max_sweep = 1 + options.seed % 9;
    options.task.aggregate_schema.id = schema::SchemaId(3);
    return options;
  }

  void MakeBids(std::size_t count, const Setting& setting) {
    std::int64_t now = 1'700'000'000 * kSecond;
    std::vector<std::pair<std::int64_t, Bid>> sent;
    for (std::size_t row = 1; row <= count; ++row) {
      now += static_cast<std::int64_t>(random_() % 700) * kMs;
      if (random_() % 40 == 0) now += 15 * kSecond;
      Bid bid;
      bid.row = static_cast<std::int64_t>(row);
      // Now and then exactly at the end of a window, or with microseconds.
      bid.time_us = random_() % 8 == 0 ? now / kSecond * kSecond : now;
      if (random_() % 5 == 0) bid.time_us += static_cast<std::int64_t>(random_() % 1000);
      bid.auction = Concat("a", random_() % 6);
      bid.user = Concat("u", random_() % 5);
      bid.price = static_cast<std::int64_t>(random_() % 1000) - 300;
      std::int64_t delay = setting.disorder_ms == 0
                               ? 0
                               : static_cast<std::int64_t>(random_()) %
                                     static_cast<std::int64_t>(setting.disorder_ms) * kMs;
      delay = std::abs(delay);
      if (static_cast<int>(random_() % 100) < setting.late_percent) {
        delay += static_cast<std::int64_t>(random_() % 10'000) * kMs;
      }
      sent.emplace_back(bid.time_us + delay, bid);
    }
    std::stable_sort(sent.begin(), sent.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [at, bid] : sent) {
      by_id_[std::to_string(bid.row)] = bid;
      bids_.push_back(bid);
    }
  }

  void Deliver(World& world) {
    for (std::size_t i = 0; i < bids_.size(); ++i) {
      world.Publish(MakeRecord(bids_[i]));
      // Sent again.
      if (random_() % 10 == 0) world.Publish(MakeRecord(bids_[random_() % (i + 1)]));
      for (std::size_t n = random_() % 4; n > 0; --n) world.RunSomething();
    }
    world.RunUntilQuiet();
    world.StopCrashing();
    // idle_timeout, and the longest that a window may stay open.
    world.Wait(seconds(45));
    world.RunUntilQuiet();
  }

  std::mt19937_64 random_;
  std::vector<Bid> bids_;
  std::map<std::string, Bid> by_id_;
};
INSTANTIATE_TEST_SUITE_P(Seeds, WindowSimulationTest, ::testing::Range(1, 121));

void ExpectNothingOpen(const World& world) {
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    for (const auto& [key, value] : world.state(p).entries()) {
      EXPECT_THAT(key.front(), ::testing::Not(::testing::AnyOf('b', 'n', 'p', 'q', 'u')))
          << "left over: " << key;
    }
  }
}

// Every event that was late lies in the topic for them, as it came.
void ExpectLateKept(World& world, const std::map<std::string, Bid>& bids,
                    const std::vector<std::string>& rules) {
  std::map<std::string, std::set<std::string>> late;
  std::int64_t records = 0;
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    for (const kafka::Record& record : world.Log("bids.late", p)) {
      ++records;
      const std::string id(*record.headers.Find("ce_id"));
      const kafka::Record original = MakeRecord(bids.at(id));
      EXPECT_EQ(record.key, original.key);
      EXPECT_EQ(record.value, original.value);
      for (const auto& [name, value] : original.headers.entries()) {
        EXPECT_EQ(record.headers.Find(name), value) << name;
      }
      EXPECT_EQ(record.headers.size(), original.headers.size() + 4);
      EXPECT_THAT(std::string(*record.headers.Find("late.reason")),
                  ::testing::HasSubstr(" behind the watermark "));
      std::string rest = Concat(*record.headers.Find("late.rule"), ",");
      for (std::size_t comma = 0; (comma = rest.find(',')) != std::string::npos;
           rest.erase(0, comma + 1)) {
        EXPECT_TRUE(late[rest.substr(0, comma)].insert(id).second) << "kept twice: " << rest;
      }
    }
  }
  EXPECT_EQ(world.counts().kept_late, records);
  for (const std::string& rule : rules) {
    EXPECT_EQ(std::ssize(late[rule]), world.counts().rules.at(rule).late) << rule;
  }
}

TEST_P(WindowSimulationTest, WindowsHoldWhatTheLogSays) {
  const bool late = GetParam() % 2 == 0;
  const std::int64_t disorder = GetParam() % 3 == 0 ? 0 : 2'000;
  const std::string head =
      Concat("stream: bids\norder: event_time\nidle-timeout: 5s\nmax-disorder: ", disorder, "ms\n");
  const auto rule = [&](const char* id, const char* window) {
    return Concat("id: ", id, "\n", head, "window: {", window, ", ", kAggregates, "}\n");
  };
  World world(
      PlanOf({rule("local", "type: tumbling, size: 5s, grace: 0s, group-by: [auction]"),
              rule("graced", "type: hopping, size: 6s, slide: 4s, grace: 4s, group-by: [user]"),
              rule("all", "type: hopping, size: 10s, slide: 2s, grace: 1s, emit: on_change"),
              rule("session", "type: session, gap: 2s, grace: 4s, group-by: [user]"),
              rule("local-session",
                   "type: session, gap: 3s, grace: 0s, group-by: [auction], emit: every, every: "
                   "1s")}),
      Options());
  MakeBids(150, {.disorder_ms = disorder, .late_percent = late ? 15 : 0});
  Deliver(world);
  const std::vector<Taken> log = ReadLog(world, by_id_, disorder * kMs);
  EXPECT_EQ(Finals(world, "local"), HoppingOracle(log, "auction", 5 * kSecond, 5 * kSecond, 0));
  EXPECT_EQ(Finals(world, "graced"),
            HoppingOracle(log, "user", 6 * kSecond, 4 * kSecond, 4 * kSecond));
  EXPECT_EQ(Finals(world, "all"), HoppingOracle(log, "", 10 * kSecond, 2 * kSecond, kSecond));
  EXPECT_EQ(Finals(world, "session"), SessionOracle(log, "user", 2 * kSecond, 4 * kSecond));
  EXPECT_EQ(Finals(world, "local-session"), SessionOracle(log, "auction", 3 * kSecond, 0));
  ExpectNothingOpen(world);
  for (const char* id : {"local", "graced", "all", "session", "local-session"}) {
    const RuleCounts& counts = world.counts().rules.at(id);
    EXPECT_EQ(world.counts().accepted,
              counts.filtered + counts.missing_key + counts.late + counts.taken);
  }
  ExpectLateKept(world, by_id_, {"local", "graced", "all", "session", "local-session"});
  // Then nothing is written any more.
  const std::int64_t commits = world.commits();
  world.Wait(seconds(120));
  EXPECT_EQ(world.commits(), commits);
}

// A late event corrects windows that have closed; in the end each has been told as though it had
// stayed open for so long.
TEST_P(WindowSimulationTest, LateEventsCorrectWhatHasClosed) {
  const std::string head =
      "stream: bids\norder: event_time\nidle-timeout: 5s\nmax-disorder: 1s\ncorrect-within: 8s\n";
  const auto rule = [&](const char* id, const char* window) {
    return Concat("id: ", id, "\n", head, "window: {", window, ", ", kAggregates, "}\n");
  };
  World world(
      PlanOf({rule("local", "type: tumbling, size: 5s, grace: 0s, group-by: [auction]"),
              rule("hops", "type: hopping, size: 6s, slide: 4s, grace: 2s, group-by: [user]"),
              rule("all", "type: hopping, size: 10s, slide: 2s, grace: 1s, emit: on_change"),
              rule("session", "type: session, gap: 2s, grace: 1s, group-by: [user]"),
              rule("every",
                   "type: session, gap: 3s, grace: 0s, group-by: [auction], emit: every, every: "
                   "1s")}),
      Options());
  MakeBids(150, {.disorder_ms = 1'000, .late_percent = 20});
  Deliver(world);
  const std::vector<Taken> log = ReadLog(world, by_id_, kSecond);
  EXPECT_EQ(Corrected(world, "local"),
            HoppingOracle(log, "auction", 5 * kSecond, 5 * kSecond, 8 * kSecond));
  EXPECT_EQ(Corrected(world, "hops"),
            HoppingOracle(log, "user", 6 * kSecond, 4 * kSecond, 8 * kSecond));
  EXPECT_EQ(Corrected(world, "all"),
            HoppingOracle(log, "", 10 * kSecond, 2 * kSecond, 8 * kSecond));
  EXPECT_EQ(Corrected(world, "session"), SessionOracle(log, "user", 2 * kSecond, 8 * kSecond));
  EXPECT_EQ(Corrected(world, "every"), SessionOracle(log, "auction", 3 * kSecond, 8 * kSecond));
  std::int64_t corrections = 0;
  for (const char* id : {"local", "hops", "all", "session", "every"}) {
    const RuleCounts& counts = world.counts().rules.at(id);
    corrections += counts.corrections;
    EXPECT_EQ(counts.undecided, 0);
  }
  EXPECT_GT(corrections, 0);
  ExpectLateKept(world, by_id_, {"local", "hops", "all", "session", "every"});
}

// What was told of a window counts up without a gap, and the last is final.
TEST_P(WindowSimulationTest, RevisionsCountUp) {
  const std::string head = "stream: bids\norder: event_time\nidle-timeout: 5s\n";
  World world(PlanOf({Concat("id: change\n", head,
                             "window: {type: hopping, size: 6s, slide: 2s, grace: 0s, emit: "
                             "on_change, group-by: [user], ",
                             kAggregates, "}\n"),
                      Concat("id: every\n", head,
                             "window: {type: session, gap: 3s, grace: 1s, emit: every, every: 2s, "
                             "group-by: [user], ",
                             kAggregates, "}\n")}),
              Options());
  MakeBids(120, {});
  Deliver(world);
  for (const char* id : {"change", "every"}) {
    std::map<std::string, std::vector<v1::WindowResult>> windows;
    for (const v1::WindowResult& result : Results(world, id)) {
      windows[Concat(result.group_key(0), result.window_start().ShortDebugString())].push_back(
          result);
    }
    EXPECT_FALSE(windows.empty());
    for (const auto& [window, results] : windows) {
      std::int64_t events = 0;
      for (std::size_t i = 0; i < results.size(); ++i) {
        EXPECT_EQ(results[i].revision(), static_cast<int>(i) + 1) << window;
        EXPECT_EQ(results[i].final(), i + 1 == results.size()) << window;
        EXPECT_GE(results[i].events(), results[i].final() && i > 0 ? 0 : events);
        events = results[i].events();
      }
    }
  }
}

// The window of each event, told at each event.
TEST_P(WindowSimulationTest, SlidingWindowsEndAtTheirEvent) {
  World world(PlanOf({Concat("id: slide\nstream: bids\norder: event_time\nidle-timeout: "
                             "5s\nmax-disorder: 2s\nwindow: {type: sliding, size: 5s, group-by: "
                             "[user], ",
                             kAggregates, "}\n")}),
              Options());
  MakeBids(120, {.disorder_ms = 2'000});
  Deliver(world);
  std::vector<Taken> log = ReadLog(world, by_id_, 2 * kSecond);
  for (Taken& event : log) event.position_us = event.bid.time_us;
  SortByPosition(log);
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < log.size(); ++i) {
    if (log[i].bid.time_us <= log[i].promised_us) continue;
    std::vector<Bid> window;
    for (std::size_t j = 0; j <= i; ++j) {
      if (log[j].bid.time_us <= log[j].promised_us) continue;
      if (log[j].bid.user == log[i].bid.user &&
          log[j].bid.time_us > log[i].bid.time_us - 5 * kSecond) {
        window.push_back(log[j].bid);
      }
    }
    expected.push_back(
        Describe(log[i].bid.user, log[i].bid.time_us - 5 * kSecond, log[i].bid.time_us, window));
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> observed;
  for (const v1::WindowResult& result : Results(world, "slide")) {
    observed.push_back(Describe(result));
  }
  std::sort(observed.begin(), observed.end());
  EXPECT_EQ(observed, expected);
}

// In order of arrival a window closes when a later event comes; what comes after that is late.
TEST_P(WindowSimulationTest, ArrivalFollowsTheLog) {
  World world(PlanOf({Concat("id: arrival\nstream: bids\nwindow: {type: tumbling, size: 3s, "
                             "group-by: [auction], ",
                             kAggregates, "}\n")}),
              Options());
  MakeBids(150, {.disorder_ms = 3'000});
  Deliver(world);
  const std::vector<Taken> log = ReadLog(world, by_id_, 0);
  std::vector<std::string> expected = HoppingOracle(log, "auction", 3 * kSecond, 3 * kSecond, 0);
  // The last windows of each partition are still open.
  const std::vector<std::string> observed = Finals(world, "arrival");
  EXPECT_TRUE(std::includes(expected.begin(), expected.end(), observed.begin(), observed.end()));
  EXPECT_GE(observed.size() + 12, expected.size());
  EXPECT_GE(observed.size(), expected.size() / 2);
}

// The result does not depend on how the work was cut and interleaved, only on the log.
TEST_P(WindowSimulationTest, WhatIsToldMeanwhileFollowsFromTheLogToo) {
  const std::vector<std::string> rules = {
      Concat("id: w\nstream: bids\norder: event_time\nidle-timeout: 5s\nmax-disorder: 1s\nwindow: "
             "{type: hopping, size: 4s, slide: 2s, grace: 2s, emit: every, every: 1s, group-by: "
             "[user], ",
             kAggregates, "}\n")};
  MakeBids(100, {.disorder_ms = 1'000, .late_percent = 10});
  std::vector<std::string> told[2];
  for (int run = 0; run < 2; ++run) {
    WorldOptions options = Options();
    options.seed += static_cast<std::uint64_t>(run) * 1'000;
    options.max_batch = run == 0 ? 3 : 50;
    World world(PlanOf(rules), options);
    for (const Bid& bid : bids_) {
      world.Publish(MakeRecord(bid));
      if (run == 0) world.RunSomething();
    }
    world.RunUntilQuiet();
    world.StopCrashing();
    world.Wait(seconds(45));
    world.RunUntilQuiet();
    for (const v1::WindowResult& result : Results(world, "w")) {
      told[run].push_back(result.ShortDebugString());
    }
    std::sort(told[run].begin(), told[run].end());
  }
  EXPECT_FALSE(told[0].empty());
  EXPECT_EQ(told[0], told[1]);
}

}  // namespace
}  // namespace tocsin::correlation
