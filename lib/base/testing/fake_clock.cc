#include "lib/base/testing/fake_clock.h"

namespace tocsin {

FakeClock::FakeClock() : FakeClock(WallTime(std::chrono::seconds(1'704'067'200))) {}

WallTime FakeClock::Now() const {
  MutexLock lock(mutex_);
  return now_;
}

SteadyTime FakeClock::SteadyNow() const {
  MutexLock lock(mutex_);
  return steady_;
}

void FakeClock::Advance(std::chrono::microseconds by) {
  MutexLock lock(mutex_);
  now_ += by;
  steady_ += by;
}

void FakeClock::JumpWall(std::chrono::microseconds by) {
  MutexLock lock(mutex_);
  now_ += by;
}

}  // namespace tocsin
