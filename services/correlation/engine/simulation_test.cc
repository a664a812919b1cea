// The engine against a brute force over sorted events, in a world where everything that may happen
// between tasks happens: any interleaving of partitions, batches cut anywhere, transactions dropped
// before they are committed, tasks that lose their memory, events delivered twice, streams that
// fall silent and wake.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <tuple>

#include "lib/base/hash.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "nlohmann/json.hpp"
#include "services/correlation/testing/oracle.h"
#include "services/correlation/testing/test_rule.h"
#include "services/correlation/testing/world.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::Answers;
using testing::BruteForce;
using testing::Call;
using testing::ExpectSame;
using testing::MakeCallRecord;
using testing::MakePlan;
using testing::MakeSpec;
using testing::PublicSafetyRules;
using testing::RandomCalls;
using testing::RuleSpec;
using testing::World;
using testing::WorldOptions;

Answers Observed(World& world) {
  return testing::Observed(world.LogOf(kDetectionsTopic), world.LogOf(kIncidentsTopic));
}

void ExpectCountsReconcile(const World& world, const std::vector<RuleSpec>& rules,
                           std::int64_t distinct) {
  const Counts& counts = world.counts();
  EXPECT_EQ(counts.in, counts.invalid + counts.duplicate + counts.accepted);
  EXPECT_EQ(counts.accepted, distinct);
  for (const RuleSpec& rule : rules) {
    SCOPED_TRACE(rule.id);
    const RuleCounts& of_rule = counts.rules.at(rule.id);
    EXPECT_EQ(counts.accepted,
              of_rule.filtered + of_rule.missing_key + of_rule.late + of_rule.taken);
    EXPECT_EQ(of_rule.late, 0);
  }
}

// --- how events come ---

struct Delivery {
  // Events of one chunk come to their partitions in any order of the partitions; the next chunk
  // waits for them all.
  std::size_t chunk = 25;
  // Of 100 events, how many are sent again later.
  int resend_percent = 10;
  // Of 100 chunks, after how many the whole stream is silent for long.
  int silence_percent = 5;
};

void Deliver(World& world, const std::vector<Call>& calls, const Delivery& delivery) {
  std::mt19937_64& random = world.random();
  const auto percent = [&](int chance) {
    return std::uniform_int_distribution<int>(0, 99)(random) < chance;
  };
  std::vector<kafka::Record> again;
  for (std::size_t begin = 0; begin < calls.size(); begin += delivery.chunk) {
    // By key, so that the order within a partition stays.
    std::map<std::string, std::deque<kafka::Record>> queues;
    const std::size_t end = std::min(calls.size(), begin + delivery.chunk);
    for (std::size_t i = begin; i < end; ++i) {
      kafka::Record record = MakeCallRecord(calls[i]);
      // All townships of one partition must share a queue.
      queues[std::to_string(PartitionForKey(*record.key, 6))].push_back(record);
      if (percent(delivery.resend_percent)) again.push_back(record);
    }
    while (!queues.empty()) {
      auto queue = queues.begin();
      std::advance(queue, std::uniform_int_distribution<std::size_t>(0, queues.size() - 1)(random));
      for (std::size_t n = 1 + random() % 8; n > 0 && !queue->second.empty(); --n) {
        world.Publish(std::move(queue->second.front()));
        queue->second.pop_front();
      }
      if (queue->second.empty()) queues.erase(queue);
      for (std::size_t n = random() % 12; n > 0; --n) world.RunSomething();
      if (percent(2)) world.Wait(seconds(1));
    }
    if (percent(30)) {
      for (kafka::Record& record : again) world.Publish(std::move(record));
      again.clear();
    }
    // Not in the middle of a minute: who was silent after the others had come to a time promises
    // nothing more at that time.
    if (end < calls.size() && calls[end].time > calls[end - 1].time &&
        percent(delivery.silence_percent)) {
      world.Wait(seconds(35));
    }
  }
}

// All that was sent is read, then the time passes that idle_timeout takes. Without crashes: a task
// that starts anew begins to count silence anew.
void Settle(World& world, seconds time) {
  world.RunUntilQuiet();
  world.StopCrashing();
  world.Wait(time);
  world.RunUntilQuiet();
}

class SimulationTest : public ::testing::TestWithParam<int> {
 protected:
  WorldOptions Options() const {
    WorldOptions options;
    options.seed = static_cast<std::uint64_t>(GetParam());
    options.max_batch = 1 + options.seed % 40;
    // So small that releases and sweeps are cut into pieces.
    options.task.max_release = 1 + options.seed * 7 % 50;
    options.task.max_sweep = 1 + options.seed % 9;
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest, ::testing::Range(1, 21));

TEST_P(SimulationTest, EventTimeAnswersAreThoseOfTheBruteForce) {
  const std::vector<RuleSpec> rules = PublicSafetyRules();
  World world(MakePlan(rules, 6), Options());
  const std::vector<Call> calls = RandomCalls(static_cast<std::uint64_t>(GetParam()), 400);
  Deliver(world, calls, {});
  // At most 30 s after the last event everything is told …
  Settle(world, seconds(15));
  const Answers expected = BruteForce(calls, rules);
  const Answers observed = Observed(world);
  ExpectSame(observed, expected);
  ExpectCountsReconcile(world, rules, static_cast<std::int64_t>(calls.size()));
  // … and then nothing is written any more.
  const std::int64_t commits = world.commits();
  world.Wait(seconds(120));
  EXPECT_EQ(world.commits(), commits);
}

// Events up to five minutes out of order, which the rules allow.
TEST_P(SimulationTest, DisorderWithinTheAllowanceChangesNothing) {
  std::vector<RuleSpec> rules = PublicSafetyRules();
  for (RuleSpec& rule : rules) rule.max_disorder = minutes(5);
  rules.push_back(MakeSpec("fire-only", "township", "", 2, minutes(20), minutes(20)));
  rules.back().agency = "Fire";
  rules.back().max_disorder = minutes(8);
  World world(MakePlan(rules, 6), Options());
  std::vector<Call> calls = RandomCalls(static_cast<std::uint64_t>(GetParam()) + 1'000, 300);
  const Answers expected = BruteForce(calls, rules);
  std::mt19937_64 random(static_cast<std::uint64_t>(GetParam()));
  std::vector<std::pair<WallTime, std::size_t>> order;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    order.emplace_back(calls[i].time + seconds(random() % 300), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<Call> mixed;
  for (const auto& [time, i] : order) mixed.push_back(calls[i]);
  // Without silences: a silent partition promises up to its highest time, disorder or not.
  Deliver(world, mixed, {.silence_percent = 0});
  Settle(world, seconds(15));
  const Answers observed = Observed(world);
  ExpectSame(observed, expected);
  ExpectCountsReconcile(world, rules, static_cast<std::int64_t>(calls.size()));
}

// Late events that come within correct_within change what was told: in the end it is as though they
// had come in time. Those beyond it are late.
class CorrectionTest : public SimulationTest {};
INSTANTIATE_TEST_SUITE_P(Seeds, CorrectionTest, ::testing::Range(1, 121));

TEST_P(CorrectionTest, LateEventsCorrectWhatWasTold) {
  const auto seed = static_cast<std::uint64_t>(GetParam());
  std::vector<RuleSpec> rules = PublicSafetyRules();
  rules.push_back(MakeSpec("three-agencies", "township", "agency", 3, minutes(15), minutes(5)));
  rules.push_back(MakeSpec("fours", "place", "", 4, minutes(25), minutes(10)));
  for (RuleSpec& rule : rules) {
    rule.max_disorder = minutes(seed % 3);
    rule.correct_within = minutes(15 + seed % 2 * 30);
    // No promises of silent partitions before the end.
    rule.idle_timeout = seconds(300);
  }
  World world(MakePlan(rules, 6), Options());
  const std::vector<Call> calls = RandomCalls(seed + 5'000, 250);
  std::mt19937_64 random(seed);
  std::vector<std::pair<WallTime, std::size_t>> order;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const bool late = random() % 4 == 0;
    order.emplace_back(calls[i].time + (late ? minutes(random() % 40) : minutes(0)), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<Call> mixed;
  for (const auto& [time, i] : order) mixed.push_back(calls[i]);
  Deliver(world, mixed, {.silence_percent = 0});
  Settle(world, seconds(310));

  // What each partition had passed before an event.
  std::set<std::string> too_late;
  std::map<std::string, WallTime> time_of;
  for (const Call& call : calls) time_of[std::to_string(call.row)] = call.time;
  for (std::int32_t p = 0; p < 6; ++p) {
    std::optional<WallTime> highest;
    std::set<std::string> seen;
    for (const kafka::Record& record : world.Log("calls.raw", p)) {
      const std::string id(*record.headers.Find("ce_id"));
      if (!seen.insert(id).second) continue;
      const WallTime time = time_of.at(id);
      if (highest.has_value()) {
        const WallTime watermark = *highest - rules[0].max_disorder - std::chrono::milliseconds(1);
        if (watermark - time > rules[0].correct_within) too_late.insert(id);
      }
      highest = std::max(highest.value_or(time), time);
    }
  }
  std::vector<Call> in_time;
  for (const Call& call : calls) {
    if (!too_late.contains(std::to_string(call.row))) in_time.push_back(call);
  }
  Answers expected = BruteForce(in_time, rules);
  // Incidents are not joined or split by corrections.
  expected.incidents.clear();
  const Answers observed =
      testing::Corrected(world.LogOf(kDetectionsTopic), world.LogOf(kIncidentsTopic));
  ExpectSame(observed, expected);
  std::int64_t corrections = 0;
  for (const RuleSpec& rule : rules) {
    const RuleCounts& counts = world.counts().rules.at(rule.id);
    corrections += counts.corrections;
    EXPECT_EQ(counts.late, std::ssize(too_late)) << rule.id;
    EXPECT_TRUE(counts.dropped.empty());
  }
  EXPECT_GT(corrections, 0);
}

// Different idle_timeouts side by side, a partition that never gets anything, one that gets little.
TEST_P(SimulationTest, SilentPartitionsHoldNobodyBackForEver) {
  std::vector<RuleSpec> rules = PublicSafetyRules();
  rules[0].idle_timeout = seconds(5);
  rules[1].idle_timeout = seconds(60);
  World world(MakePlan(rules, 6), Options());
  std::vector<Call> calls = RandomCalls(static_cast<std::uint64_t>(GetParam()) + 2'000, 150);
  for (Call& call : calls) call.township = call.row == 77 ? "township 1" : "township 2";
  Deliver(world, calls, {.chunk = 10, .silence_percent = 20});
  Settle(world, seconds(66));
  const Answers expected = BruteForce(calls, rules);
  const Answers observed = Observed(world);
  ExpectSame(observed, expected);
  ExpectCountsReconcile(world, rules, static_cast<std::int64_t>(calls.size()));
}

// Arrival order: what one partition holds is judged in the order of its log.
TEST_P(SimulationTest, ArrivalAnswersFollowTheLog) {
  std::vector<RuleSpec> rules = {
      MakeSpec("surge", "township", "", 4, minutes(30), minutes(60)),
      MakeSpec("agencies", "township", "agency", 3, minutes(20), minutes(60))};
  for (RuleSpec& rule : rules) rule.order = RuleOrder::kArrival;
  World world(MakePlan(rules, 6), Options());
  std::vector<Call> calls = RandomCalls(static_cast<std::uint64_t>(GetParam()) + 3'000, 300);
  // Out of order by up to ten minutes.
  std::mt19937_64 random(static_cast<std::uint64_t>(GetParam()));
  for (Call& call : calls) call.time -= minutes(random() % 10);
  Deliver(world, calls, {});
  world.RunUntilQuiet();
  std::map<std::string, Call> by_id;
  for (const Call& call : calls) by_id[std::to_string(call.row)] = call;
  std::vector<Call> as_logged;
  std::set<std::string> seen;
  for (std::int32_t p = 0; p < 6; ++p) {
    for (const kafka::Record& record : world.Log("calls.raw", p)) {
      const std::string id(*record.headers.Find("ce_id"));
      if (seen.insert(id).second) as_logged.push_back(by_id.at(id));
    }
  }
  const Answers expected = BruteForce(as_logged, rules);
  const Answers observed = Observed(world);
  ExpectSame(observed, expected);
  ExpectCountsReconcile(world, rules, static_cast<std::int64_t>(calls.size()));
}

// State that no later event can meet goes away.
TEST_P(SimulationTest, OldStateIsRemoved) {
  const std::vector<RuleSpec> rules = PublicSafetyRules();
  WorldOptions options = Options();
  options.task.identity_count = 50;
  options.task.max_sweep = 1'000;
  World world(MakePlan(rules, 6), options);
  std::vector<Call> calls = RandomCalls(static_cast<std::uint64_t>(GetParam()) + 4'000, 300);
  Deliver(world, calls, {.resend_percent = 0});
  Settle(world, seconds(15));
  // A day later something else happens in every township.
  std::vector<Call> later;
  for (std::int64_t row = 301; row <= 400; ++row) {
    Call call;
    call.place = Concat("elsewhere ", row);
    call.township = Concat("township ", row % 9);
    call.time = calls.back().time + std::chrono::hours(24) + minutes(row);
    call.row = row;
    later.push_back(call);
  }
  Deliver(world, later, {.resend_percent = 0});
  Settle(world, seconds(15));
  for (std::int32_t p = 0; p < 6; ++p) {
    std::size_t identities = 0;
    for (const auto& [key, value] : world.state(p).entries()) {
      EXPECT_NE(key.front(), 'b') << "held for ever";
      EXPECT_EQ(key.find("place "), std::string::npos) << "a window or incident of the day before";
      // A time, then 16 bytes for each; the oldest chunk goes when those behind it are 50.
      if (key.front() == 'e') identities += (value.size() - 8) / 16;
    }
    EXPECT_LE(identities, 50U + 64U + options.max_batch);
  }
}

// --- the real calls ---

std::vector<std::string> CsvCells(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else if (c != '\r') {
      cells.back().push_back(c);
    }
  }
  return cells;
}

TEST_P(SimulationTest, RealCallsHaveTheExpectedAnswers) {
  const char* folder = std::getenv("TOCSIN_911_DIR");
  const std::filesystem::path data =
      folder != nullptr ? folder : std::filesystem::path(TOCSIN_SOURCE_DIR) / "../shared/data";
  std::ifstream csv(data / "911-calls.csv");
  std::ifstream json(data / "911-expected.json");
  if (!csv.good() || !json.good()) GTEST_SKIP() << "not run: no data in " << data;

  std::vector<Call> calls;
  std::string line;
  std::getline(csv, line);
  while (std::getline(csv, line)) {
    const std::vector<std::string> cells = CsvCells(line);
    ASSERT_GE(cells.size(), 6U) << line;
    Call call;
    call.place = Concat(cells[0], ',', cells[1]);
    call.agency = cells[2].substr(0, cells[2].find(':'));
    call.time = ParseTime(Concat(cells[3].substr(0, 10), 'T', cells[3].substr(11), ":00Z")).value();
    call.township = cells[4];
    call.row = static_cast<std::int64_t>(calls.size()) + 1;
    calls.push_back(call);
  }
  ASSERT_EQ(calls.size(), 3051U);
  std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) {
    return std::tie(a.time, a.row) < std::tie(b.time, b.row);
  });

  Answers expected;
  const nlohmann::json answers = nlohmann::json::parse(json);
  for (const auto& [rule, answer] : answers["rules"].items()) {
    expected.incidents[rule] = answer["incident_count"].get<std::int64_t>();
    for (const auto& detection : answer["detections"]) {
      expected.detections.push_back({rule, detection["key"].get<std::string>(),
                                     detection["fired_at"].get<std::string>(),
                                     detection["rows"].get<std::vector<std::int64_t>>()});
    }
  }
  std::sort(expected.detections.begin(), expected.detections.end());
  ASSERT_EQ(expected.detections.size(), 154U + 83U + 113U);
  EXPECT_EQ(BruteForce(calls, PublicSafetyRules()).detections, expected.detections)
      << "the brute force of this test is wrong";

  World world(MakePlan(PublicSafetyRules(), 6), Options());
  Deliver(world, calls, {.chunk = 200, .silence_percent = 10});
  Settle(world, seconds(15));
  const Answers observed = Observed(world);
  ExpectSame(observed, expected);
  ExpectCountsReconcile(world, PublicSafetyRules(), 3051);
}

}  // namespace
}  // namespace tocsin::correlation
