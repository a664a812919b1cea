// The same log gives the same outputs: with one worker, two or four, however their steps follow on
// one another, wherever batches are cut, and whoever takes over whose partitions in the middle.
//
// What is compared is all that is told of a key in one topic, in its order, byte for byte. Only
// three headers differ: which transaction an output is of, which records that took in, and the
// trace of this hop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <tuple>

#include "lib/base/testing/status_matchers.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/worker/stamp.h"
#include "services/correlation/worker/worker.h"
#include "services/correlation/worker/worker_fixture.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;

// Each has calls: one without would hold back the others' watermark until silence.
constexpr std::int32_t kManyPartitions = 5;
constexpr std::size_t kCalls = 400;
constexpr const char* kOutputTopics[] = {"detections", "incidents.correlated", "aggregates",
                                         "calls.processed", "calls.raw.late"};

// Every kind of window, both orders, keys of one partition and of all; with results that are told
// before a window closes and corrected afterwards.
constexpr const char* kWindowRules[] = {
    R"(
id: agencies
stream: calls.raw
order: event_time
max-disorder: 2m
idle-timeout: 5s
correct-within: 90m
window:
  type: hopping
  size: 30m
  slide: 10m
  grace: 5m
  group-by: [agency]
  aggregates:
    - {name: n, function: count}
    - {name: places, function: distinct, field: place}
    - {name: hot, function: top_k, field: place, k: 2}
  emit: every
  every: 4m
)",
    R"(
id: sessions
stream: calls.raw
order: event_time
max-disorder: 2m
idle-timeout: 5s
window:
  type: session
  gap: 12m
  grace: 3m
  group-by: [place]
  aggregates: [{name: n, function: count}, {name: hot, function: top_k, field: agency, k: 1}]
  emit: on_close
)",
    R"(
id: lately
stream: calls.raw
order: event_time
max-disorder: 2m
idle-timeout: 5s
window:
  type: sliding
  size: 20m
  group-by: [place, agency]
  aggregates: [{name: n, function: count}, {name: rate, function: rate}]
  emit: on_change
)",
    R"(
id: townships
stream: calls.raw
order: arrival
window:
  type: tumbling
  size: 15m
  group-by: [township]
  aggregates: [{name: n, function: count}]
  emit: on_change
)"};

std::vector<RuleSpec> CorrelationRules() {
  std::vector<RuleSpec> rules = PublicSafetyRules();
  for (RuleSpec& rule : rules) {
    if (rule.order == RuleOrder::kEventTime) rule.max_disorder = minutes(2);
  }
  for (RuleSpec rule :
       {testing::MakeSpec("threes", "place", "", 3, minutes(60), minutes(5)),
        testing::MakeSpec("all-agencies", "place", "agency", 3, minutes(240), minutes(5))}) {
    rule.max_disorder = minutes(2);
    rule.correct_within = minutes(90);
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::shared_ptr<const RulePlan> MakePlan() {
  std::vector<RuleEntry> entries;
  for (RuleSpec rule : CorrelationRules()) {
    entries.push_back({testing::MakeRule(std::move(rule)), 1});
  }
  const FixedStreams streams({{"calls.raw", testing::CallDescriptor(), "township", nullptr}});
  for (const char* yaml : kWindowRules) {
    const auto rule = CompileRule(yaml, "rule.yaml", streams);
    EXPECT_THAT(rule.status(), IsOk());
    if (rule.ok()) entries.push_back({*rule, 1});
  }
  StreamSpec stream;
  stream.topic = "calls.raw";
  stream.partitions = kManyPartitions;
  stream.message_type = "test.Call";
  stream.processed = true;
  stream.late = true;
  return RulePlan::Make(stream, entries);
}

// In no exact order: most a little late, some more than any rule waits for.
std::vector<Call> DisorderlyCalls() {
  const std::vector<Call> calls = testing::RandomCalls(77, kCalls);
  std::mt19937_64 random(77);
  std::vector<std::pair<WallTime, std::size_t>> order;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    constexpr int kDelays[] = {0, 0, 0, 0, 0, 0, 1, 2, 30, 120};
    order.emplace_back(calls[i].time + minutes(kDelays[random() % 10]), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<Call> disorderly;
  for (const auto& [time, i] : order) disorderly.push_back(calls[i]);
  return disorderly;
}

// What was told of each key of each topic.
using Told = std::map<std::pair<std::string, std::string>, std::vector<std::string>>;

// As text that shows where two differ.
std::string TextOf(const kafka::Record& record) {
  std::string text;
  for (const auto& [name, value] : record.headers.entries()) {
    if (name == kTransactionHeader || name == kInputsHeader || name == "traceparent") continue;
    text += Concat(name, "=", value, "\n");
  }
  return text + record.value.value_or("(none)");
}

// One Kafka, the whole log in it, and as many workers.
class DeterministicRun : public WorkerWorld {
 public:
  DeterministicRun(int workers, std::uint64_t seed)
      : WorkerWorld(kManyPartitions), count_(workers), random_(seed) {
    const std::shared_ptr<const RulePlan> plan = MakePlan();
    for (const std::string& topic : plan->InputTopics()) {
      if (topic != "calls.raw" && topic != kByPlace) kafka_.CreateTopic(topic, kManyPartitions);
    }
    kafka_.CreateTopic("aggregates", kManyPartitions);
    kafka_.CreateTopic("calls.raw.late", kManyPartitions);
    rules_.SetPlan(plan);
    configure_ = [this](WorkerOptions& options) {
      options.max_batch = 1 + random_() % 40;
      options.task.aggregate_schema.id = schema::SchemaId(3);
    };
  }

  Told Tell(const std::vector<Call>& calls) {
    // In pieces, so that some partitions are read far while others wait. Workers come one after the
    // other, so that partitions move while there is much to do; one goes away in the middle and
    // comes back without its disk.
    Join(0, "disk");
    const std::size_t piece = calls.size() / (2 * static_cast<std::size_t>(count_) + 2);
    std::size_t published = 0;
    const auto go_on = [&](std::size_t until) {
      while (published < std::min(until, calls.size())) {
        for (std::size_t left = 1 + random_() % 6; left > 0 && published < calls.size(); --left) {
          kafka_.Append(Outgoing(calls[published]));
          // Sent twice, now and then.
          if (published % 7 == 0) kafka_.Append(Outgoing(calls[published]));
          ++published;
        }
        StepAtRandom(static_cast<int>(random_() % 4));
      }
    };
    for (int i = 1; i < count_; ++i) {
      go_on(published + piece);
      Join(i, "disk");
    }
    if (count_ > 1) {
      go_on(published + piece);
      workers_.back().reset();
      workers_.pop_back();
      go_on(published + piece);
      Join(count_ - 1, "another disk");
    }
    go_on(calls.size());
    std::vector<Worker*> workers;
    for (const auto& worker : workers_) workers.push_back(worker.get());
    RunUntilIdle(workers);
    // Until the last windows have closed in silence.
    for (int i = 0; i < 4; ++i) Settle(workers);
    int running = 0;
    for (Worker* worker : workers) {
      running += worker->status().running;
      EXPECT_GT(worker->status().running, 0);
      EXPECT_EQ(worker->status().problem, "");
    }
    EXPECT_EQ(running, kManyPartitions);
    for (std::int32_t p = 0; p < kManyPartitions; ++p) {
      EXPECT_GT(kafka_.EndOffset({"calls.raw", p}), 0) << p;
    }

    Told told;
    for (const char* topic : kOutputTopics) {
      for (const kafka::Record& record : kafka_.Log(topic)) {
        told[{topic, record.key.value_or("")}].push_back(TextOf(record));
      }
    }
    // Late events of one key are told by two tasks, where they came in and where a session missed
    // them: which comes first is nobody's promise.
    for (auto& [where, records] : told) {
      if (where.first == "calls.raw.late") std::sort(records.begin(), records.end());
    }
    return told;
  }
  // Of all outputs.
  std::set<std::string> Workers() const {
    std::set<std::string> workers;
    for (const char* topic : kOutputTopics) {
      for (const kafka::Record& record : kafka_.Log(topic)) {
        const auto stamp = ParseStamp(record.headers.Find(kTransactionHeader).value_or(""));
        EXPECT_TRUE(stamp.has_value());
        if (stamp.has_value()) workers.insert(stamp->transaction.worker);
      }
    }
    return workers;
  }
  template <typename Message>
  std::vector<Message> All(std::string_view topic) const {
    std::vector<Message> messages;
    for (const kafka::Record& record : kafka_.Log(topic)) {
      const auto framed = schema::DecodeFrame(record.value.value());
      EXPECT_THAT(framed, IsOk());
      EXPECT_TRUE(messages.emplace_back().ParseFromString(std::string(framed->payload)));
    }
    return messages;
  }

 private:
  void Join(int number, std::string_view disk) {
    workers_.push_back(MakeWorker(Concat("w", number), Concat(disk, number)));
  }
  void StepAtRandom(int steps) {
    for (int i = 0; i < steps; ++i) workers_[random_() % workers_.size()]->Step();
  }

  const int count_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

const std::vector<Call>& TheLog() {
  static const std::vector<Call> calls = DisorderlyCalls();
  return calls;
}

const Told& WhatOneWorkerTells() {
  static const Told told = DeterministicRun(1, 1).Tell(TheLog());
  return told;
}

// It would be easy to be equal in nothing.
TEST(DeterminismTest, EveryRuleHasSomethingToTell) {
  DeterministicRun run(1, 1);
  run.Tell(TheLog());
  std::map<std::string, int> detections;
  int retracted = 0;
  int corrected = 0;
  for (const auto& detection : run.All<v1::Detection>("detections")) {
    ++detections[detection.rule_id()];
    if (detection.retracted()) ++retracted;
    if (!detection.corrects().empty()) ++corrected;
  }
  for (const RuleSpec& rule : CorrelationRules()) EXPECT_GT(detections[rule.id], 2) << rule.id;
  EXPECT_GT(retracted, 0);
  EXPECT_GT(corrected, 0);
  std::map<std::string, int> results;
  std::map<std::string, int> before_the_end;
  int corrections = 0;
  std::set<std::string> closed;
  for (const auto& result : run.All<v1::WindowResult>("aggregates")) {
    ++results[result.rule_id()];
    if (!result.final()) ++before_the_end[result.rule_id()];
    const std::string window = Concat(
        result.rule_id(), "|", Join({result.group_key().begin(), result.group_key().end()}, "|"),
        "|", result.window_start().seconds());
    if (result.final() && !closed.insert(window).second) ++corrections;
  }
  for (const char* rule : {"agencies", "sessions", "lately", "townships"}) {
    EXPECT_GT(results[rule], 20) << rule;
  }
  for (const char* rule : {"agencies", "townships"}) EXPECT_GT(before_the_end[rule], 20) << rule;
  EXPECT_GT(corrections, 0);
}

class SameOutputsTest : public ::testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(SameOutputsTest, WhateverTheWorkers) {
  const auto [workers, seed] = GetParam();
  DeterministicRun run(workers, static_cast<std::uint64_t>(seed));
  const Told told = run.Tell(TheLog());
  EXPECT_EQ(run.Workers().size(), static_cast<std::size_t>(workers)) << "all have had work";
  const Told& expected = WhatOneWorkerTells();
  EXPECT_EQ(told.size(), expected.size());
  for (const auto& [where, records] : expected) {
    const auto found = told.find(where);
    ASSERT_NE(found, told.end()) << where.first << " " << where.second;
    ASSERT_EQ(found->second, records) << where.first << " " << where.second;
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, SameOutputsTest,
                         ::testing::Combine(::testing::Values(1, 2, 4), ::testing::Values(2, 3, 4)),
                         [](const auto& test) {
                           return Concat("Workers", std::get<0>(test.param), "Run",
                                         std::get<1>(test.param));
                         });

}  // namespace
}  // namespace tocsin::correlation
