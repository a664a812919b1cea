// Replaying a file through the gateway, for `tocsin replay` and the demo of `tocsin up`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/core/pack.h"
#include "cli/core/replay.h"
#include "cli/stop_request.h"

namespace tocsin::cli {

struct ReplayJob {
  std::string gateway;
  std::string token;
  LoadedPack pack;
  std::filesystem::path csv;
  // Empty: chosen by the header.
  std::string mapping;
  // Empty: the mapping's.
  std::string source;
  ReplayOptions options;
};

struct ReplayEvents {
  const StopRequest& stop;
  std::function<void(const ReplayProgress&)> on_progress;
  std::function<void(const RefusedRow&)> on_refused;
};

// Blocks until every row is settled or a stop is requested; errors as Replay (core/replay.h). Each
// call to the gateway is a client span of its own, child of the thread's current span.
absl::StatusOr<ReplayResult> RunReplay(const ReplayJob& job, const ReplayEvents& events);

}  // namespace tocsin::cli
