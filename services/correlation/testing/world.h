// A small world without Kafka in which tasks run as they do in workers: topics in memory, batches
// cut and interleaved at random, transactions that are committed whole or dropped whole, tasks that
// lose their memory. What a seed does once it does always.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kafka/types.h"
#include "services/correlation/engine/task.h"

namespace tocsin::correlation::testing {

struct WorldOptions {
  std::uint64_t seed = 1;
  // Of 100 batches, how many are dropped with everything they computed before they are committed.
  int crash_percent = 10;
  // Of 100 commits, after how many the task loses its memory.
  int restart_percent = 10;
  std::size_t max_batch = 20;
  TaskOptions task;
};

class World {
 public:
  World(std::shared_ptr<const RulePlan> plan, WorldOptions options)
      : World(std::vector<std::shared_ptr<const RulePlan>>{std::move(plan)}, std::move(options)) {}
  // Several streams, all with the same number of partitions.
  World(std::vector<std::shared_ptr<const RulePlan>> plans, WorldOptions options);
  ~World();

  // Appends to the partition of the record's key.
  void Publish(kafka::Record record);
  // One task chosen at random does one batch, where it has something to do.
  void RunSomething();
  // Everything that can be done without time passing.
  void RunUntilQuiet();
  // Time passes, in steps in which each partition probes for silence once a second.
  void Wait(std::chrono::seconds time);
  void StopCrashing();
  void SetPlan(std::shared_ptr<const RulePlan> plan) { SetPlans({std::move(plan)}); }
  void SetPlans(std::vector<std::shared_ptr<const RulePlan>> plans);

  std::mt19937_64& random() { return random_; }
  const std::vector<kafka::Record>& Log(const std::string& topic, std::int32_t partition) {
    return log_[{topic, partition}];
  }
  // Of all partitions, one after the other.
  std::vector<kafka::Record> LogOf(std::string_view topic);
  // Of the first stream, or of another.
  const Counts& counts(std::size_t stream = 0) const { return counts_[stream]; }
  // Transactions committed so far.
  std::int64_t commits() const { return commits_; }
  // Of the first stream.
  const MemoryState& state(std::int32_t partition) const {
    return owners_[static_cast<std::size_t>(partition)].state;
  }

 private:
  struct Owner {
    std::size_t stream = 0;
    std::int32_t partition = 0;
    MemoryState state;
    std::unique_ptr<Task> task;
    IdleTracker idle;
    // Run again before the next records.
    bool more = false;
  };

  bool Percent(int chance) { return std::uniform_int_distribution<int>(0, 99)(random_) < chance; }
  std::size_t Below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
  }
  std::map<std::string, std::int64_t> Positions(const Owner& owner) const;
  // False when there was nothing to do.
  bool RunTask(Owner& owner, std::vector<DueSilence> silences);
  void Probe(Owner& owner);
  void Restart(Owner& owner);
  const RulePlan& PlanOf(const Owner& owner) const { return *plans_[owner.stream]; }
  void Append(kafka::OutgoingRecord record);

  std::vector<std::shared_ptr<const RulePlan>> plans_;
  WorldOptions options_;
  std::mt19937_64 random_;
  std::vector<Owner> owners_;
  std::map<kafka::TopicPartition, std::vector<kafka::Record>> log_;
  SteadyTime now_{std::chrono::hours(1)};
  std::vector<Counts> counts_;
  std::int64_t commits_ = 0;
};

}  // namespace tocsin::correlation::testing
