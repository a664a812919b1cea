// Ports on this machine: is one free, who holds it, which are free.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::cli {

// OK when `address` (host:port) can be listened on now. ALREADY_EXISTS names the port and, where it
// can be found out, the program that holds it; INVALID_ARGUMENT: no such address on this machine.
absl::Status CheckFree(std::string_view address);

// Different ports of 127.0.0.1 that nobody listens on, below the range from which the system takes
// ports for outgoing connections, so that none of those gets in the way of a restart.
absl::StatusOr<std::vector<std::uint16_t>> PickFreePorts(std::size_t count);

}  // namespace tocsin::cli
