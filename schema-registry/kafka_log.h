// The registry's log as a Kafka topic: one partition, compacted.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/kafka/types.h"
#include "schema-registry/io.h"

namespace tocsin::registry {

struct KafkaLogOptions {
  kafka::Connection connection;
  std::string topic = "_schemas";
  // Of the topic when it is made here; -1: the broker's default.
  std::int32_t replication_factor = -1;
  // Make the topic when it does not exist.
  bool may_create = true;
  // After so long a record that Kafka has not confirmed is given up.
  std::chrono::milliseconds write_timeout{10'000};
};

// Does not wait for the broker. The topic is looked at in the first Poll that reaches a broker:
// FAILED_PRECONDITION there when it has more than one partition or is not compacted, because what
// it would lose is lost for good. INVALID_ARGUMENT: an option does not make sense.
absl::StatusOr<std::unique_ptr<RegistryLog>> MakeKafkaLog(KafkaLogOptions options);

}  // namespace tocsin::registry
