#include "services/correlation/engine/idle_tracker.h"

#include <algorithm>

namespace tocsin::correlation {

void IdleTracker::Reset() {
  last_probe_.reset();
  credit_ = Duration::zero();
  samples_.clear();
}

bool IdleTracker::ProbeDue(SteadyTime now) const {
  return !last_probe_.has_value() || now - *last_probe_ >= kProbeInterval;
}

std::vector<DueSilence> IdleTracker::OnProbe(SteadyTime now, std::optional<WallTime> highest_seen,
                                             const std::vector<Duration>& idle_timeouts) {
  if (last_probe_.has_value()) {
    const auto since = std::chrono::duration_cast<Duration>(now - *last_probe_);
    credit_ += std::clamp(since, Duration::zero(), kMaxCredit);
  }
  last_probe_ = now;
  if (samples_.empty() || highest_seen > samples_.back().highest_seen) {
    samples_.push_back({credit_, highest_seen});
  }
  Duration longest{};
  std::vector<DueSilence> due;
  for (const Duration idle_timeout : idle_timeouts) {
    longest = std::max(longest, idle_timeout);
    for (auto sample = samples_.rbegin(); sample != samples_.rend(); ++sample) {
      if (credit_ - sample->at >= idle_timeout) {
        due.push_back({idle_timeout, sample->highest_seen, credit_ - sample->at - idle_timeout});
        break;
      }
    }
  }
  // Of the samples that are old enough for every rule only the newest will be asked for again.
  while (samples_.size() > 1 && credit_ - samples_[1].at >= longest) samples_.pop_front();
  return due;
}

}  // namespace tocsin::correlation
