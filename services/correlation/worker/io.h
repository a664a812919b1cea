// All that a worker needs from the world.
//
// Delivery guarantee: exactly once by default. What a batch of records causes — outputs, changes of
// the state, the offsets that the group has read — becomes visible in one Kafka transaction or not
// at all; the store on this machine's disk follows after the commit and can always be rebuilt from
// the changelog.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/transactional_producer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/worker/committer.h"
#include "services/correlation/worker/schema_gate.h"

namespace tocsin::correlation {

// The rules of all streams at one moment.
struct RuleSet {
  // Grows with each change.
  std::int64_t epoch = 0;
  // One for each configured stream, with or without rules.
  std::vector<std::shared_ptr<const RulePlan>> plans;

  const RulePlan* FindStream(std::string_view topic) const;
  // The plan that reads `topic`, as the stream itself or as a repartition topic.
  std::shared_ptr<const RulePlan> PlanReading(std::string_view topic) const;
  // Everything that a worker subscribes to, sorted.
  std::vector<std::string> InputTopics() const;
};

// Thread-safe.
class RuleSource {
 public:
  virtual ~RuleSource() = default;
  // Never null; the same object until something changes.
  virtual std::shared_ptr<const RuleSet> Current() const = 0;
};

// Who else of this process may have a partition's store open. Thread-safe.
class StoreClaims {
 public:
  virtual ~StoreClaims() = default;
  // A worker was given the partition: its store is closed when this returns. Blocks for the
  // closing.
  virtual void Claim(const std::string& stream, std::int32_t partition) = 0;
  // The worker has closed the store.
  virtual void GiveBack(const std::string& stream, std::int32_t partition) = 0;
};

struct WorkerIo {
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer;
  std::function<absl::StatusOr<std::unique_ptr<kafka::TransactionalProducer>>(
      std::string transactional_id)>
      make_producer;
  // For outputs in Guarantee::kAtLeastOnce; not called otherwise.
  std::function<absl::StatusOr<std::unique_ptr<kafka::Producer>>()> make_plain_producer = nullptr;
  // Where transactions run; empty: on a thread beside the worker's.
  std::function<std::unique_ptr<Committer>()> make_committer = nullptr;
  // Null: every schema is welcome.
  SchemaGate* schemas = nullptr;
  // Null: nobody else has stores.
  StoreClaims* claims = nullptr;
  const RuleSource* rules = nullptr;
  const Clock* clock = nullptr;
};

}  // namespace tocsin::correlation
