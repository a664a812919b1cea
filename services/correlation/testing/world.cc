#include "services/correlation/testing/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "lib/base/hash.h"

namespace tocsin::correlation::testing {
namespace {

std::vector<const PlannedRule*> RulesOf(const RulePlan& plan) {
  std::vector<const PlannedRule*> rules;
  for (const PlannedRule& rule : plan.local()) rules.push_back(&rule);
  for (const auto* topics : {&plan.repartitions(), &plan.forwards()}) {
    for (const Repartition& repartition : *topics) {
      for (const PlannedRule& rule : repartition.rules) rules.push_back(&rule);
    }
  }
  return rules;
}

}  // namespace

World::World(std::vector<std::shared_ptr<const RulePlan>> plans, WorldOptions options)
    : plans_(std::move(plans)),
      options_(std::move(options)),
      random_(options_.seed),
      counts_(plans_.size()) {
  for (std::size_t stream = 0; stream < plans_.size(); ++stream) {
    for (std::int32_t p = 0; p < plans_[stream]->stream().partitions; ++p) {
      Owner& owner = owners_.emplace_back();
      owner.stream = stream;
      owner.partition = p;
      Restart(owner);
    }
  }
}
World::~World() = default;

void World::Restart(Owner& owner) {
  owner.task = std::make_unique<Task>(owner.partition, plans_[owner.stream], options_.task);
  owner.idle.Reset();
  owner.more = false;
}

void World::StopCrashing() {
  options_.crash_percent = 0;
  options_.restart_percent = 0;
}

void World::SetPlans(std::vector<std::shared_ptr<const RulePlan>> plans) {
  plans_ = std::move(plans);
  for (Owner& owner : owners_) owner.task->SetPlan(plans_[owner.stream]);
}

void World::Append(kafka::OutgoingRecord outgoing) {
  kafka::Record record;
  record.topic = outgoing.topic;
  record.partition = outgoing.partition;
  if (record.partition == kafka::kPartitionByKey) {
    record.partition =
        PartitionForKey(outgoing.key.value_or(""), plans_.front()->stream().partitions);
  }
  record.key = std::move(outgoing.key);
  record.value = std::move(outgoing.value);
  record.headers = std::move(outgoing.headers);
  std::vector<kafka::Record>& log = log_[record.where()];
  // Offsets have gaps, as transaction markers make them.
  record.offset = log.empty() ? 0 : log.back().offset + 1 + static_cast<std::int64_t>(Below(2));
  record.timestamp =
      WallTime(std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()));
  log.push_back(std::move(record));
}

void World::Publish(kafka::Record record) {
  Append({record.topic, kafka::kPartitionByKey, std::move(record.key), std::move(record.value),
          std::move(record.headers)});
}

std::map<std::string, std::int64_t> World::Positions(const Owner& owner) const {
  std::map<std::string, std::int64_t> positions = Task::Offsets(owner.state);
  for (const std::string& topic : PlanOf(owner).InputTopics()) positions.try_emplace(topic, 0);
  return positions;
}

bool World::RunTask(Owner& owner, std::vector<DueSilence> silences) {
  TaskInput input;
  input.silences = std::move(silences);
  kafka::HeaderMemory headers;
  std::deque<kafka::RecordView> views;
  if (!owner.more) {
    // A random number of records from each topic, then shuffled together without changing the order
    // within a topic.
    std::vector<std::deque<const kafka::Record*>> queues;
    const std::map<std::string, std::int64_t> positions = Positions(owner);
    for (const std::string& topic : PlanOf(owner).InputTopics()) {
      std::deque<const kafka::Record*> queue;
      std::size_t wanted = Below(options_.max_batch + 1);
      const std::vector<kafka::Record>& log = log_[{topic, owner.partition}];
      auto next = std::lower_bound(
          log.begin(), log.end(), positions.at(topic),
          [](const kafka::Record& record, std::int64_t offset) { return record.offset < offset; });
      for (; next != log.end() && wanted > 0; ++next, --wanted) queue.push_back(&*next);
      if (!queue.empty()) queues.push_back(std::move(queue));
    }
    while (!queues.empty()) {
      const std::size_t chosen = Below(queues.size());
      const kafka::Record* record = queues[chosen].front();
      queues[chosen].pop_front();
      if (queues[chosen].empty()) {
        queues.erase(queues.begin() + static_cast<std::ptrdiff_t>(chosen));
      }
      input.records.push_back(&views.emplace_back(kafka::AsView(*record, headers)));
      input.next_offsets[record->topic] = record->offset + 1;
      if (record->topic == PlanOf(owner).stream().topic) owner.idle.Reset();
    }
  }
  Overlay overlay(owner.state);
  // Every other transaction is of two runs, as a worker's are of many.
  input.flush = commits_ % 2 == 0 || input.records.empty();
  TaskResult result = owner.task->Run(input, overlay);
  if (!input.flush) {
    TaskInput flush;
    flush.now = input.now;
    TaskResult rest = owner.task->Run(flush, overlay);
    std::move(rest.outputs.begin(), rest.outputs.end(), std::back_inserter(result.outputs));
    result.counts += rest.counts;
    result.more = rest.more;
  }
  if (overlay.empty() && result.outputs.empty()) {
    owner.more = result.more;
    return false;
  }
  if (Percent(options_.crash_percent)) {
    // Nothing of it ever happened.
    if (Percent(50)) {
      Restart(owner);
    } else {
      owner.task->Rewind();
    }
    return true;
  }
  for (OutputRecord& output : result.outputs) Append(std::move(output.record));
  owner.state.Apply(overlay.changes());
  owner.more = result.more;
  counts_[owner.stream] += result.counts;
  // In every transaction, whatever is under way.
  for (const PlannedRule* rule : RulesOf(PlanOf(owner))) result.counts.rules[rule->rule->id()];
  EXPECT_EQ(Unreconciled(result.counts), "");
  ++commits_;
  if (Percent(options_.restart_percent)) {
    const bool more = owner.more;
    Restart(owner);
    owner.more = more;
  }
  return true;
}

void World::RunSomething() { RunTask(owners_[Below(owners_.size())], {}); }

void World::RunUntilQuiet() {
  const auto pending = [&] {
    for (const Owner& owner : owners_) {
      if (owner.more || owner.task->HasWork(owner.state)) return true;
      for (const auto& [topic, position] : Positions(owner)) {
        const auto& log = log_[{topic, owner.partition}];
        if (!log.empty() && log.back().offset >= position) return true;
      }
    }
    return false;
  };
  while (pending()) RunSomething();
}

void World::Probe(Owner& owner) {
  const RulePlan& plan = PlanOf(owner);
  const std::vector<kafka::Record>& log = log_[{plan.stream().topic, owner.partition}];
  if (!log.empty() && log.back().offset >= Positions(owner).at(plan.stream().topic)) {
    owner.idle.Reset();
    return;
  }
  if (!owner.idle.ProbeDue(now_)) return;
  const std::vector<DueSilence> due =
      owner.idle.OnProbe(now_, owner.task->HighestSeen(owner.state), plan.idle_timeouts());
  if (owner.task->WouldPromise(due, owner.state)) RunTask(owner, due);
}

void World::Wait(std::chrono::seconds time) {
  const SteadyTime until = now_ + time;
  while (now_ < until) {
    now_ += std::chrono::milliseconds(100 + Below(900));
    for (Owner& owner : owners_) Probe(owner);
    for (std::size_t n = Below(3 * owners_.size()); n > 0; --n) RunSomething();
  }
}

std::vector<kafka::Record> World::LogOf(std::string_view topic) {
  std::vector<kafka::Record> records;
  for (std::int32_t p = 0; p < plans_.front()->stream().partitions; ++p) {
    const std::vector<kafka::Record>& log = Log(std::string(topic), p);
    records.insert(records.end(), log.begin(), log.end());
  }
  return records;
}

}  // namespace tocsin::correlation::testing
