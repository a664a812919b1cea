// Which events a stream takes in, of those that can be read: what would harm all others is a dead
// letter.
//
// Pure.
#pragma once

#include "absl/status/status.h"
#include "lib/base/clock.h"

namespace tocsin::correlation {

// INVALID_ARGUMENT:
//   no key                 nobody can say which other events it belongs with, nor in which order
//   within the year 1970   the sender's clock was never set
//   from the year 2100 on  it would carry the watermark past every event to come
absl::Status CheckAdmissible(bool has_key, WallTime event_time);

}  // namespace tocsin::correlation
