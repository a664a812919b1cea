#include "services/correlation/engine/admission.h"

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::correlation {
namespace {

constexpr WallTime kUnsetClock{};                                 // 1970-01-01
constexpr WallTime kClockWasSet{std::chrono::hours(24 * 365)};    // 1971-01-01
constexpr WallTime kTooFar{std::chrono::seconds(4'102'444'800)};  // 2100-01-01

}  // namespace

absl::Status CheckAdmissible(bool has_key, WallTime event_time) {
  if (!has_key) {
    return InvalidArgument(
        "the record has no key: send events under the partition key of their stream");
  }
  if ((event_time >= kUnsetClock && event_time < kClockWasSet) || event_time >= kTooFar) {
    return InvalidArgument(Concat("header ce_time is ", FormatTime(event_time),
                                  ": neither 1970 nor 2100 and later is taken; is the sender's "
                                  "clock set?"));
  }
  return absl::OkStatus();
}

}  // namespace tocsin::correlation
