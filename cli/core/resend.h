// One call that is made again until it succeeds, within a budget, and what is said when it never
// does.
#pragma once

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "lib/base/clock.h"

namespace tocsin::cli {

// May the same events under the same ids be sent again after this error?
bool MayResend(absl::StatusCode code);

struct ResendOptions {
  // From the first attempt to giving up.
  std::chrono::milliseconds budget{15'000};
  // Of one attempt, so that what stands in the way is known long before the budget is over.
  std::chrono::milliseconds attempt{4'000};
  // Nobody there at all is believed sooner.
  std::chrono::milliseconds nobody{3'000};
  std::chrono::milliseconds first_pause{200};
  std::chrono::milliseconds longest_pause{1'000};
};

// What it needs from the world.
class ResendIo {
 public:
  virtual ~ResendIo() = default;

  struct Answer {
    absl::Status status;
    // A service said so; else the call never reached one, or its answer did not come back.
    bool from_service = false;
  };
  virtual Answer Attempt(std::chrono::milliseconds timeout) = 0;
  // Waits; false when the user has asked to stop.
  virtual bool Wait(std::chrono::milliseconds duration) = 0;
  virtual SteadyTime Now() const = 0;
  // Before each pause: why, and for how long it will still be tried.
  virtual void OnAgain(const absl::Status& why, std::chrono::milliseconds left) = 0;
};

// Blocks for at most the budget. The answer is the last one that a service gave, where one did: a
// later attempt that ran out of time says less. CANCELLED: the user stopped it.
ResendIo::Answer Resend(const ResendOptions& options, std::uint64_t seed, ResendIo& io);

}  // namespace tocsin::cli
