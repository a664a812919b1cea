// Window rules: puts events into the windows that they belong to, and tells what the windows hold
// when they close, when they change, or every so often.
//
// Order. In event-time order events wait (key b) and are taken up, together with what is due
// (closing, telling), in one order of time: at the same time events first, then what is due by
// group key. An event that comes late, but within a window's grace, is taken up as though its time
// were just after what its own partition had promised before it; so what is found depends on the
// content of the log alone. In order of arrival the highest event time so far of this task plays
// the watermark.
//
// A window [start, end) closes at end + grace - 1 ms, a session at its last event's time + gap +
// grace, as soon as the watermark has come so far. docs/formats/time.md has the whole.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/counts.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/lateness.h"
#include "services/correlation/engine/output_writer.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/engine/window_store.h"

namespace tocsin::correlation {

class WindowOperator {
 public:
  // At most about `max_steps` events and closings are worked off in all. All must outlive it.
  WindowOperator(WindowStore& store, StateView& state, ReorderBuffer& buffer, OutputWriter& outputs,
                 std::vector<RuleCounts>& counts, std::size_t max_steps)
      : store_(store),
        state_(state),
        buffer_(buffer),
        outputs_(outputs),
        counts_(counts),
        max_steps_(max_steps) {
    store_.Begin(state);
  }

  struct Outcome {
    Verdict verdict = Verdict::kTaken;
    // kLate: the watermark that had passed it.
    WallTime watermark{};
  };
  // An event that takes part. `watermark`: what its own partition had promised before it.
  // `timestamp_us`: the highest Kafka timestamp so far. `record`: as it came. An event that is
  // kUndecided is counted when it is decided, and then written to the topic of late events if it is
  // one.
  Outcome Take(const PlannedRule& rule, std::vector<std::string> group_key,
               std::vector<aggregate::Value> values, const kafka::RecordView& record,
               const Envelope& envelope, const Origin& origin, std::optional<WallTime> watermark,
               std::int64_t timestamp_us);
  // Works off what the watermark has passed. False: there is more.
  bool Release(const PlannedRule& rule, std::string_view topic, std::int64_t timestamp_us);
  // Closes and forgets keys that nothing has touched for their rule's ttl. False: there is more.
  bool Expire(const PlannedRule& rule, std::int64_t timestamp_us);
  // How many late events were written.
  std::int64_t kept_late() const { return kept_late_; }

 private:
  RuleCounts& counts(const PlannedRule& rule) { return counts_[rule.number]; }

  // Everything due before `us`. False: the steps are used up.
  bool WorkOffBefore(const PlannedRule& rule, std::int64_t us, std::size_t most);
  void Apply(const PlannedRule& rule, const v1::HeldSample& held, std::int64_t position_us);
  // nullptr: the rule has as many keys as it may have.
  KeyWindows* KeyFor(const PlannedRule& rule, const v1::HeldSample& held);
  void ApplyToWindows(const PlannedRule& rule, const v1::HeldSample& held,
                      std::int64_t position_us);
  void ApplyToSession(const PlannedRule& rule, const v1::HeldSample& held,
                      std::int64_t position_us);
  void ApplyToSliding(const PlannedRule& rule, const v1::HeldSample& held);
  // What the rule's `emit` says follows from an event at `us`.
  void Changed(const PlannedRule& rule, KeyWindows& key, std::int64_t position_us);
  void EmitChanged(const PlannedRule& rule, KeyWindows& key);

  void Close(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us);
  void CloseWindow(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us);
  void CloseSessions(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us);
  void CloseSliding(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us);

  // correct_within: what has closed is kept until then, and corrected by late events.
  void ForgetFrom(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us);
  void Forget(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us);

  // The window (for a session, the session) that starts at `start_us`.
  void Emit(const PlannedRule& rule, KeyWindows& key, std::int64_t start_us, bool final);
  void EmitSliding(const PlannedRule& rule, KeyWindows& key);
  // A session that was told has become part of another.
  void Withdraw(const PlannedRule& rule, KeyWindows& key, std::int64_t start_us,
                std::int64_t last_us);
  void Write(const PlannedRule& rule, const KeyWindows& key, std::int64_t start_us,
             std::int64_t end_us, std::int64_t events, std::int32_t revision, bool final,
             const std::vector<aggregate::Accumulator>& accumulators, Duration length);

  WindowStore& store_;
  StateView& state_;
  ReorderBuffer& buffer_;
  OutputWriter& outputs_;
  // By the rule's number.
  std::vector<RuleCounts>& counts_;
  const std::size_t max_steps_;
  std::size_t steps_ = 0;
  std::int64_t timestamp_us_ = 0;
  std::int64_t kept_late_ = 0;
};

}  // namespace tocsin::correlation
