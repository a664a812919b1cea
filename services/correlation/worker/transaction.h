// One Kafka transaction, from Begin to its end, with what each class of error asks for.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/transactional_producer.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/worker/stamp.h"

namespace tocsin::correlation {

// All that becomes visible at once.
struct TransactionContent {
  // Of one task.
  struct Outputs {
    // The header `tocsin.inputs` of each.
    std::string inputs;
    std::vector<kafka::OutgoingRecord> records;
  };
  struct Changes {
    kafka::TopicPartition changelog;
    std::shared_ptr<const StateChanges> changes;
  };
  std::vector<Outputs> outputs;
  std::vector<Changes> changes;
  // Goes with it and carries no stamp.
  std::vector<kafka::OutgoingRecord> bookkeeping;
  kafka::Offsets offsets;
  kafka::GroupMetadata member;
  // Of the outputs; unused where there are none.
  TransactionStamp stamp;
};

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
  // From Begin to the end.
  std::chrono::nanoseconds took{0};
};

struct TransactionRules {
  // Retriable errors are tried so often; each try may block for twice the transaction timeout.
  int attempts = 3;
  // Asked before each further try; may be empty.
  std::function<bool()> give_up = nullptr;
  // Asked before anything begins, and again before the commit begins: an error aborts instead. May
  // be empty.
  std::function<absl::Status()> may_commit = nullptr;
};

TransactionOutcome RunTransaction(kafka::TransactionalProducer& producer,
                                  const TransactionContent& content, const TransactionRules& rules);

}  // namespace tocsin::correlation
