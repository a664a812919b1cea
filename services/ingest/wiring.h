// Builds the real thing from its configuration.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "lib/process/process.h"
#include "tocsin/ingest/v1/config.pb.h"

namespace tocsin::ingest {

// INVALID_ARGUMENT / NOT_FOUND: the configuration or a pack. Waits neither for Kafka nor for the
// registry: the conditions `kafka` and `registry` say when they are there.
absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::IngestConfig& config,
                                                         process::Runtime& runtime);

}  // namespace tocsin::ingest
