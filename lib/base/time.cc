#include "lib/base/time.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>

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

namespace {

// `digits` digits of a number; -1: not that.
int Digits(const char* at, int digits) {
  int number = 0;
  for (int i = 0; i < digits; ++i) {
    const int digit = at[i] - '0';
    if (digit < 0 || digit > 9) return -1;
    number = 10 * number + digit;
  }
  return number;
}

// "2016-01-15T13:24:00Z", perhaps with digits of a second: how nearly all times are written.
std::optional<WallTime> ParsePlainTime(std::string_view text) {
  constexpr std::size_t kShortest = 20;
  constexpr std::size_t kLongest = kShortest + 10;
  if (text.size() < kShortest || text.size() > kLongest || text.back() != 'Z') return std::nullopt;
  const char* const at = text.data();
  if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':') {
    return std::nullopt;
  }
  const std::chrono::year_month_day day(
      std::chrono::year(Digits(at, 4)),
      std::chrono::month(static_cast<unsigned>(Digits(at + 5, 2))),
      std::chrono::day(static_cast<unsigned>(Digits(at + 8, 2))));
  const int hour = Digits(at + 11, 2);
  const int minute = Digits(at + 14, 2);
  const int second = Digits(at + 17, 2);
  // Leap seconds and all that is no time are left to the general parser.
  if (day.year() < std::chrono::year(1) || !day.ok() || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 59) {
    return std::nullopt;
  }
  std::int64_t micros = 0;
  const std::size_t fraction = text.size() - kShortest;
  if (fraction > 0) {
    if (at[19] != '.' || fraction < 2) return std::nullopt;
    std::int64_t unit = 100'000;
    for (std::size_t i = 20; i + 1 < text.size(); ++i, unit /= 10) {
      const int digit = Digits(at + i, 1);
      if (digit < 0) return std::nullopt;
      micros += unit * digit;
    }
  }
  return WallTime(std::chrono::sys_days(day).time_since_epoch() + std::chrono::hours(hour) +
                  std::chrono::minutes(minute) + std::chrono::seconds(second) +
                  std::chrono::microseconds(micros));
}

}  // namespace

absl::StatusOr<WallTime> ParseTime(std::string_view text) {
  if (const std::optional<WallTime> plain = ParsePlainTime(text); plain.has_value()) return *plain;
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
