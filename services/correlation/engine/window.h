// The trailing window of one group key: which events count for the event at t, and does the
// condition hold.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "services/correlation/engine/packed_event.h"
#include "services/correlation/engine/state_view.h"
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
// its whole window: as far as the window is long, so that a key holds two windows at the most.
constexpr std::chrono::microseconds ArrivalSlack(std::chrono::microseconds window) {
  return window;
}

// INVALID_ARGUMENT: the engine cannot honour this rule.
absl::Status CheckSupported(const CompiledRule& rule);

struct Firing {
  // What was compared with the condition.
  std::int64_t value = 0;
  // The events in the window, in the order evaluated; the last one fired.
  std::vector<v1::StoredEvent> events;
};

// The events of one group key that a later one may still meet, in the order evaluated, as one
// string of packed events: what is counted is read in place, what fires alone is parsed.
//
// While events come in the order of their times, which is nearly always, an event costs the same
// however many are kept: in memory, and in the state, where older events lie in pieces that are
// written once, and only the newest few stand in the value that changes.
class Window {
 public:
  // The window under `key` (WindowKey), in this format or in format 1; empty where there is none.
  static Window Load(const StateReader& state, std::string_view key, bool& stored);
  // What a state value says without being taken apart.
  struct Summary {
    // Microseconds; 0 where the window is empty.
    std::int64_t highest_us = 0;
    std::int64_t touched_us = 0;
  };
  static Summary Summarise(std::string_view bytes);
  // Removes a window from the state, pieces and all; `bytes` is its value.
  static void Remove(std::string_view key, std::string_view bytes, StateView& state);

  // Adds an event (AppendPacked) and judges the condition over (t - timespan, t]. When it fires,
  // the window is left without events. `touched_us`: the highest Kafka timestamp so far. One window
  // serves one rule.
  std::optional<Firing> Add(const CompiledRule& rule, const PackedEvent& event,
                            std::int64_t touched_us);

  // Adds an event that was judged before.
  void Keep(const PackedEvent& event) { Append(event); }
  // `other` takes the place of this one, in the state too.
  void ReplaceBy(Window other);
  // Joins, whose events come in the order of their times: all that is kept, oldest first.
  void Visit(const std::function<void(const PackedEvent&)>& visit) const;
  struct Room {
    std::size_t events = 0;
    std::size_t bytes = 0;
  };
  // Keeps an event, and forgets what lies at or before `until_us`. What has no room goes, the
  // oldest first; says how many that were. The event itself stays.
  std::size_t KeepSome(const PackedEvent& event, std::int64_t until_us, const Room& room,
                       std::int64_t touched_us);

  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  std::vector<v1::StoredEvent> Events() const;
  // Writes what has changed since Load or the last Save; `stored` says whether the state has a
  // value under `key`.
  void Save(StateView& state, std::string_view key, bool stored);
  // It will be added to soon.
  void Prefetch() const {
    __builtin_prefetch(bytes_.data() + begin_);
    __builtin_prefetch(bytes_.data() + recent_);
    __builtin_prefetch(bytes_.data() + bytes_.size(), 1);
  }
  std::size_t memory() const { return bytes_.capacity() + pieces_.capacity() * sizeof(Piece); }

 private:
  struct Place {
    std::size_t at = 0;
    PackedEvent event;
  };

  std::string_view Packed() const { return std::string_view(bytes_).substr(begin_); }
  std::vector<Place> Places() const;
  void Append(const PackedEvent& event);
  void Clear();
  // Takes off the oldest.
  void PopFront();
  // Keeps those alone.
  void Rebuild(const std::vector<Place>& places);
  // Removes what no later event can meet, the last event excepted.
  void Forget(std::int64_t until_us);
  void Limit(const CompiledRule& rule);
  std::int64_t CountEvents(std::int64_t after_us, std::int64_t until_us);
  std::int64_t CountValues(std::int64_t after_us, std::int64_t until_us) const;

  // Events that lie in the state by themselves.
  struct Piece {
    std::uint32_t events = 0;
    // How many of them, the oldest, are no more.
    std::uint32_t gone = 0;
  };

  // Gives back the room of events that are no more.
  void Compact();

  // The packed events, from begin_ on; before it may lie some that are no more.
  std::string bytes_;
  std::size_t begin_ = 0;
  std::size_t count_ = 0;
  std::int64_t highest_us_ = std::numeric_limits<std::int64_t>::min();
  std::int64_t touched_us_ = 0;
  // Pieces are numbered; those at hand begin with this one. Behind them, from open_ on, stand the
  // events that are in no piece yet.
  std::uint32_t first_piece_ = 0;
  std::vector<Piece> pieces_;
  std::size_t open_ = 0;
  std::uint32_t open_count_ = 0;
  // The pieces that the state has: from one number to before another.
  std::uint32_t stored_begin_ = 0;
  std::uint32_t stored_end_ = 0;
  // No event is earlier than the one before it.
  bool ordered_ = true;
  // Where the events behind the start of the last event's window begin, and how many they are;
  // means something while ordered_.
  std::size_t recent_ = 0;
  std::size_t recent_count_ = 0;
};

}  // namespace tocsin::correlation
