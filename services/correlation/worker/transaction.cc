#include "services/correlation/worker/transaction.h"

#include <utility>

#include "lib/base/status.h"

namespace tocsin::correlation {
namespace {

using kafka::ErrorClass;
using kafka::TransactionResult;
using Kind = TransactionOutcome::Kind;

// Calls again while the same call may help, and no other in between.
template <typename Call>
auto Persist(const TransactionRules& rules, const Call& call) {
  for (int attempt = 1;; ++attempt) {
    auto result = call();
    if (result.error_class != ErrorClass::kRetriable || attempt >= rules.attempts ||
        (rules.give_up && rules.give_up())) {
      return result;
    }
  }
}

// Not tried again: Produce blocks while its queue is full and then asks for an abort.
TransactionResult ProduceAll(kafka::TransactionalProducer& producer,
                             const TransactionContent& content) {
  std::vector<kafka::HeaderViews::Entry> headers;
  std::int64_t i = 0;
  for (const TransactionContent::Outputs& of_task : content.outputs) {
    for (const kafka::OutgoingRecord& record : of_task.records) {
      const std::string stamp = content.stamp.Header(++i);
      headers.clear();
      for (const auto& [name, value] : record.headers.entries()) {
        // An event that was an output itself keeps no stamp of its own transaction.
        if (name != kTransactionHeader && name != kInputsHeader) headers.emplace_back(name, value);
      }
      headers.emplace_back(kTransactionHeader, stamp);
      headers.emplace_back(kInputsHeader, of_task.inputs);
      kafka::OutgoingView view;
      view.topic = record.topic;
      view.partition = record.partition;
      if (record.key.has_value()) view.key = *record.key;
      if (record.value.has_value()) view.value = *record.value;
      view.headers = kafka::HeaderViews(headers);
      TransactionResult produced = producer.ProduceView(view);
      if (!produced.ok()) return produced;
    }
  }
  for (const TransactionContent::Changes& of_task : content.changes) {
    for (const auto& [key, value] : *of_task.changes) {
      kafka::OutgoingView view;
      view.topic = of_task.changelog.topic;
      view.partition = of_task.changelog.partition;
      view.key = key;
      if (value.has_value()) view.value = *value;
      TransactionResult produced = producer.ProduceView(view);
      if (!produced.ok()) return produced;
    }
  }
  for (const kafka::OutgoingRecord& record : content.bookkeeping) {
    TransactionResult produced = producer.Produce(record);
    if (!produced.ok()) return produced;
  }
  return {};
}

}  // namespace

TransactionOutcome RunTransaction(kafka::TransactionalProducer& producer,
                                  const TransactionContent& content,
                                  const TransactionRules& rules) {
  const auto broken = [](absl::Status status) {
    return TransactionOutcome{Kind::kBroken, std::move(status), {}, {}};
  };
  // A step failed: abort where that is what the error asks for. A retriable error that stays is as
  // good as fatal: a new producer ends what this one has left open.
  const auto fail = [&](const absl::Status& status, ErrorClass error_class) {
    if (error_class != ErrorClass::kAbort) return broken(status);
    const TransactionResult aborted = Persist(rules, [&] { return producer.Abort(); });
    if (!aborted.ok()) return broken(Annotate(aborted.status, "abort"));
    return TransactionOutcome{Kind::kAborted, status, {}, {}};
  };

  if (const absl::Status may = rules.may_commit ? rules.may_commit() : absl::OkStatus();
      !may.ok()) {
    return {Kind::kAborted, may, {}, {}};
  }
  TransactionResult result = Persist(rules, [&] { return producer.Begin(); });
  // Nothing has begun, so there is nothing to abort.
  if (!result.ok()) return broken(Annotate(result.status, "begin"));
  // The offsets first. While the coordinator still writes the markers of the transaction before, it
  // refuses whatever comes; offsets are sent again soon, but records that were refused would wait
  // for 20 ms, which librdkafka has fixed.
  result = Persist(rules, [&] { return producer.SendOffsets(content.offsets, content.member); });
  if (!result.ok()) return fail(Annotate(result.status, "send offsets"), result.error_class);
  result = ProduceAll(producer, content);
  if (!result.ok()) return fail(Annotate(result.status, "produce"), result.error_class);
  if (const absl::Status may = rules.may_commit ? rules.may_commit() : absl::OkStatus();
      !may.ok()) {
    return fail(may, ErrorClass::kAbort);
  }
  kafka::CommitResult committed = Persist(rules, [&] { return producer.Commit(); });
  if (!committed.ok()) return fail(Annotate(committed.status, "commit"), committed.error_class);
  return {Kind::kCommitted, absl::OkStatus(), std::move(committed.written), {}};
}

}  // namespace tocsin::correlation
