// Decides whether the outcome of a transaction's requests is in doubt (the "indefinite-outcome
// rule"): pure, so that each reason has a test. Internal to this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::kafka::internal {

// Thread-safe.
class TransactionWatch {
 public:
  explicit TransactionWatch(std::chrono::milliseconds slow_after) : slow_after_(slow_after) {}

  // A transaction is open from Begin until its commit or abort has returned.
  void Opened();
  void Closed();

  // How long a commit or abort took.
  void Ended(std::string_view step, std::chrono::nanoseconds took);
  // A connection was lost or a request timed out: counts while a transaction is open.
  void ConnectionTrouble(std::string_view what);
  // The client's statistics: requests that timed out or were repeated, and connections lost, since
  // it was made. Counts when it has grown and a transaction was open since the last time.
  void Statistics(std::int64_t troubles);
  // Called several times a second by a thread that does nothing else for long: a gap means that the
  // process stood still. Counts while a transaction is open.
  void Tick(SteadyTime now);

  bool indefinite() const;
  std::string reason() const;

 private:
  void Note(std::string reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::chrono::milliseconds slow_after_;
  mutable Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool open_since_statistics_ ABSL_GUARDED_BY(mutex_) = false;
  std::int64_t troubles_ ABSL_GUARDED_BY(mutex_) = 0;
  SteadyTime last_tick_ ABSL_GUARDED_BY(mutex_){};
  std::string reason_ ABSL_GUARDED_BY(mutex_);
};

// The sum of all numbers that stand behind `"name":` in a statistics document, for the names
// req_timeouts and disconnects of its brokers. Not txretries: a request is repeated after one of
// those two, which count already, or after an answer that says that nothing was done (coordinators
// give it all the time while they write the markers of the transaction before), which leaves no
// doubt. Total: text that is no such document gives 0.
std::int64_t TroublesInStatistics(std::string_view json);

}  // namespace tocsin::kafka::internal
