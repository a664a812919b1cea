// What a call does that needs the registry while that is away: fail at once, or wait for it, but
// not for ever.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/stop_signal.h"
#include "lib/events/registry_client.h"

namespace tocsin::events {

struct AwayPolicy {
  // Asks again for so long; zero fails at once. What is known already never waits.
  std::chrono::milliseconds max_wait{0};
  // Between two attempts.
  BackoffOptions backoff{std::chrono::milliseconds(50), std::chrono::milliseconds(1'000)};
  // Takes the place of sleeping, for tests; true ends the waiting.
  std::function<bool(std::chrono::milliseconds)> pause = nullptr;
};

// Thread-safe. `clock` must outlive it.
class RegistryWait {
 public:
  RegistryWait(AwayPolicy policy, const Clock& clock) : policy_(std::move(policy)), clock_(clock) {}

  // What `call` gives, an absl::StatusOr, as soon as that is no longer IsAway or the time is up.
  // Blocks for at most `max_wait` and one more call.
  template <typename Call>
  auto Run(const Call& call) {
    const SteadyTime end = clock_.SteadyNow() + policy_.max_wait;
    Backoff backoff(policy_.backoff, static_cast<std::uint64_t>(end.time_since_epoch().count()));
    for (;;) {
      auto result = call();
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - clock_.SteadyNow());
      if (!IsAway(result.status()) || left.count() <= 0) return result;
      // Never none at all, so that a registry that refuses at once is not stormed.
      const auto pause = std::max(backoff.Next(), std::chrono::milliseconds(1));
      if (Pause(std::min(pause, left))) return result;
    }
  }

  // Ends all waiting, now and later, with the status that the last call had.
  void Stop() { stop_.Stop(); }

 private:
  bool Pause(std::chrono::milliseconds pause) {
    return policy_.pause ? stop_.stopped() || policy_.pause(pause) : stop_.WaitFor(pause);
  }

  const AwayPolicy policy_;
  const Clock& clock_;
  StopSignal stop_;
};

}  // namespace tocsin::events
