// A clock that moves only when told.
#pragma once

#include <chrono>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin {

// Thread-safe. Both faces advance together.
class FakeClock final : public Clock {
 public:
  // 2024-01-01T00:00:00Z
  FakeClock();
  explicit FakeClock(WallTime start) : now_(start) {}

  WallTime Now() const override;
  SteadyTime SteadyNow() const override;

  void Advance(std::chrono::microseconds by);
  // A jump of the wall clock alone, as an administrator or NTP makes it.
  void JumpWall(std::chrono::microseconds by);

 private:
  mutable Mutex mutex_;
  WallTime now_ ABSL_GUARDED_BY(mutex_);
  SteadyTime steady_ ABSL_GUARDED_BY(mutex_){std::chrono::hours(1)};
};

}  // namespace tocsin
