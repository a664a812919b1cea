// Is this process able to do its work? A set of named conditions, each met or not met for a reason
// that a person can read. Feeds /readyz and grpc.health.v1; every change is one log line.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::process {

// Thread-safe; every call is quick, so a poll loop may repeat Met and NotMet each round: only
// changes are logged and told.
class Readiness {
 public:
  explicit Readiness(const Clock& clock = Clock::Real());

  // A condition that is not met yet. Without any condition a process is ready once it runs.
  void Declare(std::string_view condition, std::string_view reason = "not there yet");
  void Met(std::string_view condition);
  // "no answer from 127.0.0.1:9092: connection refused". Logged when it begins; while it lasts and
  // is repeated, a new reason after 10 s at the earliest, the same one every minute.
  void NotMet(std::string_view condition, std::string_view reason);
  // The process stops: never ready again.
  void Stopping();

  bool ready() const;

  struct Condition {
    std::string name;
    bool met = false;
    std::string reason;
    WallTime since;
  };
  // By name.
  std::vector<Condition> conditions() const;
  // "ready\n", or one line for each condition that is not met.
  std::string Describe() const;

  // Called at once and whenever ready() changes, outside the lock but in order; set once.
  void OnChange(std::function<void(bool ready)> told);

 private:
  struct Entry {
    bool met = false;
    std::string reason;
    WallTime since;
    // When and with which reason it was last told in the log; unset: not yet.
    std::optional<SteadyTime> logged;
    std::string logged_reason;
  };
  bool ReadyLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell();

  const Clock& clock_;
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Held while telling, so that what is told last is true last.
  Mutex telling_;
  std::function<void(bool)> told_ ABSL_GUARDED_BY(telling_);
  bool told_ready_ ABSL_GUARDED_BY(telling_) = false;
};

}  // namespace tocsin::process
