// What one partition of a stream has seen and promised about event time, and the watermark that
// follows from it.
//
// A watermark w says: no further event with time <= w. A partition's own is the highest time seen
// minus the disorder that the rule allows, minus one millisecond. Silence adds to it: a partition
// that was silent for a rule's idle_timeout after the others had come to time H promises nothing at
// or before H. Promises are never withdrawn, so a watermark never goes back, and whether an event
// is late follows from what its own partition had seen and promised before it, and from nothing
// else.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"

namespace tocsin::correlation::v1 {
class PartitionTimeState;
class WatermarkMark;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation {

using Duration = std::chrono::microseconds;

struct SilencePromise {
  Duration idle_for{};
  // No event at or before this.
  WallTime until{};
  // The partition's own highest time when it promised; not known from a mark.
  std::optional<WallTime> own;
  // The same for window rules, for which time goes on in silence.
  WallTime windows_until{};
  std::optional<WallTime> windows_own;
  friend bool operator==(const SilencePromise&, const SilencePromise&) = default;
};

// A plain value.
class PartitionTime {
 public:
  PartitionTime() = default;
  static PartitionTime FromState(const v1::PartitionTimeState& state);
  static PartitionTime FromMark(const v1::WatermarkMark& mark);
  v1::PartitionTimeState ToState() const;
  v1::WatermarkMark ToMark(std::int32_t upstream_partition) const;

  // An event was seen. True when the highest time grew.
  bool Observe(WallTime event_time);
  // A silence of `idle_for` after `follows` was seen elsewhere (nullopt: nothing was). True when
  // that promises more than before. `time_in_silence`: for window rules so much more.
  bool Promise(Duration idle_for, std::optional<WallTime> follows, Duration time_in_silence = {});
  // Drops promises that say nothing to any rule with at most `max_disorder`.
  void Prune(Duration max_disorder);

  // For rules that read a repartition topic. nullopt: nothing is promised yet.
  std::optional<WallTime> Watermark(Duration max_disorder, Duration idle_timeout,
                                    bool time_in_silence = false) const;
  // For rules that read this partition alone: silence counts up to the own highest time.
  std::optional<WallTime> OwnWatermark(Duration max_disorder, Duration idle_timeout,
                                       bool time_in_silence = false) const;

  const std::optional<WallTime>& highest() const { return highest_; }
  const std::vector<SilencePromise>& promises() const { return promises_; }
  bool empty() const { return !highest_.has_value() && promises_.empty(); }
  friend bool operator==(const PartitionTime&, const PartitionTime&) = default;

 private:
  std::optional<WallTime> highest_;
  // One for each idle_for, ascending by it; none that another makes superfluous.
  std::vector<SilencePromise> promises_;
};

}  // namespace tocsin::correlation
