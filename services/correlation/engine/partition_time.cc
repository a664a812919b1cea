#include "services/correlation/engine/partition_time.h"

#include <algorithm>

#include "google/protobuf/util/time_util.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

constexpr Duration kResolution = std::chrono::milliseconds(1);

// What comes in a mark was written by another process: Protobuf's own conversions end the program
// when a time is none that a Timestamp can hold.
WallTime FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  constexpr std::int64_t kFirst =
      std::chrono::floor<std::chrono::seconds>(kFirstTime).time_since_epoch().count();
  constexpr std::int64_t kLast =
      std::chrono::floor<std::chrono::seconds>(kLastTime).time_since_epoch().count();
  const WallTime second{
      std::chrono::seconds(std::clamp<std::int64_t>(timestamp.seconds(), kFirst, kLast))};
  return second + Duration(std::clamp(timestamp.nanos(), 0, 999'999'999) / 1000);
}

Duration FromProto(const google::protobuf::Duration& duration) {
  constexpr std::int64_t kLongest = std::int64_t{366} * 24 * 3600;
  return std::chrono::seconds(std::clamp<std::int64_t>(duration.seconds(), 0, kLongest)) +
         Duration(std::clamp(duration.nanos(), 0, 999'999'999) / 1000);
}

void Raise(std::optional<WallTime>& to, const std::optional<WallTime>& candidate) {
  if (candidate.has_value() && (!to.has_value() || *candidate > *to)) to = candidate;
}

}  // namespace

PartitionTime PartitionTime::FromState(const v1::PartitionTimeState& state) {
  PartitionTime time;
  if (state.has_highest_us()) time.highest_ = FromMicros(state.highest_us());
  for (const v1::SilencePromiseState& promise : state.promises()) {
    SilencePromise& added = time.promises_.emplace_back();
    added.idle_for = Duration(promise.idle_for_us());
    added.until = FromMicros(promise.until_us());
    if (promise.has_own_us()) added.own = FromMicros(promise.own_us());
    added.windows_until =
        promise.has_windows_until_us() ? FromMicros(promise.windows_until_us()) : added.until;
    added.windows_own = added.own;
    if (promise.has_windows_own_us()) added.windows_own = FromMicros(promise.windows_own_us());
  }
  return time;
}

v1::PartitionTimeState PartitionTime::ToState() const {
  v1::PartitionTimeState state;
  if (highest_.has_value()) state.set_highest_us(Micros(*highest_));
  for (const SilencePromise& promise : promises_) {
    v1::SilencePromiseState* added = state.add_promises();
    added->set_idle_for_us(promise.idle_for.count());
    added->set_until_us(Micros(promise.until));
    if (promise.own.has_value()) added->set_own_us(Micros(*promise.own));
    if (promise.windows_until != promise.until) {
      added->set_windows_until_us(Micros(promise.windows_until));
    }
    if (promise.windows_own.has_value() && promise.windows_own != promise.own) {
      added->set_windows_own_us(Micros(*promise.windows_own));
    }
  }
  return state;
}

PartitionTime PartitionTime::FromMark(const v1::WatermarkMark& mark) {
  PartitionTime time;
  if (mark.has_highest_time()) time.highest_ = FromTimestamp(mark.highest_time());
  for (const v1::SilencePromise& promise : mark.promises()) {
    SilencePromise& added = time.promises_.emplace_back();
    added.idle_for = FromProto(promise.idle_for());
    added.until = FromTimestamp(promise.until());
    added.windows_until =
        promise.has_windows_until() ? FromTimestamp(promise.windows_until()) : added.until;
  }
  return time;
}

v1::WatermarkMark PartitionTime::ToMark(std::int32_t upstream_partition) const {
  v1::WatermarkMark mark;
  mark.set_upstream_partition(upstream_partition);
  if (highest_.has_value()) {
    *mark.mutable_highest_time() = TimeUtil::MicrosecondsToTimestamp(Micros(*highest_));
  }
  for (const SilencePromise& promise : promises_) {
    v1::SilencePromise* added = mark.add_promises();
    *added->mutable_idle_for() = TimeUtil::MicrosecondsToDuration(promise.idle_for.count());
    *added->mutable_until() = TimeUtil::MicrosecondsToTimestamp(Micros(promise.until));
    if (promise.windows_until != promise.until) {
      *added->mutable_windows_until() =
          TimeUtil::MicrosecondsToTimestamp(Micros(promise.windows_until));
    }
  }
  return mark;
}

bool PartitionTime::Observe(WallTime event_time) {
  if (highest_.has_value() && *highest_ >= event_time) return false;
  highest_ = event_time;
  return true;
}

bool PartitionTime::Promise(Duration idle_for, std::optional<WallTime> follows,
                            Duration time_in_silence) {
  std::optional<WallTime> until = highest_;
  Raise(until, follows);
  if (!until.has_value()) return false;
  const auto later = [&](WallTime time) { return std::min(time + time_in_silence, kLastTime); };
  SilencePromise promise{idle_for, *until, highest_, later(*until), std::nullopt};
  if (highest_.has_value()) promise.windows_own = later(*highest_);
  // Everything that `less` promises `more` promises, too.
  const auto covers = [](const SilencePromise& more, const SilencePromise& less) {
    return more.until >= less.until && more.own >= less.own &&
           more.windows_until >= less.windows_until && more.windows_own >= less.windows_own;
  };
  for (const SilencePromise& known : promises_) {
    if (known.idle_for >= idle_for && covers(known, promise)) return false;
  }
  for (const SilencePromise& known : promises_) {
    if (known.idle_for != idle_for) continue;
    promise.until = std::max(promise.until, known.until);
    promise.windows_until = std::max(promise.windows_until, known.windows_until);
    promise.windows_own = std::max(promise.windows_own, known.windows_own);
  }
  std::erase_if(promises_, [&](const SilencePromise& known) {
    return known.idle_for == idle_for || (known.idle_for < idle_for && covers(promise, known));
  });
  const auto place =
      std::find_if(promises_.begin(), promises_.end(),
                   [&](const SilencePromise& known) { return known.idle_for > idle_for; });
  promises_.insert(place, promise);
  return true;
}

void PartitionTime::Prune(Duration max_disorder) {
  if (!highest_.has_value()) return;
  const WallTime covered = *highest_ - max_disorder - kResolution;
  std::erase_if(promises_, [covered](const SilencePromise& promise) {
    return promise.until <= covered && promise.windows_until <= covered;
  });
}

std::optional<WallTime> PartitionTime::Watermark(Duration max_disorder, Duration idle_timeout,
                                                 bool time_in_silence) const {
  std::optional<WallTime> watermark;
  if (highest_.has_value()) watermark = *highest_ - max_disorder - kResolution;
  for (const SilencePromise& promise : promises_) {
    if (promise.idle_for < idle_timeout) continue;
    Raise(watermark, time_in_silence ? promise.windows_until : promise.until);
  }
  return watermark;
}

std::optional<WallTime> PartitionTime::OwnWatermark(Duration max_disorder, Duration idle_timeout,
                                                    bool time_in_silence) const {
  std::optional<WallTime> watermark;
  if (highest_.has_value()) watermark = *highest_ - max_disorder - kResolution;
  for (const SilencePromise& promise : promises_) {
    if (promise.idle_for < idle_timeout) continue;
    Raise(watermark, time_in_silence ? promise.windows_own : promise.own);
  }
  return watermark;
}

}  // namespace tocsin::correlation
