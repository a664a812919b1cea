// Where a worker's transactions run: beside the thread that polls and computes, one at a time.
//
// Threads: one at a time, that of the worker; the transaction itself may run on another.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "services/correlation/worker/transaction.h"

namespace tocsin::correlation {

class Committer {
 public:
  using Run = std::function<TransactionOutcome()>;

  virtual ~Committer() = default;
  // Begins; busy() until its outcome has been taken. Must not be busy.
  virtual void Start(Run run) = 0;
  virtual bool busy() const = 0;
  // The outcome of what was started, waiting for it at most so long. nullopt: not yet, or nothing
  // was started.
  virtual std::optional<TransactionOutcome> Take(std::chrono::nanoseconds wait) = 0;
};

// On a thread of its own. The destructor waits for what is under way.
std::unique_ptr<Committer> MakeThreadCommitter();

}  // namespace tocsin::correlation
