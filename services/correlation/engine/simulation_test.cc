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
#include <ostream>
#include <set>
#include <tuple>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "nlohmann/json.hpp"
#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/test_rule.h"
#include "services/correlation/testing/world.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::Call;
using testing::MakeCallRecord;
using testing::MakeRule;
using testing::RuleSpec;
using testing::World;
using testing::WorldOptions;

// --- the brute force ---

struct Found {
  std::string rule;
  std::string key;
  std::string time;
  std::vector<std::int64_t> rows;
  friend auto operator<=>(const Found&, const Found&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Found& found) {
    out << found.rule << " " << found.key << " " << found.time << " [";
    for (const std::int64_t row : found.rows) out << row << " ";
    return out << "]";
  }
};

struct Answers {
  std::vector<Found> detections;
  std::map<std::string, std::int64_t> incidents;
};

std::string KeyOf(const Call& call, const RuleSpec& rule) {
  return rule.group_by.front() == "place" ? call.place : call.township;
}

// `calls` in the order in which they are to be judged.
Answers BruteForce(const std::vector<Call>& calls, const std::vector<RuleSpec>& rules) {
  Answers answers;
  for (const RuleSpec& rule : rules) {
    std::map<std::string, std::vector<Call>> windows;
    std::map<std::string, WallTime> last_detection;
    for (const Call& call : calls) {
      const std::string key = KeyOf(call, rule);
      if (key.empty() || (!rule.agency.empty() && call.agency != rule.agency)) continue;
      windows[key].push_back(call);
      std::vector<Call> inside;
      std::set<std::string> agencies;
      for (const Call& old : windows[key]) {
        if (old.time <= call.time - rule.timespan || old.time > call.time) continue;
        inside.push_back(old);
        agencies.insert(old.agency);
      }
      const std::size_t count = rule.count_field.empty() ? inside.size() : agencies.size();
      if (std::cmp_less(count, rule.at_least)) continue;
      Found found{rule.id, key, FormatTime(call.time), {}};
      for (const Call& old : inside) found.rows.push_back(old.row);
      answers.detections.push_back(found);
      const auto last = last_detection.find(key);
      if (last == last_detection.end() || call.time - last->second > rule.join_within) {
        ++answers.incidents[rule.id];
      }
      last_detection[key] = call.time;
      windows[key].clear();
    }
  }
  std::sort(answers.detections.begin(), answers.detections.end());
  return answers;
}

std::vector<Call> Sorted(std::vector<Call> calls) {
  std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) {
    return std::tie(a.time, a.row) < std::tie(b.time, b.row);
  });
  return calls;
}

// --- what the world made ---

Answers Observed(World& world) {
  Answers answers;
  std::map<std::string, std::set<std::string>> incidents;
  std::set<std::string> ids;
  for (const v1::Detection& detection : world.Detections()) {
    EXPECT_TRUE(ids.insert(detection.id()).second) << "twice: " << detection.DebugString();
    Found found{detection.rule_id(),
                detection.group_key(0),
                FormatTime(FromMicros(
                    google::protobuf::util::TimeUtil::TimestampToMicroseconds(detection.time()))),
                {}};
    for (const auto& event : detection.evidence()) {
      std::int64_t row = 0;
      EXPECT_EQ(std::sscanf(event.sequence().c_str(), "%ld", &row), 1);
      found.rows.push_back(row);
    }
    answers.detections.push_back(found);
    incidents[detection.rule_id()].insert(detection.incident_id());
  }
  std::sort(answers.detections.begin(), answers.detections.end());
  for (const auto& [rule, of_rule] : incidents) {
    answers.incidents[rule] = static_cast<std::int64_t>(of_rule.size());
  }
  // Each revision of each incident exactly once, in order, and all detections of it.
  std::map<std::string, std::int64_t> revisions;
  for (const auto& incident : world.Incidents()) {
    EXPECT_EQ(incident.revision(), ++revisions[incident.id()]);
    EXPECT_EQ(incident.detection_count(), incident.revision());
    EXPECT_EQ(incident.detection_ids_size(), incident.revision());
  }
  std::int64_t total = 0;
  for (const auto& [id, revision] : revisions) total += revision;
  EXPECT_EQ(total, static_cast<std::int64_t>(answers.detections.size()));
  return answers;
}

void ExpectSame(const std::vector<Found>& observed, const std::vector<Found>& expected) {
  std::vector<Found> missing;
  std::vector<Found> surplus;
  std::set_difference(expected.begin(), expected.end(), observed.begin(), observed.end(),
                      std::back_inserter(missing));
  std::set_difference(observed.begin(), observed.end(), expected.begin(), expected.end(),
                      std::back_inserter(surplus));
  EXPECT_THAT(missing, ::testing::IsEmpty());
  EXPECT_THAT(surplus, ::testing::IsEmpty());
  EXPECT_EQ(observed.size(), expected.size());
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

std::shared_ptr<const RulePlan> MakePlan(const std::vector<RuleSpec>& rules,
                                         std::int32_t partitions) {
  StreamSpec stream;
  stream.topic = "calls.raw";
  stream.partitions = partitions;
  stream.message_type = "test.Call";
  stream.processed = true;
  std::vector<RuleEntry> entries;
  for (const RuleSpec& rule : rules) entries.push_back({MakeRule(rule), 1});
  return RulePlan::Make(stream, entries);
}

RuleSpec Rule(std::string id, std::string key, std::string count_field, std::int64_t at_least,
              minutes timespan, minutes join_within) {
  RuleSpec rule;
  rule.id = std::move(id);
  rule.group_by = {std::move(key)};
  rule.count_field = std::move(count_field);
  rule.at_least = at_least;
  rule.timespan = timespan;
  rule.join_within = join_within;
  return rule;
}

std::vector<RuleSpec> PublicSafetyRules() {
  return {Rule("repeat-location", "place", "", 2, minutes(10), minutes(30)),
          Rule("multi-agency", "place", "agency", 2, minutes(10), minutes(30)),
          Rule("area-surge", "township", "", 5, minutes(30), minutes(60))};
}

// Many events in one minute, places that lie in two townships, long gaps.
std::vector<Call> RandomCalls(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  const char* agencies[] = {"EMS", "Fire", "Traffic"};
  std::vector<Call> calls;
  WallTime now = ParseTime("2017-03-01T00:00:00Z").value();
  for (std::size_t row = 1; row <= count; ++row) {
    constexpr int kGaps[] = {0, 0, 0, 0, 1, 1, 2, 3, 7, 40};
    now += minutes(kGaps[random() % 10]);
    const std::uint64_t place = random() % 12;
    Call call;
    call.place = Concat("place ", place);
    call.township = Concat("township ", (place + random() % 2) % 9);
    call.agency = agencies[random() % 3];
    call.time = now;
    call.row = static_cast<std::int64_t>(row);
    calls.push_back(call);
  }
  return calls;
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
  ExpectSame(observed.detections, expected.detections);
  EXPECT_EQ(observed.incidents, expected.incidents);
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
  rules.push_back(Rule("fire-only", "township", "", 2, minutes(20), minutes(20)));
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
  ExpectSame(observed.detections, expected.detections);
  EXPECT_EQ(observed.incidents, expected.incidents);
  ExpectCountsReconcile(world, rules, static_cast<std::int64_t>(calls.size()));
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
  ExpectSame(observed.detections, expected.detections);
  EXPECT_EQ(observed.incidents, expected.incidents);
  ExpectCountsReconcile(world, rules, static_cast<std::int64_t>(calls.size()));
}

// Arrival order: what one partition holds is judged in the order of its log.
TEST_P(SimulationTest, ArrivalAnswersFollowTheLog) {
  std::vector<RuleSpec> rules = {
      Rule("surge", "township", "", 4, minutes(30), minutes(60)),
      Rule("agencies", "township", "agency", 3, minutes(20), minutes(60))};
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
  ExpectSame(observed.detections, expected.detections);
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
      if (key.front() == 'd') ++identities;
    }
    EXPECT_LE(identities, 50U);
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
  calls = Sorted(calls);

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
  ExpectSame(observed.detections, expected.detections);
  EXPECT_EQ(observed.incidents, expected.incidents);
  ExpectCountsReconcile(world, PublicSafetyRules(), 3051);
}

}  // namespace
}  // namespace tocsin::correlation
