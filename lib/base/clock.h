// Time, injected. Nothing in a core asks the machine for the time or sleeps; it is given a Clock,
// and a test gives it one that moves only when told (lib/base/testing/fake_clock.h).
#pragma once

#include <chrono>

namespace tocsin {

// Wall time in microseconds since 1970 UTC: for what is told to people and written in records. May
// jump.
using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;
// Never goes back: for timeouts and measurements.
using SteadyTime = std::chrono::steady_clock::time_point;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual SteadyTime SteadyNow() const = 0;

  // The machine's clock; lives as long as the process.
  static const Clock& Real();
};

}  // namespace tocsin
