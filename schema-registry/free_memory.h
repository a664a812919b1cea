// Gives memory that is free back to the system. What a large schema took while it was compiled lies
// scattered over the heaps of the threads, and the allocator would keep it for them.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "lib/base/mutex.h"

namespace tocsin::registry {

// Thread-safe. A thread of its own does it, for it takes milliseconds.
class FreeMemory {
 public:
  // `give_back` takes long: not more often than once per `pause`, and first a pause after it is
  // wanted, so that what was wanted for is over by then.
  FreeMemory(std::function<void()> give_back, std::chrono::milliseconds pause);
  ~FreeMemory();
  FreeMemory(const FreeMemory&) = delete;
  FreeMemory& operator=(const FreeMemory&) = delete;

  // What becomes free before this call is given back, some time after it. Does not block.
  void Want();

 private:
  void Run();

  const std::function<void()> give_back_;
  const std::chrono::milliseconds pause_;
  Mutex mutex_;
  CondVar changed_;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tocsin::registry
