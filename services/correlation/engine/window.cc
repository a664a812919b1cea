#include "services/correlation/engine/window.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

std::int64_t TimeOf(const v1::StoredEvent& event) {
  return google::protobuf::util::TimeUtil::TimestampToMicroseconds(event.reference().time());
}

std::int64_t LargestNumber(const tocsin::rule::v1::Condition& condition) {
  std::int64_t largest = 0;
  if (condition.has_gt()) largest = std::max(largest, condition.gt());
  if (condition.has_gte()) largest = std::max(largest, condition.gte());
  if (condition.has_lt()) largest = std::max(largest, condition.lt());
  if (condition.has_lte()) largest = std::max(largest, condition.lte());
  if (condition.has_eq()) largest = std::max(largest, condition.eq());
  if (condition.has_neq()) largest = std::max(largest, condition.neq());
  return largest;
}

// The event whose loss changes no count: for value_count the oldest whose value came again.
int LeastUseful(const CompiledRule& rule, const v1::WindowState& window) {
  if (rule.type() != RuleType::kValueCount) return 0;
  std::set<std::string_view> later;
  int found = 0;
  for (int i = window.events_size() - 1; i >= 0; --i) {
    if (!later.insert(window.events(i).value()).second) found = i;
  }
  return found;
}

}  // namespace

absl::Status CheckSupported(const CompiledRule& rule) {
  if (LargestNumber(rule.spec().correlation().condition()) > kMaxConditionNumber) {
    return InvalidArgument(Concat(
        "rule ", rule.id(), ": correlation.condition compares with more than ", kMaxConditionNumber,
        " events of one key, which would all have to be kept; use a smaller number or a "
        "shorter timespan"));
  }
  return absl::OkStatus();
}

std::optional<Firing> AddToWindow(const CompiledRule& rule, v1::StoredEvent event,
                                  v1::WindowState& window) {
  const std::int64_t timespan = rule.timespan().count();
  const std::int64_t now = TimeOf(event);
  auto& events = *window.mutable_events();
  *events.Add() = std::move(event);

  // What no later event can meet. In event-time order that is what lies outside this very window.
  std::int64_t newest = now;
  std::int64_t slack = 0;
  if (rule.order() == RuleOrder::kArrival) {
    newest = HighestTime(window).value_or(now);
    slack = std::chrono::duration_cast<std::chrono::microseconds>(kArrivalSlack).count();
  }
  const auto begin_kept = std::stable_partition(
      events.begin(), events.end() - 1,
      [&](const v1::StoredEvent& old) { return TimeOf(old) <= newest - timespan - slack; });
  events.erase(events.begin(), begin_kept);
  const std::int64_t capacity =
      std::max(kMinWindowCapacity, LargestNumber(rule.spec().correlation().condition()) + 1);
  while (events.size() > capacity) {
    events.erase(events.begin() + LeastUseful(rule, window));
  }

  Firing firing;
  std::set<std::string_view> values;
  for (const v1::StoredEvent& candidate : events) {
    const std::int64_t time = TimeOf(candidate);
    if (time <= now - timespan || time > now) continue;
    ++firing.value;
    values.insert(candidate.value());
  }
  if (rule.type() == RuleType::kValueCount) {
    firing.value = static_cast<std::int64_t>(values.size());
  }
  if (!rule.ConditionHolds(firing.value)) return std::nullopt;
  for (v1::StoredEvent& candidate : events) {
    const std::int64_t time = TimeOf(candidate);
    if (time > now - timespan && time <= now) firing.events.push_back(std::move(candidate));
  }
  events.Clear();
  return firing;
}

std::optional<std::int64_t> HighestTime(const v1::WindowState& window) {
  std::optional<std::int64_t> highest;
  for (const v1::StoredEvent& event : window.events()) {
    highest = std::max(highest.value_or(TimeOf(event)), TimeOf(event));
  }
  return highest;
}

}  // namespace tocsin::correlation
