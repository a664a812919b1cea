#include "schema-registry/free_memory.h"

#include <utility>

namespace tocsin::registry {

FreeMemory::FreeMemory(std::function<void()> give_back, std::chrono::milliseconds pause)
    : give_back_(std::move(give_back)), pause_(pause), thread_([this] { Run(); }) {}

FreeMemory::~FreeMemory() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void FreeMemory::Want() {
  MutexLock lock(mutex_);
  if (std::exchange(wanted_, true)) return;
  changed_.NotifyAll();
}

void FreeMemory::Run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (!wanted_ && !stopped_) changed_.Wait(mutex_);
      if (stopped_) return;
      const auto until = std::chrono::steady_clock::now() + pause_;
      for (auto left = pause_; left > std::chrono::milliseconds(0) && !stopped_;
           left = std::chrono::duration_cast<std::chrono::milliseconds>(
               until - std::chrono::steady_clock::now())) {
        changed_.WaitFor(mutex_, left);
      }
      if (stopped_) return;
      wanted_ = false;
    }
    give_back_();
  }
}

}  // namespace tocsin::registry
