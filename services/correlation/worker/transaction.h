// One Kafka transaction, from Begin to its end, with what each class of error asks for.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::correlation {

struct TransactionOutcome {
  enum class Kind {
    kCommitted,
    // Nothing of it happened. Go back to the committed offsets.
    kAborted,
    // Nobody here knows whether it happened, or the producer is of no use any more: make new
    // clients and read what is true from the broker.
    kBroken,
  };
  Kind kind = Kind::kBroken;
  absl::Status status;
  // kCommitted: for each partition written the offset behind its last record.
  kafka::Offsets written;
};

// Retriable errors are tried `attempts` times; each try may block for twice the transaction
// timeout. `give_up` (may be empty) is asked before each further try.
TransactionOutcome RunTransaction(kafka::TransactionalProducer& producer, kafka::Consumer& consumer,
                                  std::vector<kafka::OutgoingRecord> records,
                                  const kafka::Offsets& offsets, int attempts,
                                  const std::function<bool()>& give_up);

}  // namespace tocsin::correlation
