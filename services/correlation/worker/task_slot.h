// The tasks of one worker and how far each has come.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "lib/base/clock.h"
#include "lib/kafka/types.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/store/state_store.h"

namespace tocsin::correlation {

enum class Phase { kIncomplete, kRestoring, kRunning, kRefused };

// One partition number of a stream, assigned to a worker.
struct TaskSlot {
  std::shared_ptr<const RulePlan> plan;
  std::int32_t partition = 0;
  std::set<std::string> assigned_topics;
  Phase phase = Phase::kIncomplete;
  // Committed.
  std::unique_ptr<StateStore> store;
  // Running: over it the changes of the transaction under way, and over those what is computed now.
  std::unique_ptr<InFlight> in_flight;
  std::unique_ptr<Overlay> overlay;
  std::unique_ptr<Task> task;
  IdleTracker idle;
  bool more = false;

  // Restoring.
  bool target_known = false;
  std::int64_t target = 0;
  // By the group.
  kafka::Offsets committed;
  bool rebuilt = false;
  bool reading = false;
  // Where the reading of the changelog stands, and since when.
  std::int64_t stands_at = 0;
  std::optional<SteadyTime> stands_since;

  // Running: the next offset of each input topic, as in the store, and as computed.
  std::map<std::string, std::int64_t> committed_next;
  std::map<std::string, std::int64_t> next;
  // Confluent's prefix of the last event that was taken in: what begins with it needs no asking.
  std::string known_prefix;
  // The stream's partition is paused at an event with this prefix until somebody can tell whether
  // its schema is known; why, in `problem`.
  std::optional<std::string> held_prefix;
  std::string problem;

  // "alerts.raw[3]"
  std::string Name() const;
  kafka::TopicPartition Changelog() const;
};

// Stream and partition number.
using TaskId = std::pair<std::string, std::int32_t>;
using TaskSlots = std::map<TaskId, TaskSlot>;

}  // namespace tocsin::correlation
