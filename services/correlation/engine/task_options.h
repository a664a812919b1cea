// What a task is told about the world beyond its rules.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/hash.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/cache_budget.h"
#include "services/correlation/engine/partition_time.h"

namespace tocsin::correlation {

inline constexpr std::string_view kDetectionsTopic = "detections";
inline constexpr std::string_view kIncidentsTopic = "incidents.correlated";
inline constexpr std::string_view kAggregatesTopic = "aggregates";

// The registered schema of what the engine writes.
struct OutputSchema {
  schema::SchemaId id;
  std::vector<std::int32_t> message_indexes = {0};
};

class Tables;

struct TaskOptions {
  // Where rules look things up; must outlive the task. nullptr: there are no tables.
  const Tables* tables = nullptr;
  OutputSchema detection_schema;
  OutputSchema incident_schema;
  OutputSchema aggregate_schema;
  std::string detections_topic{kDetectionsTopic};
  std::string incidents_topic{kIncidentsTopic};
  std::string aggregates_topic{kAggregatesTopic};
  // ce_source of detections and incidents.
  std::string source = "/tocsin/correlation";
  // Consumer group, for the headers of dead letters.
  std::string group = "correlation";
  // Repeated identities are recognised for so long (by Kafka timestamps) and so many events.
  Duration identity_age = std::chrono::hours(24);
  std::int64_t identity_count = 1'000'000;
  // By which a new state hashes identities: random in production, so that nobody can make two
  // that collide. A state keeps its own.
  SipKey identity_key;
  // What is kept in memory of windows. Copies of these options share it.
  std::shared_ptr<CacheBudget> cache = std::make_shared<CacheBudget>(std::size_t{128} << 20);
  // At most so many held events are released, and so many old keys removed, in one batch.
  std::size_t max_release = 10'000;
  std::size_t max_sweep = 64;
};

}  // namespace tocsin::correlation
