// Tells the lag of this process's own partitions as metrics, so that over all processes each
// partition is told once:
//
//   tocsin_correlation_lag_records{topic,partition}
//   tocsin_correlation_lag_seconds{topic,partition}
//
// Threads: all calls from one. Blocks as LagReader does.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "services/correlation/lag/lag_reader.h"

namespace tocsin::correlation {

class LagMonitor {
 public:
  static constexpr std::chrono::seconds kEvery{10};
  static constexpr std::chrono::seconds kLongest{3};

  // `own`: the names of this process's workers. `reader` must outlive it.
  LagMonitor(LagReader& reader, const std::vector<std::string>& own)
      : reader_(reader), own_(own.begin(), own.end()) {}

  // Sets the metrics to how things stand now. Where Kafka does not answer they stay as they are.
  absl::Status Update(const RuleSet& rules, SteadyTime deadline);

 private:
  LagReader& reader_;
  const std::set<std::string> own_;
  std::set<kafka::TopicPartition> told_;
};

}  // namespace tocsin::correlation
