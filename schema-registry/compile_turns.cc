#include "schema-registry/compile_turns.h"

#include <algorithm>
#include <thread>

#include "lib/base/status.h"
#include "schema-registry/model.h"

namespace tocsin::registry {
namespace {

absl::Status Busy() {
  return MakeError(ErrorCode::kBusy,
                   "too many schemas are being compiled and compared at this moment; try again");
}

}  // namespace

CompileTurns::CompileTurns(CompileTurnsOptions options, std::function<void()> large_ended)
    : options_(options),
      large_ended_(std::move(large_ended)),
      free_(options.at_once > 0
                ? options.at_once
                : std::max(2, static_cast<int>(std::thread::hardware_concurrency()))) {}

absl::StatusOr<CompileTurns::Turn> CompileTurns::Take(std::size_t text_bytes) {
  const auto deadline = std::chrono::steady_clock::now() + options_.longest_wait;
  MutexLock lock(mutex_);
  if (free_ == 0) {
    if (waiting_ >= options_.most_waiting) return Busy();
    ++waiting_;
    auto left = options_.longest_wait;
    while (free_ == 0 && left > std::chrono::milliseconds(0)) {
      freed_.WaitFor(mutex_, left);
      left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
    }
    --waiting_;
    if (free_ == 0) return Busy();
  }
  --free_;
  return Turn(this, text_bytes >= options_.large_text_bytes);
}

void CompileTurns::End(bool large) {
  {
    MutexLock lock(mutex_);
    ++free_;
    freed_.NotifyOne();
  }
  if (large && large_ended_) large_ended_();
}

}  // namespace tocsin::registry
