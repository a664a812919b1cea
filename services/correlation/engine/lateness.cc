#include "services/correlation/engine/lateness.h"

#include <algorithm>
#include <limits>

#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

constexpr std::int64_t kMillisecond = 1'000;

}  // namespace

std::int64_t FloorTo(std::int64_t us, std::int64_t step) {
  const std::int64_t rest = us % step;
  return us - (rest < 0 ? rest + step : rest);
}
std::int64_t CeilTo(std::int64_t us, std::int64_t step) { return FloorTo(us + step - 1, step); }

std::int64_t CloseOfWindow(const CompiledWindow& window, std::int64_t start_us) {
  return start_us + window.size.count() + window.grace.count() - kMillisecond;
}
std::int64_t CloseOfSession(const CompiledWindow& window, std::int64_t last_us) {
  return last_us + window.gap.count() + window.grace.count();
}

std::int64_t ForgetOfWindow(const CompiledWindow& window, std::int64_t start_us) {
  return CloseOfWindow(window, start_us) +
         std::max(window.correct_within - window.grace, std::chrono::microseconds(0)).count();
}
std::int64_t ForgetOfSession(const CompiledWindow& window, std::int64_t last_us) {
  return CloseOfSession(window, last_us) +
         std::max(window.correct_within - window.grace, std::chrono::microseconds(0)).count();
}

std::optional<WindowPlace> PlaceInWindows(const CompiledWindow& window, std::int64_t time_us,
                                          std::optional<std::int64_t> watermark_us) {
  const std::int64_t promised = watermark_us.value_or(std::numeric_limits<std::int64_t>::min());
  const std::int64_t after = promised + 1;
  switch (window.type) {
    case WindowType::kSliding:
      if (time_us <= promised) return std::nullopt;
      return WindowPlace{time_us};
    case WindowType::kSession:
      // One whose own session would be over counts if it meets one that is open.
      return WindowPlace{std::max(time_us, after), ForgetOfSession(window, time_us) <= promised};
    default: {
      const std::int64_t last_start = FloorTo(time_us, window.slide.count());
      if (ForgetOfWindow(window, last_start) <= promised) return std::nullopt;
      // Windows close at whole milliseconds; an event belongs before the close of its window.
      return WindowPlace{std::max(FloorTo(time_us, kMillisecond), after)};
    }
  }
}

std::optional<WallTime> PlaceInOrder(const CompiledRule& rule, WallTime time,
                                     std::optional<WallTime> watermark) {
  if (!watermark.has_value() || time > *watermark) return time;
  if (!rule.spec().has_correct_within()) return std::nullopt;
  if (*watermark - time > rule.correct_within()) return std::nullopt;
  return *watermark + std::chrono::microseconds(1);
}

Verdict Judge(const CompiledRule& rule, WallTime time, std::optional<WallTime> watermark) {
  if (const CompiledWindow* window = rule.window()) {
    std::optional<std::int64_t> watermark_us;
    if (watermark.has_value()) watermark_us = Micros(*watermark);
    const std::optional<WindowPlace> place = PlaceInWindows(*window, Micros(time), watermark_us);
    if (!place.has_value()) return Verdict::kLate;
    return place->doubtful ? Verdict::kUndecided : Verdict::kTaken;
  }
  return PlaceInOrder(rule, time, watermark).has_value() ? Verdict::kTaken : Verdict::kLate;
}

}  // namespace tocsin::correlation
