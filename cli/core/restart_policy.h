// When to start a process again that has ended by itself.
#pragma once

#include <algorithm>
#include <chrono>

namespace tocsin::cli {

// Pure, not thread-safe. The first restart comes at once (100 ms); each further one waits twice as
// long, up to 10 s; a run of 30 s or more counts as healthy and begins anew.
class RestartPolicy {
 public:
  std::chrono::milliseconds OnExit(std::chrono::milliseconds uptime) {
    if (uptime >= kHealthy) failures_ = 0;
    const auto delay = std::min(kFirst * (1 << std::min(failures_, 10)), kLongest);
    ++failures_;
    return delay;
  }
  // Ends in a row that came soon after the start.
  int failures() const { return failures_; }

 private:
  static constexpr std::chrono::milliseconds kFirst{100};
  static constexpr std::chrono::milliseconds kLongest{10'000};
  static constexpr std::chrono::milliseconds kHealthy{30'000};
  int failures_ = 0;
};

}  // namespace tocsin::cli
