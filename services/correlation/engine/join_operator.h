// Joins: which events of the other side an event makes pairs with.
//
// Events of both sides come in one order (event time, ce_sequence, left before right, original
// partition, original offset). Each meets those of the other side that came before it and are at
// most `within` older, so every pair is found once, at its later event. What is kept of a group key
// is one Window (key k of docs/formats/correlation-state.md) with the events of both sides; the
// value of each is its side and, where pairs are judged, its message.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/schema/wire_projection.h"
#include "services/correlation/engine/counts.h"
#include "services/correlation/engine/detector.h"
#include "services/correlation/engine/packed_event.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

// What is kept as the value of an event of a join.
std::string JoinValue(const PlannedRule& join, bool right, std::string_view payload);
bool IsRight(const PackedEvent& event);

// Messages that pairs are read into, by the rule's number; live as long as the plan.
using PairMessages = std::map<std::size_t, schema::ProjectedMessage>;

class JoinOperator {
 public:
  // A key keeps at most so many bytes, whatever the rule's max_events.
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20;

  // All must outlive it. `counts`: by the rule's number.
  JoinOperator(StateView& state, WindowCaches& windows, PairMessages& messages, Detector& detector,
               std::vector<RuleCounts>& counts)
      : state_(state),
        windows_(windows),
        messages_(messages),
        detector_(detector),
        counts_(counts) {}

  // The next event in order: tells its pairs and keeps it. `group_key`: joined. `timestamp_us`: the
  // highest Kafka timestamp so far.
  void Meet(const PlannedRule& rule, std::string_view group_key, const PackedEvent& event,
            std::int64_t timestamp_us);

 private:
  bool Holds(const PlannedRule& rule, const PackedEvent& left, const PackedEvent& right);

  StateView& state_;
  WindowCaches& windows_;
  PairMessages& messages_;
  Detector& detector_;
  std::vector<RuleCounts>& counts_;
  // Used again for the next.
  std::string bytes_;
};

}  // namespace tocsin::correlation
