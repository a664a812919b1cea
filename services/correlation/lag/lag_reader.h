// How far the group is behind in what it reads: asked of Kafka alone, so that any process can
// answer for all, also while workers stand still.
//
// It looks with clients of its own that belong to no group and commit nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/worker/io.h"

namespace tocsin::correlation {

struct PartitionLag {
  kafka::TopicPartition where;
  // Whose task reads it.
  std::string stream;
  // The next offset that the group reads; nullopt: it begins at the beginning.
  std::optional<std::int64_t> committed;
  // The last stable offset, and the high watermark.
  std::int64_t end = 0;
  std::int64_t high_watermark = 0;
  // From `committed` to `end`; 0 where nothing but markers lies between.
  std::int64_t records = 0;
  // Of the first record that was not handled: its Kafka timestamp, and its age.
  std::optional<WallTime> oldest;
  std::chrono::microseconds behind{0};
  // Who reads it now; empty where nobody does, or nobody knows.
  std::string owner;
  // Not empty: the figures are not known, or not all.
  std::string problem;
};

struct Lag {
  WallTime time{};
  // By topic and partition.
  std::vector<PartitionLag> partitions;
};

struct LagIo {
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer;
  kafka::Admin* admin = nullptr;
  const Clock* clock = nullptr;
};

// Thread-safe; one call at a time is at work, the others wait.
class LagReader {
 public:
  // What `io` points to must outlive it.
  LagReader(LagIo io, std::string group) : io_(std::move(io)), group_(std::move(group)) {}

  // Everything that these rules read, by the deadline and a little: a partition that does not
  // answer says so in its `problem`. UNAVAILABLE: there are no plans yet, or no broker answers.
  // DEADLINE_EXCEEDED: others were still asking.
  absl::StatusOr<Lag> Read(const RuleSet& rules, SteadyTime deadline);

 private:
  absl::StatusOr<Lag> ReadNow(const RuleSet& rules, SteadyTime deadline);
  // One for each partition that there is.
  absl::StatusOr<std::vector<PartitionLag>> Partitions(const RuleSet& rules, SteadyTime deadline);
  void FindOwners(std::vector<PartitionLag>& partitions, SteadyTime deadline);
  absl::Status FindCommitted(std::vector<PartitionLag>& partitions, SteadyTime deadline);
  // The ends of one partition, and the beginning where the group has committed nothing.
  absl::Status FindEnds(PartitionLag& lag, SteadyTime deadline);
  // Looks at the first record of each partition that has some left.
  absl::Status FindOldest(std::vector<PartitionLag>& partitions, SteadyTime deadline);
  absl::Status EnsureClients();
  // For one question.
  std::chrono::milliseconds Patience(SteadyTime deadline) const;

  const LagIo io_;
  const std::string group_;

  Mutex mutex_;
  CondVar free_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;

  // Of whoever is at work. One asks for what the group has committed, the other reads.
  std::unique_ptr<kafka::Consumer> group_view_;
  std::unique_ptr<kafka::Consumer> reader_;
};

}  // namespace tocsin::correlation
