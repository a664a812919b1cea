// RFC 3339 text and wall time.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"

namespace tocsin {

// The years 1 to 9999: what RFC 3339 and google.protobuf.Timestamp can both say. Far enough from
// the ends of WallTime that years can be added and taken away.
inline constexpr WallTime kFirstTime{std::chrono::seconds(-62'135'596'800)};
inline constexpr WallTime kLastTime{std::chrono::microseconds(253'402'300'799'999'999)};

// "2016-01-15T13:24:00Z", with as many digits of a second as are needed (none, 3 or 6). Always UTC.
std::string FormatTime(WallTime time);

// RFC 3339 with any offset and up to nine digits of a second (cut to microseconds), from kFirstTime
// to kLastTime. INVALID_ARGUMENT quotes the text.
absl::StatusOr<WallTime> ParseTime(std::string_view text);

// "250ms", "10s", "90m", "24h", "7d"; one number and one unit. INVALID_ARGUMENT quotes the text and
// lists the units.
absl::StatusOr<std::chrono::microseconds> ParseDuration(std::string_view text);
// The shortest exact form of the above: "10m", "90s", "1500ms".
std::string FormatDuration(std::chrono::microseconds duration);

}  // namespace tocsin
