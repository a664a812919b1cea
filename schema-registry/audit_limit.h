// How many refusals for lack of rights the audit log is told of: whoever may do nothing must not be
// able to fill it, or to push out what others have changed.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::registry {

// Thread-safe.
class AuditLimit {
 public:
  static constexpr double kBurst = 100;
  static constexpr double kPerSecond = 10;

  // `clock` must outlive this.
  explicit AuditLimit(const Clock& clock) : clock_(clock), at_(clock.SteadyNow()) {}

  // For one refusal: how many before it, since the last that was written, were not; nullopt: this
  // one is not written either.
  std::optional<std::uint64_t> Take();

 private:
  const Clock& clock_;
  Mutex mutex_;
  SteadyTime at_ ABSL_GUARDED_BY(mutex_);
  double left_ ABSL_GUARDED_BY(mutex_) = kBurst;
  std::uint64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tocsin::registry
