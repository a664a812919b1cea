// Writes batches of records, idempotent and without a transaction: what was produced is in the log
// when Flush says so. At least once: after a Flush that failed, or a crash before it, some of the
// batch may be in the log all the same.
//
//   loop:   ProduceView… → Flush → commit the input's offsets
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "lib/kafka/record_view.h"
#include "lib/kafka/transactional_producer.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {

struct BatchProducerOptions {
  Connection connection = {};
  // From ProduceView to giving up. More than zero.
  std::chrono::milliseconds message_timeout{8'000};
  std::size_t max_queued_records = 200'000;
  std::size_t max_queued_bytes = 128U << 20;
  std::size_t max_record_bytes = 2U << 20;
  // How long a record may wait for company; Flush ends the wait.
  std::chrono::milliseconds linger{2};
};

// One thread at a time. The destructor drops what is not flushed; it blocks for at most about 1 s.
class BatchProducer {
 public:
  virtual ~BatchProducer() = default;

  // Copies what `record` shows. Does not wait for delivery; a failed one shows in Flush. Blocks
  // while the queue is full, at most `message_timeout`, then kAbort. kFatal: destroy the producer.
  virtual TransactionResult ProduceView(const OutgoingView& record) = 0;
  TransactionResult Produce(const OutgoingRecord& record);

  // Waits until everything produced is in the log or has failed, and begins a new batch unless the
  // answer is kRetriable.
  //   kRetriable  not yet, after `timeout`: call again, and nothing else in between
  //   kAbort      some record is not confirmed: produce the whole batch once more
  //   kFatal      as kAbort, by a new producer
  virtual CommitResult Flush(std::chrono::milliseconds timeout) = 0;
};

// INVALID_ARGUMENT: an option does not make sense. Does not wait for the broker: Flush does.
absl::StatusOr<std::unique_ptr<BatchProducer>> MakeBatchProducer(BatchProducerOptions options);

}  // namespace tocsin::kafka
