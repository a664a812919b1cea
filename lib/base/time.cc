#include "lib/base/time.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>

#include "absl/time/time.h"
#include "lib/base/status.h"

namespace tocsin {

std::string FormatTime(WallTime time) {
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  const auto micros = (since_epoch - seconds).count();
  const std::string base = absl::FormatTime(
      "%E4Y-%m-%dT%H:%M:%S", absl::FromUnixSeconds(seconds.count()), absl::UTCTimeZone());
  if (micros == 0) return base + "Z";
  std::array<char, 12> fraction{};
  if (micros % 1000 == 0) {
    std::snprintf(fraction.data(), fraction.size(), ".%03dZ", static_cast<int>(micros / 1000));
  } else {
    std::snprintf(fraction.data(), fraction.size(), ".%06dZ", static_cast<int>(micros));
  }
  return base + fraction.data();
}

absl::StatusOr<WallTime> ParseTime(std::string_view text) {
  absl::Time time;
  std::string error;
  // Abseil also takes years of any length, and words for its infinities.
  const absl::Time first = absl::FromUnixMicros(kFirstTime.time_since_epoch().count());
  const absl::Time end = absl::FromUnixMicros(kLastTime.time_since_epoch().count() + 1);
  if (text.size() > 64 || !absl::ParseTime(absl::RFC3339_full, ToAbsl(text), &time, &error) ||
      time < first || time >= end) {
    return InvalidArgument(Concat("'", text.substr(0, 64),
                                  "' is not a time: write it as RFC 3339, for example "
                                  "2016-01-15T13:24:00Z"));
  }
  return WallTime(std::chrono::microseconds(absl::ToUnixMicros(time)));
}

namespace {
struct Unit {
  std::string_view name;
  std::int64_t micros;
};
constexpr std::array<Unit, 6> kUnits = {{{"us", 1},
                                         {"ms", 1000},
                                         {"s", 1'000'000},
                                         {"m", 60'000'000},
                                         {"h", 3'600'000'000},
                                         {"d", 86'400'000'000}}};
}  // namespace

absl::StatusOr<std::chrono::microseconds> ParseDuration(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (error == std::errc() && number >= 0) {
    for (const Unit& candidate : kUnits) {
      if (candidate.name == unit && number <= INT64_MAX / candidate.micros) {
        return std::chrono::microseconds(number * candidate.micros);
      }
    }
  }
  return InvalidArgument(Concat("'", text.substr(0, 64),
                                "' is not a duration: write a whole number and one of "
                                "us, ms, s, m, h, d, for example 90s or 10m"));
}

std::string FormatDuration(std::chrono::microseconds duration) {
  const std::int64_t micros = duration.count();
  if (micros == 0) return "0s";
  for (auto unit = kUnits.rbegin(); unit != kUnits.rend(); ++unit) {
    if (micros % unit->micros == 0) return Concat(micros / unit->micros, unit->name);
  }
  return Concat(micros, "us");
}

}  // namespace tocsin
