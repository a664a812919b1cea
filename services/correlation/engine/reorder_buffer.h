// Holds the events of rules in event-time order until the watermark passes them, and gives them out
// in the order (event time, ce_sequence, original partition, original offset).
//
// What comes and goes within one transaction never touches the state: events wait in memory, and
// Store writes those that still do. The state behind it are the keys b and w of
// docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives as long as its task and the task's plan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/packed_event.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

// The views are good during the call; it may not hold events.
using HeldVisitor = std::function<void(std::string_view group_key, const PackedEvent& event)>;

// Shows what the state keeps of an event that waits (key b), in any format; not of window rules.
void VisitHeld(std::string_view bytes, const HeldVisitor& visit);

class ReorderBuffer {
 public:
  using Visitor = HeldVisitor;

  // At most `max_release` events are given out in one batch.
  explicit ReorderBuffer(std::size_t max_release) : max_release_(max_release) {}

  // A batch begins; `state` is used until the next one does.
  void Begin(StateView& state) {
    state_ = &state;
    released_ = 0;
  }
  // The last batches were not committed, or there is another plan: all is read anew.
  void Drop() { rules_.clear(); }

  // Has the rule's watermark passed this time?
  bool Passed(const PlannedRule& rule, WallTime time);
  // Has everything up to `us` (microseconds) and `later` beyond it been given out?
  bool ReleasedBeyond(const PlannedRule& rule, std::int64_t us, Duration later);

  // Until the watermark passes `position`: its own time, or later. `group_key` and `value`: joined.
  void Hold(const PlannedRule& rule, const Envelope& envelope, const Origin& origin,
            std::string_view group_key, std::string_view value, WallTime position);
  void Hold(const PlannedRule& rule, const Envelope& envelope, const Origin& origin,
            std::string_view group_key, std::string_view value) {
    Hold(rule, envelope, origin, group_key, value, envelope.time);
  }
  // nullopt: nothing is promised yet. A watermark never goes back.
  void Advance(const PlannedRule& rule, std::optional<WallTime> watermark);
  // Gives out what the watermark has passed. False: more is due than may be released now.
  bool Release(const PlannedRule& rule, const Visitor& visit);

  // For those who keep what waits themselves (window_operator.h): the watermark, up to where it was
  // worked off, and to note that it was.
  std::optional<std::int64_t> WatermarkUs(const PlannedRule& rule);
  std::optional<std::int64_t> ReleasedUs(const PlannedRule& rule);
  void SetReleased(const PlannedRule& rule);

  // How many were given out in this batch.
  std::size_t released() const { return released_; }
  // Writes what still waits, and how far each rule has come.
  void Store();

 private:
  // An event that is not in the state; its texts lie in the rule's `bytes`.
  struct Waiting {
    std::int64_t time_us = 0;
    std::int64_t offset = 0;
    std::int32_t partition = 0;
    std::uint32_t sequence_at = 0;
    std::uint32_t sequence_size = 0;
    // What the state keeps of it.
    std::uint32_t value_at = 0;
    std::uint32_t value_size = 0;
  };
  struct OfRule {
    const PlannedRule* rule = nullptr;
    v1::RuleProgress progress;
    bool progress_changed = false;
    std::vector<Waiting> waiting;
    bool ordered = true;
    std::string bytes;

    std::string_view Sequence(const Waiting& event) const {
      return std::string_view(bytes).substr(event.sequence_at, event.sequence_size);
    }
    std::string_view Value(const Waiting& event) const {
      return std::string_view(bytes).substr(event.value_at, event.value_size);
    }
    // The order of release.
    bool Before(const Waiting& a, const Waiting& b) const;
    std::string Key(const Waiting& event) const;
    // Brings what waits into that order; of two with one place the later stays.
    void Sort();
  };

  OfRule& Of(const PlannedRule& rule);

  StateView* state_ = nullptr;
  const std::size_t max_release_;
  std::size_t released_ = 0;
  // By the rule's number; read when it is first needed.
  std::vector<OfRule> rules_;
};

}  // namespace tocsin::correlation
