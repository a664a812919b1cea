// Outputs that do not wait for a transaction (Guarantee::kAtLeastOnce): written as they come, and
// known to be in the log before the transaction of the state that says so is committed.
//
// Threads: Write from the worker's, a ticket's Wait from the committer's.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "lib/kafka/producer.h"

namespace tocsin::correlation {

class PlainOutputs {
 public:
  // The outputs of one transaction.
  class Ticket {
   public:
    // Until all are in the log. The first failure; DEADLINE_EXCEEDED: not yet.
    absl::Status Wait(std::chrono::milliseconds timeout);

   private:
    friend class PlainOutputs;
    Mutex mutex_;
    CondVar changed_;
    std::size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
    absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  };

  explicit PlainOutputs(std::unique_ptr<kafka::Producer> producer)
      : producer_(std::move(producer)) {}

  // Blocks while the producer's queue is full, for at most `timeout`; then it counts as failed.
  void Write(kafka::OutgoingRecord record, const std::shared_ptr<Ticket>& ticket,
             std::chrono::milliseconds timeout);

 private:
  const std::unique_ptr<kafka::Producer> producer_;
};

}  // namespace tocsin::correlation
