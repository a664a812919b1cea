// Builds the real gateway.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "lib/process/process.h"
#include "tocsin/gateway/v1/config.pb.h"

namespace tocsin::gateway {

absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::GatewayConfig& config,
                                                         process::Runtime& runtime);

}  // namespace tocsin::gateway
