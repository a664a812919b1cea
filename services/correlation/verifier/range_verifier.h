// Do the outputs that correlation has written in a span of time hold whole transactions, each once
// and in order (worker/stamp_checker.h)? Reads them as everybody does, with a client of its own.
//
// The span is read in pieces of time, so that memory does not grow with it. Before its begin and
// behind its end a little more is read, because a transaction may reach over either: what began
// before is not expected to be whole, what began before the end is read to its end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/worker/stamp_checker.h"
#include "tocsin/correlation/v1/state_service.pb.h"

namespace tocsin::correlation {

struct RangeVerifierIo {
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer;
  kafka::Admin* admin = nullptr;
  const Clock* clock = nullptr;
};

// By Kafka's timestamps: from <= t < to.
struct TimeSpan {
  WallTime from{};
  WallTime to{};
};

// For one run. Threads: one at a time.
class RangeVerifier {
 public:
  // Longer than any transaction is open.
  static constexpr std::chrono::seconds kLongestTransaction{60};
  static constexpr std::chrono::minutes kPiece{10};

  // False: nobody wants to know any more.
  using Tell = std::function<bool(const v1::VerifyResponse&)>;

  // `topics`: everything that the workers write but changelogs; without one of them every
  // transaction that has outputs there would look torn. What `io` points to must outlive it.
  RangeVerifier(RangeVerifierIo io, std::set<std::string> topics, TimeSpan span);

  // Tells what it finds and how far it is, the summary last. Blocks for as long as there is to
  // read. UNAVAILABLE / DEADLINE_EXCEEDED: Kafka does not answer; nothing can be said of the rest.
  // CANCELLED: `tell` said so.
  absl::Status Run(const Tell& tell);

 private:
  absl::Status FindPartitions();
  // From when on every output must still be there.
  absl::Status FindWholeFrom();
  absl::StatusOr<WallTime> FirstTime(const kafka::TopicPartition& where, std::int64_t beginning);
  // The first offset of each partition that is not before `time`; at most the end.
  absl::StatusOr<kafka::Offsets> OffsetsAt(WallTime time);
  absl::StatusOr<kafka::Offsets> Ends(kafka::Isolation isolation);
  // Gives the checker what lies from `from` to before `to`.
  absl::Status ReadPiece(const kafka::Offsets& from, const kafka::Offsets& to, const Tell& tell);
  absl::Status TellFindings(const Tell& tell);
  absl::Status TellProgress(const Tell& tell);

  const RangeVerifierIo io_;
  const std::set<std::string> topics_;
  const TimeSpan span_;
  std::unique_ptr<kafka::Consumer> consumer_;
  std::set<kafka::TopicPartition> partitions_;
  WallTime whole_from_{};
  std::unique_ptr<StampChecker> checker_;
  SteadyTime progress_at_{};
  std::int64_t records_ = 0;
  std::int64_t records_in_all_ = 0;
  std::int64_t outputs_ = 0;
  std::map<std::string, std::int64_t> violations_;
};

}  // namespace tocsin::correlation
