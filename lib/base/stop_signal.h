// Tells a thread to end, and wakes it from its pause.
//
//   StopSignal stop;
//   std::thread worker([&] {
//     do Work(); while (!stop.WaitFor(std::chrono::seconds(1)));
//   });
//   stop.Stop();
//   worker.join();
#pragma once

#include <chrono>

#include "lib/base/mutex.h"

namespace tocsin {

// Thread-safe. Once stopped, stopped for good.
class StopSignal {
 public:
  void Stop() {
    {
      MutexLock lock(mutex_);
      stopped_ = true;
    }
    changed_.NotifyAll();
  }

  bool stopped() const {
    MutexLock lock(mutex_);
    return stopped_;
  }

  // Pauses; true as soon as it is stopped, false when `pause` has passed.
  bool WaitFor(std::chrono::nanoseconds pause) {
    const auto end = std::chrono::steady_clock::now() + pause;
    MutexLock lock(mutex_);
    while (!stopped_) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) return false;
      changed_.WaitFor(mutex_, left);
    }
    return true;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tocsin
