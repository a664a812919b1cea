// Does an event come too late for a rule? It follows from what the event's own partition had
// promised to the rule before it, and from nothing else. docs/formats/time.md has the model.
//
// All functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lib/base/clock.h"
#include "services/correlation/rules/compiled_rule.h"

namespace tocsin::correlation {

enum class Verdict {
  kTaken,
  kLate,
  // Known only when its turn has come: it may meet an open session.
  kUndecided,
};

// A rule that an event was late for, and the watermark that had passed it.
struct LateFor {
  std::string rule;
  WallTime watermark{};
};

// Where in the order of time an event of a window rule is taken up; nullopt: it is late.
struct WindowPlace {
  std::int64_t position_us = 0;
  // Late, unless it meets an open session.
  bool doubtful = false;
};
std::optional<WindowPlace> PlaceInWindows(const CompiledWindow& window, std::int64_t time_us,
                                          std::optional<std::int64_t> watermark_us);

// When the window that starts there, or the session with its last event there, is told for good.
std::int64_t CloseOfWindow(const CompiledWindow& window, std::int64_t start_us);
std::int64_t CloseOfSession(const CompiledWindow& window, std::int64_t last_us);

// When a window or session that has closed is forgotten: what comes later is late.
std::int64_t ForgetOfWindow(const CompiledWindow& window, std::int64_t start_us);
std::int64_t ForgetOfSession(const CompiledWindow& window, std::int64_t last_us);

// The highest multiple of `step` that is not above `us`; the lowest that is not below.
std::int64_t FloorTo(std::int64_t us, std::int64_t step);
std::int64_t CeilTo(std::int64_t us, std::int64_t step);

// The same for a correlation rule in event-time order: an event that is late, but not too late to
// correct something, is judged just behind what its own partition had promised before it.
std::optional<WallTime> PlaceInOrder(const CompiledRule& rule, WallTime time,
                                     std::optional<WallTime> watermark);

// For a rule in event-time order.
Verdict Judge(const CompiledRule& rule, WallTime time, std::optional<WallTime> watermark);

}  // namespace tocsin::correlation
