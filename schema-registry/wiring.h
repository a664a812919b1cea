// Builds the registry over Kafka, its gRPC service and its REST port.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "lib/process/process.h"
#include "tocsin/schema/v1/config.pb.h"

namespace tocsin::registry {

// INVALID_ARGUMENT names the key of the configuration. ALREADY_EXISTS: the REST port is in use.
absl::StatusOr<std::unique_ptr<process::Component>> Wire(
    const tocsin::schema::v1::SchemaRegistryConfig& config, process::Runtime& runtime);

}  // namespace tocsin::registry
