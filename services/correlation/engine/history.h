// What is kept of a group key of a rule with correct_within: the events of timespan +
// correct_within in the order in which they are judged, and at which of them the rule has fired.
// So a late event can take its place among them, and what follows from it be found again.
//
// The state behind it are the keys j and y of docs/formats/correlation-state.md. Nothing is cached:
// only rules with correct_within pay for it.
//
// Threads: one at a time. Lives for one event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/packed_event.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

// Of one key, at most so many events are kept.
inline constexpr std::int64_t kMaxHistory = 10'000;
// And so many incidents beside the latest.
inline constexpr int kMaxOlderIncidents = 64;

struct HistoryItem {
  // Its place in the order.
  std::string order;
  v1::HistoryEntry entry;

  PackedEvent event() const;
};

class History {
 public:
  // `joined`: the group key.
  History(const PlannedRule& rule, std::string_view joined, StateView& state);

  // The place of an event: (event time, ce_sequence, original partition, original offset).
  static std::string OrderOf(const v1::StoredEvent& event);

  enum class Place {
    // Behind all that is kept.
    kNewest,
    // Among what was judged before it.
    kEarlier,
    // Its place is taken: it is the same event.
    kKnown,
    // What would have to be judged again is not all there.
    kForgotten,
  };
  Place PlaceOf(const std::string& order, std::int64_t time_us) const;

  // All items, in order.
  std::vector<HistoryItem> Items() const;
  void Put(const HistoryItem& item);
  // An item that was not there.
  void Add(const HistoryItem& item, std::int64_t time_us);
  // Removes what no late event can meet, a few at a time, and what is too much. Returns how many
  // were too much.
  std::int64_t Trim(std::int64_t time_us);

  v1::HistoryHead& head() { return head_; }
  // Writes the head. The last call.
  void Store();

  // How long a key is kept after its last event.
  static Duration Lifetime(const PlannedRule& rule);
  // Removes a key whose head lies under `head_key`.
  static void Remove(const PlannedRule& rule, std::string_view head_key, StateView& state);

 private:
  const PlannedRule& rule_;
  const std::string head_key_;
  const std::string prefix_;
  StateView& state_;
  v1::HistoryHead head_;
};

}  // namespace tocsin::correlation
