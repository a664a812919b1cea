// Holds the events of rules in event-time order until the watermark passes them, and gives them out
// in the order (event time, ce_sequence, original partition, original offset).
//
// The state behind it are the keys b and w of docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

class ReorderBuffer {
 public:
  using Visitor = std::function<void(v1::HeldEvent)>;

  // At most `max_release` events are given out in all. `state` must outlive it.
  ReorderBuffer(StateView& state, std::size_t max_release)
      : state_(state), max_release_(max_release) {}

  // Has the rule's watermark passed this time?
  bool Passed(const PlannedRule& rule, WallTime time);
  // Has everything up to `us` (microseconds) and `later` beyond it been given out?
  bool ReleasedBeyond(const PlannedRule& rule, std::int64_t us, Duration later);

  void Hold(const PlannedRule& rule, const Envelope& envelope, const Origin& origin,
            const v1::HeldEvent& held);
  // nullopt: nothing is promised yet. A watermark never goes back.
  void Advance(const PlannedRule& rule, std::optional<WallTime> watermark);
  // Gives out what the watermark has passed. False: more is due than may be released now.
  bool Release(const PlannedRule& rule, const Visitor& visit);

  // For those who keep what waits themselves (window_operator.h): the watermark, up to where it was
  // worked off, and to note that it was.
  std::optional<std::int64_t> WatermarkUs(const PlannedRule& rule);
  std::optional<std::int64_t> ReleasedUs(const PlannedRule& rule);
  void SetReleased(const PlannedRule& rule);

  // How many were given out.
  std::size_t released() const { return released_; }
  // Writes how far each rule has come. The last call.
  void Store();

 private:
  v1::RuleProgress& Progress(const PlannedRule& rule);

  StateView& state_;
  const std::size_t max_release_;
  std::size_t released_ = 0;
  // By rule prefix; read when it is first needed.
  std::map<std::string, v1::RuleProgress> progress_;
  std::set<std::string> changed_;
};

}  // namespace tocsin::correlation
