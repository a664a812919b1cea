// The wish to end: it comes from a signal or from inside, and wakes whoever waits.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace tocsin::cli {

// Once made, made for good. Thread-safe.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // Async-signal-safe. The first one counts. SIGPIPE stands for a standard output that nobody
  // reads.
  void Make(int signal);

  bool made() const { return signal() != 0; }
  // Why; 0 as long as there is none.
  int signal() const { return signal_.load(); }

  // Pauses; true as soon as it is made, false when `pause` has passed. Zero: only looks.
  bool WaitFor(std::chrono::nanoseconds pause) const;
  // A descriptor that can be read from then on, for poll.
  int event() const { return event_; }

  // As if none had been made; for tests, which run several commands in one process.
  void Clear();

 private:
  std::atomic<int> signal_{0};
  int event_;
};

// This process's: Ctrl-C, SIGTERM, or a standard output that was closed.
StopRequest& ProcessStop();

// Calls `then` once, on a thread of its own, when the request is made or was made before; not any
// more once it is destroyed. `stop` must outlive it.
class OnStop {
 public:
  OnStop(const StopRequest& stop, std::function<void()> then);
  ~OnStop();
  OnStop(const OnStop&) = delete;
  OnStop& operator=(const OnStop&) = delete;

 private:
  int done_;
  std::thread thread_;
};

}  // namespace tocsin::cli
