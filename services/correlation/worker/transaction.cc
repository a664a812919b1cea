#include "services/correlation/worker/transaction.h"

#include <utility>

#include "lib/base/status.h"

namespace tocsin::correlation {
namespace {

using kafka::ErrorClass;
using Kind = TransactionOutcome::Kind;

// Calls again while the same call may help, and no other in between.
template <typename Call>
auto Persist(int attempts, const std::function<bool()>& give_up, const Call& call) {
  for (int attempt = 1;; ++attempt) {
    auto result = call();
    if (result.error_class != ErrorClass::kRetriable || attempt >= attempts ||
        (give_up && give_up())) {
      return result;
    }
  }
}

}  // namespace

TransactionOutcome RunTransaction(kafka::TransactionalProducer& producer, kafka::Consumer& consumer,
                                  std::vector<kafka::OutgoingRecord> records,
                                  const kafka::Offsets& offsets, int attempts,
                                  const std::function<bool()>& give_up) {
  const auto broken = [](absl::Status status) {
    return TransactionOutcome{Kind::kBroken, std::move(status), {}};
  };
  // A step failed: abort where that is what the error asks for. A retriable error that stays is as
  // good as fatal: a new producer ends what this one has left open.
  const auto fail = [&](const absl::Status& status, ErrorClass error_class) {
    if (error_class != ErrorClass::kAbort) return broken(status);
    const kafka::TransactionResult aborted =
        Persist(attempts, give_up, [&] { return producer.Abort(); });
    if (!aborted.ok()) return broken(Annotate(aborted.status, "abort"));
    return TransactionOutcome{Kind::kAborted, status, {}};
  };

  kafka::TransactionResult result = Persist(attempts, give_up, [&] { return producer.Begin(); });
  // Nothing has begun, so there is nothing to abort.
  if (!result.ok()) return broken(Annotate(result.status, "begin"));
  for (kafka::OutgoingRecord& record : records) {
    // By copy only where a second try may be needed, which Produce does not ask for: it blocks
    // while its queue is full and then asks for an abort.
    result = producer.Produce(std::move(record));
    if (!result.ok()) return fail(Annotate(result.status, "produce"), result.error_class);
  }
  result = Persist(attempts, give_up, [&] { return producer.SendOffsets(offsets, consumer); });
  if (!result.ok()) return fail(Annotate(result.status, "send offsets"), result.error_class);
  kafka::CommitResult committed = Persist(attempts, give_up, [&] { return producer.Commit(); });
  if (!committed.ok()) return fail(Annotate(committed.status, "commit"), committed.error_class);
  return {Kind::kCommitted, absl::OkStatus(), std::move(committed.written)};
}

}  // namespace tocsin::correlation
