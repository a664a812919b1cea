// What `tocsin up` is about to start, judged before anything is started.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/session.h"
#include "cli/supervisor/configs.h"
#include "cli/supervisor/up.h"

namespace tocsin::cli {

struct UpPlan {
  SystemPlan system;
  // Where the programs are, and cli/broker.
  std::filesystem::path bin;
  std::filesystem::path broker_files;
  std::string user;
};

// From flags, environment and defaults. INVALID_ARGUMENT: an address; NOT_FOUND: a pack, a program
// or the broker's files, and what to do.
absl::StatusOr<UpPlan> MakePlan(const Session& session, const UpFlags& flags);

// That the three public addresses differ and are free. ALREADY_EXISTS: a line for each that is not.
absl::Status CheckPorts(const SystemPlan& plan);

// Gives every process its ports inside the mesh. RESOURCE_EXHAUSTED: there are not enough.
absl::Status PickPorts(SystemPlan& plan);

}  // namespace tocsin::cli
