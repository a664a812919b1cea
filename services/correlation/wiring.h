// Builds the real thing.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "lib/process/process.h"
#include "tocsin/correlation/v1/config.pb.h"

namespace tocsin::correlation {

// INVALID_ARGUMENT: the configuration or a pack cannot be used.
absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::CorrelationConfig& config,
                                                         process::Runtime& runtime);

}  // namespace tocsin::correlation
