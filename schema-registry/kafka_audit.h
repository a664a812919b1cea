// Who changed what in the registry, as tocsin.audit.v1.AuditEvent in a Kafka topic, in the same
// envelope as every other event of this product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/kafka/types.h"
#include "schema-registry/io.h"

namespace tocsin::registry {

class Registry;

struct KafkaAuditOptions {
  kafka::Connection connection;
  std::string topic = "audit.event";
  // The topic is made when it does not exist, with six partitions, kept for a year.
  bool may_create = true;
  // -1: the broker's default.
  std::int32_t replication_factor = -1;
  // Tells this process's entries from those of others.
  std::int64_t node = 0;
  // Entries that wait for Kafka, or for the registry to be ready; what comes then is lost, counted
  // and told in the log.
  std::size_t max_waiting = 10'000;
};

class KafkaAudit : public AuditLog {
 public:
  // Begins to write. The schema of the entries is registered in the registry itself, once it is
  // ready; entries wait until then. `registry` must outlive the call of Stop.
  virtual void Start(Registry& registry) = 0;
  // At most about five seconds, for what waits.
  virtual void Stop() = 0;
};

// Does not wait for the broker. INVALID_ARGUMENT: an option does not make sense.
absl::StatusOr<std::unique_ptr<KafkaAudit>> MakeKafkaAudit(KafkaAuditOptions options);

}  // namespace tocsin::registry
