// Reads what correlation writes as everybody else does (read_committed, from now on) and counts
// violations of exactly-once:
//
//   tocsin_correlation_eos_violations_total{kind}   kind: repeated reordered torn lost
//
// An independent witness: it knows of the workers only what stands in the stamps.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/engine/task_options.h"
#include "services/correlation/worker/io.h"
#include "services/correlation/worker/stamp_checker.h"

namespace tocsin::correlation {

struct OutputVerifierIo {
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer;
  // How many partitions a topic has; NOT_FOUND: there is none yet.
  std::function<absl::StatusOr<std::int32_t>(const std::string& topic)> partitions;
  const RuleSource* rules = nullptr;
  const Clock* clock = nullptr;
  // Names the topics that all streams share.
  TaskOptions task;
};

// What workers with these rules write for others and for each other: everything but changelogs.
std::set<std::string> OutputTopics(const RuleSet& rules, const TaskOptions& task);

class OutputVerifier {
 public:
  static constexpr std::chrono::seconds kSettleEvery{5};

  explicit OutputVerifier(OutputVerifierIo io);

  // Reads what is there, waiting at most `wait` for something. An error: the broker does not
  // answer; begins anew with the next call, which leaves a gap that is not judged.
  absl::Status Step(std::chrono::milliseconds wait);

  // How many records carried a stamp, and what was found, since the beginning.
  std::int64_t outputs() const { return outputs_; }
  std::int64_t violations() const { return violations_; }

 private:
  absl::Status Start();
  absl::Status Settle();
  void Report();

  const OutputVerifierIo io_;
  std::shared_ptr<const RuleSet> rules_;
  std::set<std::string> topics_;
  std::unique_ptr<kafka::Consumer> consumer_;
  kafka::Offsets from_;
  std::optional<StampChecker> checker_;
  SteadyTime next_moment_{};
  // A moment whose ends are still to be read to.
  std::optional<std::int64_t> moment_;
  kafka::Offsets ends_;
  std::int64_t outputs_ = 0;
  std::int64_t violations_ = 0;
};

}  // namespace tocsin::correlation
