#include "lib/base/backoff.h"

#include <algorithm>

namespace tocsin {

std::chrono::milliseconds Backoff::Next() {
  // Past 2³⁰ the cap has long been reached; stop doubling before the shift overflows.
  const int doublings = std::min(attempt_, 30);
  ++attempt_;
  const std::int64_t ceiling =
      std::min<std::int64_t>(options_.maximum.count(), options_.initial.count() << doublings);
  return std::chrono::milliseconds(
      std::uniform_int_distribution<std::int64_t>(0, std::max<std::int64_t>(ceiling, 0))(random_));
}

}  // namespace tocsin
