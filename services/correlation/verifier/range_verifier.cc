#include "services/correlation/verifier/range_verifier.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "google/protobuf/util/time_util.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/worker/stamp.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;
using std::chrono::milliseconds;

constexpr milliseconds kQuestion{5'000};
constexpr milliseconds kPoll{100};
constexpr std::chrono::seconds kProgressEvery{1};
// Nothing came for so long although there is more: a transaction that nobody ends, or a broker that
// does not answer.
constexpr std::chrono::seconds kStandsStill{30};
// A reader may stand still behind an assignment (librdkafka 2.0.2); it is given it once more.
constexpr std::chrono::seconds kAgain{2};
constexpr std::int64_t kToldFindings = 1'000;

google::protobuf::Timestamp ToTimestamp(WallTime time) {
  return TimeUtil::MicrosecondsToTimestamp(Micros(std::clamp(time, kFirstTime, kLastTime)));
}

// How old a record of a compacted topic must be before compaction may take it.
std::chrono::milliseconds CompactionLag(const kafka::TopicDescription& topic) {
  const auto found = topic.configs.find("min.compaction.lag.ms");
  if (found == topic.configs.end()) return milliseconds(0);
  std::int64_t number = 0;
  const std::string& text = found->second;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // Longer than anything is kept.
  constexpr std::int64_t kMost = std::int64_t{1000} * 3600 * 24 * 3650;
  return milliseconds(error == std::errc() ? std::clamp<std::int64_t>(number, 0, kMost) : 0);
}

}  // namespace

RangeVerifier::RangeVerifier(RangeVerifierIo io, std::set<std::string> topics, TimeSpan span)
    : io_(std::move(io)), topics_(std::move(topics)), span_(span) {}

absl::Status RangeVerifier::FindPartitions() {
  TOCSIN_ASSIGN_OR_RETURN(const auto topics,
                          io_.admin->DescribeTopics({topics_.begin(), topics_.end()}, kQuestion));
  whole_from_ = span_.from;
  for (const auto& [name, topic] : topics) {
    for (std::int32_t p = 0; p < topic.partitions; ++p) partitions_.insert({name, p});
    const auto policy = topic.configs.find("cleanup.policy");
    if (policy == topic.configs.end() || policy->second.find("compact") == std::string::npos) {
      continue;
    }
    whole_from_ = std::max(whole_from_, io_.clock->Now() - CompactionLag(topic));
  }
  return absl::OkStatus();
}

absl::StatusOr<WallTime> RangeVerifier::FirstTime(const kafka::TopicPartition& where,
                                                  std::int64_t beginning) {
  TOCSIN_RETURN_IF_ERROR(consumer_->Assign({{where, beginning}}));
  const SteadyTime until = io_.clock->SteadyNow() + kQuestion;
  while (io_.clock->SteadyNow() < until) {
    const kafka::ViewBatch batch = consumer_->PollViews(kPoll);
    if (!batch.records().empty()) return batch.records().front().timestamp;
    // Nothing is left that could be torn.
    if (!batch.ends().empty()) return WallTime{};
    for (const kafka::PollError& error : batch.errors()) {
      if (error.fatal) return error.status;
    }
  }
  return DeadlineExceeded(Concat("reading the beginning of ", kafka::Describe(where)));
}

absl::Status RangeVerifier::FindWholeFrom() {
  for (const kafka::TopicPartition& where : partitions_) {
    TOCSIN_ASSIGN_OR_RETURN(const std::int64_t beginning,
                            consumer_->QueryBeginningOffset(where, kQuestion));
    if (beginning == 0) continue;
    TOCSIN_ASSIGN_OR_RETURN(const auto at, consumer_->QueryTimeOffset(
                                               where, span_.from - kLongestTransaction, kQuestion));
    // Nothing that could matter was taken.
    if (at.has_value() && *at > beginning) continue;
    TOCSIN_ASSIGN_OR_RETURN(const WallTime first, FirstTime(where, beginning));
    whole_from_ = std::max(whole_from_, first + kLongestTransaction);
  }
  return absl::OkStatus();
}

absl::StatusOr<kafka::Offsets> RangeVerifier::OffsetsAt(WallTime time) {
  kafka::Offsets offsets;
  for (const kafka::TopicPartition& where : partitions_) {
    TOCSIN_ASSIGN_OR_RETURN(const auto at, consumer_->QueryTimeOffset(where, time, kQuestion));
    if (at.has_value()) {
      offsets[where] = *at;
      continue;
    }
    TOCSIN_ASSIGN_OR_RETURN(
        offsets[where],
        consumer_->QueryEndOffset(where, kafka::Isolation::kReadCommitted, kQuestion));
  }
  return offsets;
}

absl::StatusOr<kafka::Offsets> RangeVerifier::Ends(kafka::Isolation isolation) {
  kafka::Offsets ends;
  for (const kafka::TopicPartition& where : partitions_) {
    TOCSIN_ASSIGN_OR_RETURN(ends[where], consumer_->QueryEndOffset(where, isolation, kQuestion));
  }
  return ends;
}

absl::Status RangeVerifier::TellProgress(const Tell& tell) {
  if (io_.clock->SteadyNow() < progress_at_) return absl::OkStatus();
  progress_at_ = io_.clock->SteadyNow() + kProgressEvery;
  v1::VerifyResponse response;
  response.mutable_progress()->set_records(records_);
  response.mutable_progress()->set_records_in_all(std::max(records_, records_in_all_));
  return tell(response) ? absl::OkStatus() : absl::CancelledError("nobody waits for it");
}

absl::Status RangeVerifier::TellFindings(const Tell& tell) {
  for (const Violation& violation : checker_->Take()) {
    std::int64_t told = 0;
    for (const auto& [kind, count] : violations_) told += count;
    ++violations_[violation.kind];
    if (told >= kToldFindings) continue;
    v1::VerifyResponse response;
    response.mutable_finding()->set_kind(violation.kind);
    response.mutable_finding()->set_what(violation.what);
    if (!tell(response)) return absl::CancelledError("nobody waits for it");
  }
  return absl::OkStatus();
}

absl::Status RangeVerifier::ReadPiece(const kafka::Offsets& from, const kafka::Offsets& to,
                                      const Tell& tell) {
  kafka::Offsets open;
  for (const auto& [where, begin] : from) {
    if (begin < to.at(where)) open[where] = begin;
  }
  if (open.empty()) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(consumer_->Assign(open));
  SteadyTime moved = io_.clock->SteadyNow();
  SteadyTime assigned = moved;
  while (!open.empty()) {
    const kafka::ViewBatch batch = consumer_->PollViews(kPoll);
    for (const kafka::RecordView& record : batch.records()) {
      const auto found = open.find(record.where());
      if (found == open.end() || record.offset >= to.at(found->first)) continue;
      ++records_;
      const std::optional<std::string_view> header = record.headers.Find(kTransactionHeader);
      if (!header.has_value()) continue;
      const std::optional<OutputStamp> stamp = ParseStamp(*header);
      if (!stamp.has_value()) continue;
      ++outputs_;
      checker_->Read(found->first, record.offset, *stamp);
    }
    for (const kafka::PollError& error : batch.errors()) {
      // What passes, passes; else it stands still for too long.
      if (error.fatal || error.status.code() == absl::StatusCode::kOutOfRange) {
        return Unavailable(Concat("the log changed while it was read: ", Message(error.status)));
      }
    }
    std::vector<kafka::TopicPartition> done;
    for (auto& [where, at] : open) {
      const std::int64_t position = consumer_->Position(where).value_or(at);
      if (position > at) moved = io_.clock->SteadyNow();
      at = position;
      if (at >= to.at(where)) done.push_back(where);
    }
    for (const kafka::TopicPartition& where : done) open.erase(where);
    if (!done.empty() && !open.empty()) TOCSIN_RETURN_IF_ERROR(consumer_->Pause(done));
    if (!open.empty() && io_.clock->SteadyNow() - std::max(moved, assigned) > kAgain) {
      TOCSIN_RETURN_IF_ERROR(consumer_->Assign(open));
      assigned = io_.clock->SteadyNow();
    }
    if (io_.clock->SteadyNow() - moved > kStandsStill) {
      const auto& [where, at] = *open.begin();
      return Unavailable(Concat(kafka::Describe(where), " gives nothing beyond ", at,
                                ": a broker does not answer, or a transaction is open that Kafka "
                                "does not end (docs/formats/correlation-state.md)"));
    }
    TOCSIN_RETURN_IF_ERROR(TellFindings(tell));
    TOCSIN_RETURN_IF_ERROR(TellProgress(tell));
  }
  return absl::OkStatus();
}

absl::Status RangeVerifier::Run(const Tell& tell) {
  if (span_.from >= span_.to) {
    return InvalidArgument("from_time, to_time: the span is empty: give a begin before its end");
  }
  kafka::ConsumerOptions options;
  options.close_timeout = milliseconds(500);
  TOCSIN_ASSIGN_OR_RETURN(consumer_, io_.make_consumer(std::move(options)));
  TOCSIN_RETURN_IF_ERROR(FindPartitions());
  TOCSIN_RETURN_IF_ERROR(FindWholeFrom());

  TOCSIN_ASSIGN_OR_RETURN(kafka::Offsets at, OffsetsAt(span_.from - kLongestTransaction));
  TOCSIN_ASSIGN_OR_RETURN(kafka::Offsets doubtful, OffsetsAt(whole_from_));
  TOCSIN_ASSIGN_OR_RETURN(const kafka::Offsets last, OffsetsAt(span_.to));
  for (const auto& [where, end] : last) {
    records_in_all_ += std::max<std::int64_t>(0, end - at[where]);
  }
  checker_ = std::make_unique<StampChecker>(std::move(doubtful));

  std::optional<std::int64_t> moment;
  const WallTime now = io_.clock->Now();
  for (WallTime time = span_.from; time < span_.to;) {
    time = std::min<WallTime>(time + kPiece, span_.to);
    // What is not long past is one piece, the last.
    if (time + kPiece >= now) time = span_.to;
    kafka::Offsets until = last;
    if (time < span_.to) {
      TOCSIN_ASSIGN_OR_RETURN(until, OffsetsAt(time));
    }
    TOCSIN_RETURN_IF_ERROR(ReadPiece(at, until, tell));
    // A whole piece is longer than a transaction: those of the one before are whole by now.
    if (moment.has_value() && time < span_.to) checker_->Settle(*moment);
    moment = checker_->Moment();
    for (const auto& [where, end] : until) at[where] = std::max(at[where], end);
    TOCSIN_RETURN_IF_ERROR(TellFindings(tell));
  }
  // What reaches over the end: up to where everything lies that had been written by now.
  TOCSIN_ASSIGN_OR_RETURN(kafka::Offsets rest, Ends(kafka::Isolation::kReadUncommitted));
  TOCSIN_ASSIGN_OR_RETURN(const kafka::Offsets later, OffsetsAt(span_.to + kLongestTransaction));
  const bool past = span_.to + 2 * kLongestTransaction < io_.clock->Now();
  TOCSIN_RETURN_IF_ERROR(ReadPiece(at, past ? later : rest, tell));
  if (moment.has_value()) checker_->Settle(*moment);
  TOCSIN_RETURN_IF_ERROR(TellFindings(tell));

  v1::VerifyResponse response;
  v1::VerifySummary& summary = *response.mutable_summary();
  *summary.mutable_from_time() = ToTimestamp(span_.from);
  *summary.mutable_to_time() = ToTimestamp(span_.to);
  *summary.mutable_whole_from_time() = ToTimestamp(std::min(whole_from_, span_.to));
  for (const std::string& topic : topics_) summary.add_topics(topic);
  summary.set_records(records_);
  summary.set_outputs(outputs_);
  for (const auto& [kind, count] : violations_) (*summary.mutable_violations())[kind] = count;
  return tell(response) ? absl::OkStatus() : absl::CancelledError("nobody waits for it");
}

}  // namespace tocsin::correlation
