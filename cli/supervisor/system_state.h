// What the supervisor writes down of the system that it runs (run/state.json), and who may believe
// it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/supervisor/health.h"
#include "cli/supervisor/layout.h"
#include "tocsin/cli/v1/profile.pb.h"

namespace tocsin::cli {

// Replaces it atomically. Where that fails (the disk is full), what was true before does not stay
// for the present: it is moved to run/state.former.json, which takes no room, or removed. To be
// tried again.
absl::Status WriteSystemState(const Layout& layout, const v1::SystemState& state);

// As `holder` of the instance lock has written it at its last change. Nothing else counts:
// NOT_FOUND: there is none, or an earlier supervisor left it behind; UNAVAILABLE: the folder has
// become read-only, so that it may be of the past; DATA_LOSS: it cannot be parsed.
absl::StatusOr<v1::SystemState> ReadSystemState(const Layout& layout, pid_t holder);

// What `holder` wrote before it could write no more: good for names and addresses, and for nothing
// that changes. NOT_FOUND: nothing.
absl::StatusOr<v1::SystemState> ReadFormerSystemState(const Layout& layout, pid_t holder);

// Of both. Works on a full disk.
void RemoveSystemState(const Layout& layout);

// Why what happens cannot be written down now, as far as it can be seen from outside: "its disk is
// full (0 bytes left)".
std::string WhyNotWritten(const Layout& layout);

// `former` with what each process says of itself when it is asked now, all at the same time; blocks
// for about two seconds at most. Process numbers and restarts are not known. `source`: how one is
// asked.
v1::SystemState AskSystemState(
    v1::SystemState former, std::string_view why,
    const std::function<std::unique_ptr<HealthSource>(const v1::ProcessState&)>& source);

}  // namespace tocsin::cli
