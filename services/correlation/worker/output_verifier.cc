#include "services/correlation/worker/output_verifier.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kQueryTimeout{5'000};
constexpr std::size_t kToldAtOnce = 10;

telemetry::Counter Violations(std::string_view kind) {
  return telemetry::GetCounter(
      "tocsin_correlation_eos_violations_total",
      "Outputs that were repeated or out of order, transactions that were torn or lost, as a "
      "reader of the output topics sees them. Anything but 0 is a fault.",
      {{"kind", std::string(kind)}});
}

}  // namespace

OutputVerifier::OutputVerifier(OutputVerifierIo io) : io_(std::move(io)) {
  // So that they are there, at 0, before anything happens.
  for (const char* kind : {"repeated", "reordered", "torn", "lost"}) (void)Violations(kind);
}

std::set<std::string> OutputTopics(const RuleSet& rules, const TaskOptions& task) {
  std::set<std::string> topics{task.detections_topic, task.incidents_topic, task.aggregates_topic};
  for (const auto& plan : rules.plans) {
    const StreamSpec& stream = plan->stream();
    topics.insert(stream.DeadLetterTopic());
    if (stream.processed) topics.insert(stream.ProcessedTopic());
    if (stream.late) topics.insert(stream.LateTopic());
    for (const Repartition& repartition : plan->repartitions()) topics.insert(repartition.topic);
    for (const Repartition& forward : plan->forwards()) topics.insert(forward.topic);
  }
  return topics;
}

absl::Status OutputVerifier::Start() {
  kafka::Offsets from;
  kafka::Offsets doubtful;
  TOCSIN_ASSIGN_OR_RETURN(auto consumer, io_.make_consumer({}));
  for (const std::string& topic : topics_) {
    const absl::StatusOr<std::int32_t> partitions = io_.partitions(topic);
    if (partitions.status().code() == absl::StatusCode::kNotFound) continue;
    TOCSIN_RETURN_IF_ERROR(partitions.status());
    for (std::int32_t p = 0; p < *partitions; ++p) {
      const kafka::TopicPartition where{topic, p};
      TOCSIN_ASSIGN_OR_RETURN(
          from[where],
          consumer->QueryEndOffset(where, kafka::Isolation::kReadCommitted, kQueryTimeout));
    }
  }
  // What was decided before its partition was asked had been written in full before this point.
  for (const auto& [where, offset] : from) {
    TOCSIN_ASSIGN_OR_RETURN(
        doubtful[where],
        consumer->QueryEndOffset(where, kafka::Isolation::kReadUncommitted, kQueryTimeout));
  }
  TOCSIN_RETURN_IF_ERROR(consumer->Assign(from));
  consumer_ = std::move(consumer);
  from_ = std::move(from);
  checker_.emplace(std::move(doubtful));
  moment_.reset();
  next_moment_ = io_.clock->SteadyNow() + kSettleEvery;
  return absl::OkStatus();
}

absl::Status OutputVerifier::Step(milliseconds wait) {
  if (std::shared_ptr<const RuleSet> rules = io_.rules->Current(); rules != rules_) {
    rules_ = std::move(rules);
    // Transactions of which a part lies in a topic that was not read would look torn.
    if (std::set<std::string> topics = OutputTopics(*rules_, io_.task); topics != topics_) {
      topics_ = std::move(topics);
      consumer_.reset();
    }
  }
  if (consumer_ == nullptr) TOCSIN_RETURN_IF_ERROR(Start());
  const kafka::ViewBatch batch = consumer_->PollViews(wait);
  for (const kafka::RecordView& record : batch.records()) {
    const std::optional<std::string_view> header = record.headers.Find(kTransactionHeader);
    if (!header.has_value()) continue;
    const std::optional<OutputStamp> stamp = ParseStamp(*header);
    if (!stamp.has_value()) continue;
    ++outputs_;
    checker_->Read(record.where(), record.offset, *stamp);
  }
  for (const kafka::PollError& error : batch.errors()) {
    // UNAVAILABLE passes; what was not read yet is read then.
    if (!error.fatal && error.status.code() == absl::StatusCode::kUnavailable) continue;
    consumer_.reset();
    return error.status;
  }
  return Settle();
}

absl::Status OutputVerifier::Settle() {
  const SteadyTime now = io_.clock->SteadyNow();
  if (!moment_.has_value()) {
    if (now < next_moment_) return absl::OkStatus();
    const std::int64_t moment = checker_->Moment();
    kafka::Offsets ends;
    for (const auto& [where, offset] : from_) {
      const absl::StatusOr<std::int64_t> end =
          consumer_->QueryEndOffset(where, kafka::Isolation::kReadUncommitted, kQueryTimeout);
      if (!end.ok()) {
        next_moment_ = now + kSettleEvery;
        return end.status();
      }
      ends[where] = *end;
    }
    moment_ = moment;
    ends_ = std::move(ends);
  }
  for (const auto& [where, end] : ends_) {
    if (consumer_->Position(where).value_or(from_[where]) < end) return absl::OkStatus();
  }
  checker_->Settle(*std::exchange(moment_, std::nullopt));
  next_moment_ = now + kSettleEvery;
  Report();
  return absl::OkStatus();
}

void OutputVerifier::Report() {
  std::size_t told = 0;
  for (const Violation& violation : checker_->Take()) {
    ++violations_;
    Violations(violation.kind).Increment();
    if (++told > kToldAtOnce) continue;
    telemetry::LogError(
        "exactly-once is violated: the outputs of correlation are not whole transactions, each "
        "once and in order; docs/guarantees.md says what to do",
        {{"kind", violation.kind}, {"what", violation.what}});
  }
}

}  // namespace tocsin::correlation
