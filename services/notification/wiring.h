// Builds the real thing from its configuration.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "lib/process/process.h"
#include "tocsin/notification/v1/config.pb.h"

namespace tocsin::notification {

// INVALID_ARGUMENT: the configuration, naming the route. FAILED_PRECONDITION / DATA_LOSS: the
// database cannot be opened. Waits for nobody else: the conditions `kafka`, `registry` and `topics`
// say when they are there.
absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::NotificationConfig& config,
                                                         process::Runtime& runtime);

}  // namespace tocsin::notification
