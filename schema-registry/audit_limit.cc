#include "schema-registry/audit_limit.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tocsin::registry {

std::optional<std::uint64_t> AuditLimit::Take() {
  MutexLock lock(mutex_);
  const SteadyTime now = clock_.SteadyNow();
  left_ = std::min(
      kBurst,
      left_ + kPerSecond * std::chrono::duration<double>(now - std::exchange(at_, now)).count());
  if (left_ < 1) {
    ++left_out_;
    return std::nullopt;
  }
  left_ -= 1;
  return std::exchange(left_out_, 0);
}

}  // namespace tocsin::registry
