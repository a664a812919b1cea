#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "services/correlation/engine/task.h"
#include "services/correlation/store/state_store.h"

namespace tocsin::correlation {

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
  // Most records in one transaction.
  std::size_t max_batch = 2'000;
  std::chrono::milliseconds query_timeout{1'000};
  // How often a retriable step of a transaction is tried before the clients are made anew.
  int attempts = 3;
  // folder is ignored.
  StateStoreOptions store;
};

}  // namespace tocsin::correlation
