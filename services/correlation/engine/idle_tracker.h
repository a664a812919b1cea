// Counts how long one partition of a stream has been silent, so that it can promise what its
// silence means (partition_time.h). Silence counts only while the partition is read to its end on a
// broker that answers: each successful probe credits the time since the one before, at most
// kMaxCredit of it, so that neither an outage of the broker nor a pause of this process counts.
//
// In memory only: after a start the count begins anew.
// Threads: one at a time. The time is the caller's.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <vector>

#include "lib/base/clock.h"
#include "services/correlation/engine/partition_time.h"

namespace tocsin::correlation {

// A promise that has come due: the partition was silent for `idle_for` after others had come to
// `follows`.
struct DueSilence {
  Duration idle_for{};
  std::optional<WallTime> follows;
  // How much longer than `idle_for` it was.
  Duration beyond{};
};

class IdleTracker {
 public:
  static constexpr Duration kProbeInterval = std::chrono::seconds(1);
  static constexpr Duration kMaxCredit = std::chrono::seconds(2);

  // Data came, a probe failed, the partition is not at its end, or it was just assigned.
  void Reset();

  // True when it is time for the next probe.
  bool ProbeDue(SteadyTime now) const;

  // The broker answered and the partition is at its end. `highest_seen`: the highest event time of
  // any partition, as far as this one's owner has seen marks. Returns for each of `idle_timeouts`
  // what is due now; most often that is what was due before, and says nothing new.
  std::vector<DueSilence> OnProbe(SteadyTime now, std::optional<WallTime> highest_seen,
                                  const std::vector<Duration>& idle_timeouts);

  Duration credit() const { return credit_; }

 private:
  struct Sample {
    // Credit when `highest_seen` had first come to this.
    Duration at{};
    std::optional<WallTime> highest_seen;
  };
  std::optional<SteadyTime> last_probe_;
  Duration credit_{};
  std::deque<Sample> samples_;
};

}  // namespace tocsin::correlation
