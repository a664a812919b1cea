// The trailing window of one group key: which events count for the event at t, and does the
// condition hold.
//
// All functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "services/correlation/rules/compiled_rule.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

// A window keeps at most this many events, or one more than the largest number in the rule's
// condition where that is larger. Beyond it the oldest that cannot change the outcome is dropped
// (for value_count one whose value came again later), so the count stays exact and only evidence is
// cut short.
inline constexpr std::int64_t kMinWindowCapacity = 1'000;
// Conditions with larger numbers are refused (CheckSupported).
inline constexpr std::int64_t kMaxConditionNumber = 100'000;
// order: arrival only. How far behind the newest event of its key an event may come and still find
// the window that it belongs to.
inline constexpr std::chrono::hours kArrivalSlack{1};

// INVALID_ARGUMENT: the engine cannot honour this rule.
absl::Status CheckSupported(const CompiledRule& rule);

struct Firing {
  // What was compared with the condition.
  std::int64_t value = 0;
  // The events in the window, in the order evaluated; the last one fired.
  std::vector<v1::StoredEvent> events;
};

// Adds `event` and judges the condition over (t - timespan, t]. When it fires, `window` is left
// without events.
std::optional<Firing> AddToWindow(const CompiledRule& rule, v1::StoredEvent event,
                                  v1::WindowState& window);

// The highest event time in the window in microseconds; nullopt where it is empty.
std::optional<std::int64_t> HighestTime(const v1::WindowState& window);

}  // namespace tocsin::correlation
