// Writes records and a consumer's offsets in one Kafka transaction: all of it or nothing becomes
// visible to read_committed readers.
//
//   Init()  once; fences every older producer with the same id and aborts what it left open
//   loop:   Begin → Produce… → SendOffsets → Commit    (or Abort after any error of class kAbort)
//
// After Commit or Abort, ask outcome_indefinite(): when true, destroy this producer and make a new
// one with the same transactional id before the next Begin. librdkafka has no KIP-890: a request
// that was delayed on the wire could otherwise act on a later transaction of the same epoch.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/record_view.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {

// What the caller has to do about a failed step.
enum class ErrorClass {
  kNone,       // it succeeded
  kRetriable,  // call the same function again with the same arguments, and no other in between
  kAbort,      // Abort; drop what was computed; seek the inputs back to the committed offsets
  kFatal,      // destroy the producer (fenced, or its state is unknown); drop what was computed
};
std::string_view ErrorClassName(ErrorClass error_class);

struct TransactionResult {
  absl::Status status = absl::OkStatus();
  ErrorClass error_class = ErrorClass::kNone;

  bool ok() const { return error_class == ErrorClass::kNone; }
};

struct CommitResult {
  absl::Status status = absl::OkStatus();
  ErrorClass error_class = ErrorClass::kNone;
  // For each partition written in the transaction, the offset behind its last record: the position
  // up to which a reader has everything of this transaction. Empty unless ok().
  Offsets written = {};

  bool ok() const { return error_class == ErrorClass::kNone; }
};

struct TransactionalProducerOptions {
  Connection connection = {};
  // Stable over restarts and used by one live producer only: <service>.<group>.<ordinal>.
  std::string transactional_id = {};
  // After so long the coordinator aborts an open transaction. Must be less than the consumer's
  // session timeout.
  std::chrono::milliseconds transaction_timeout{8'000};
  // A commit or abort that takes longer makes the outcome of later ones doubtful.
  std::chrono::milliseconds indefinite_after{2'000};
  std::size_t max_queued_records = 200'000;
  std::size_t max_queued_bytes = 128U << 20;
  std::size_t max_record_bytes = 2U << 20;
};

// One thread at a time. Each call but Produce and ProduceView blocks for at most 2 ×
// transaction_timeout; kRetriable errors are retried inside for up to one transaction_timeout
// before they are returned. The destructor does not abort: the coordinator does, at the next Init
// under this id or after transaction_timeout; it blocks for at most about 1 s.
class TransactionalProducer {
 public:
  virtual ~TransactionalProducer() = default;

  // kRetriable: the cluster does not answer, or an older transaction is still being ended.
  virtual TransactionResult Init() = 0;
  virtual TransactionResult Begin() = 0;
  // Copies what `record` shows. Does not wait for delivery; a failed one shows in Commit as kAbort.
  // Blocks while the queue is full, at most transaction_timeout, then kAbort.
  virtual TransactionResult ProduceView(const OutgoingView& record) = 0;
  TransactionResult Produce(const OutgoingRecord& record);
  // `next`: for each input partition the next offset to read. `member`: the consumer's proof of
  // membership, taken after the last poll that the offsets rest on: one taken before a rebalance is
  // refused by the group, one taken after it would let a member commit what has become another's.
  // kAbort when the group has moved on: the new owner reads them again.
  virtual TransactionResult SendOffsets(const Offsets& next, const GroupMetadata& member) = 0;
  // With the consumer's membership of this moment; on the consumer's thread.
  TransactionResult SendOffsets(const Offsets& next, Consumer& consumer);
  // Flushes, then commits. kRetriable: not known yet, call again.
  virtual CommitResult Commit() = 0;
  virtual TransactionResult Abort() = 0;

  // True after a request of the current or last transaction timed out, lost its connection or took
  // longer than `indefinite_after`, or the process stood still for more than a second meanwhile.
  // Stays true. Any thread.
  virtual bool outcome_indefinite() const = 0;
  // Why; empty while false.
  virtual std::string indefinite_reason() const = 0;
};

// INVALID_ARGUMENT: an option does not make sense. Does not wait for the broker: Init does.
absl::StatusOr<std::unique_ptr<TransactionalProducer>> MakeTransactionalProducer(
    TransactionalProducerOptions options);

}  // namespace tocsin::kafka
