#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "services/correlation/engine/task.h"
#include "services/correlation/store/state_store.h"

namespace tocsin::correlation {

enum class Guarantee {
  // Outputs, state and offsets in one transaction.
  kExactlyOnce,
  // Outputs for others (detections, incidents, aggregates, processed and late events, dead letters)
  // are written at once, before the transaction of the state; a crash in between repeats them,
  // under
  // the same ids. State, and what one task tells another, stay exact.
  kAtLeastOnce,
};

struct WorkerOptions {
  // Stable over restarts and used by one live worker only: the group instance id, and with the
  // group the transactional id.
  std::string id;
  std::string group = "correlation";
  // Stores lie in <state_folder>/<stream>/<partition>.
  std::string state_folder;
  TaskOptions task;
  // How long Step waits at most for records, or for the changelog where nothing runs yet.
  std::chrono::milliseconds poll_timeout{100};
  // Most records of one poll, which tasks compute at once.
  std::size_t max_batch = 10'000;
  // A transaction begins to be committed when it has outputs and its first record is `min` old;
  // without outputs, or while there is a backlog (a poll finds a fifth of max_batch), when that is
  // `max` old.
  struct CommitInterval {
    std::chrono::milliseconds min{5};
    std::chrono::milliseconds max{100};
  };
  CommitInterval commit_interval;
  // Beyond this much a transaction takes in no more before the one under way has ended.
  std::size_t max_transaction_records = 50'000;
  std::size_t max_transaction_bytes = 32U << 20;
  // Silence after which the group gives this worker's partitions away. No commit begins when the
  // last poll is older than a third of it.
  std::chrono::milliseconds session_timeout{10'000};
  // How long a rebalance waits for the transaction under way. What is still under way then is left
  // to itself: the partitions' next owner waits for its end before it reads their state.
  std::chrono::milliseconds rebalance_wait{10'000};
  Guarantee guarantee = Guarantee::kExactlyOnce;
  std::chrono::milliseconds query_timeout{1'000};
  // How long a partition waits in place for the registry's word on a schema that is new to it.
  // After that it is paused and the others go on.
  std::chrono::milliseconds schema_wait{1'000};
  // How often a retriable step of a transaction is tried before the clients are made anew.
  int attempts = 3;
  // Compacted, one partition, made by whoever makes the changelogs.
  std::string WorkersTopic() const { return group + "-workers"; }
  // folder is ignored.
  StateStoreOptions store;
};

}  // namespace tocsin::correlation
