// Looking into correlation: what each command does, apart from how its flags are written
// (command_line.cc). Each returns an exit code, or an error from which the exit code and the text
// for people are made.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace tocsin::cli {

struct LagFlags {
  bool watch = false;
  // With `watch`: the pause between two looks.
  std::chrono::milliseconds every{2'000};
};
absl::StatusOr<int> ShowLag(const Session& session, const LagFlags& flags);

struct StateFlags {
  std::string rule;
  // Values of the rule's group-by fields, in its order.
  std::vector<std::string> key;
  std::optional<std::int32_t> partition;
};
absl::StatusOr<int> ShowState(const Session& session, const StateFlags& flags);

struct VerifyFlags {
  std::string from;
  std::string to;
};
absl::StatusOr<int> Verify(const Session& session, const VerifyFlags& flags);

}  // namespace tocsin::cli
