// What the supervisor writes down of the system that it runs (run/state.json).
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/supervisor/layout.h"
#include "tocsin/cli/v1/profile.pb.h"

namespace tocsin::cli {

// Replaces it atomically.
absl::Status WriteSystemState(const Layout& layout, const v1::SystemState& state);

// NOT_FOUND: there is none; DATA_LOSS: it cannot be read. Counts only while somebody holds the
// instance lock.
absl::StatusOr<v1::SystemState> ReadSystemState(const Layout& layout);

void RemoveSystemState(const Layout& layout);

}  // namespace tocsin::cli
