#include "services/correlation/lag/lag_monitor.h"

#include "lib/base/status.h"
#include "lib/telemetry/metrics.h"

namespace tocsin::correlation {
namespace {

void Tell(const kafka::TopicPartition& where, double records, double seconds) {
  const telemetry::Labels labels{{"topic", where.topic},
                                 {"partition", std::to_string(where.partition)}};
  telemetry::GetGauge("tocsin_correlation_lag_records",
                      "Records of a partition of this process that are not handled yet.", labels)
      .Set(records);
  telemetry::GetGauge("tocsin_correlation_lag_seconds",
                      "Age of the first record of the partition that is not handled yet, by its "
                      "Kafka timestamp; 0 when there is none.",
                      labels)
      .Set(seconds);
}

}  // namespace

absl::Status LagMonitor::Update(const RuleSet& rules, SteadyTime deadline) {
  TOCSIN_ASSIGN_OR_RETURN(const Lag lag, reader_.Read(rules, deadline));
  std::set<kafka::TopicPartition> own;
  for (const PartitionLag& partition : lag.partitions) {
    if (!own_.contains(partition.owner)) continue;
    own.insert(partition.where);
    if (!partition.problem.empty()) continue;
    Tell(partition.where, static_cast<double>(partition.records),
         std::chrono::duration<double>(partition.behind).count());
  }
  // Others tell of what they have taken over.
  for (const kafka::TopicPartition& where : told_) {
    if (!own.contains(where)) Tell(where, 0, 0);
  }
  told_ = std::move(own);
  return absl::OkStatus();
}

}  // namespace tocsin::correlation
