// The windows of window rules as they lie in the state: for each group key what is open, and what
// is due when.
//
// Keys that were touched stay in memory between batches. What a batch changes is written by Flush;
// a batch that was not committed is forgotten by Drop. The state behind it are the keys l, n, p, q
// and u of docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives as long as its task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "services/correlation/aggregate/accumulator.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "tocsin/correlation/v1/window_state.pb.h"

namespace tocsin::correlation {

// A piece of time that no window divides; for a session the session.
struct Pane {
  std::int64_t first_us = 0;
  std::int64_t last_us = 0;
  std::int64_t events = 0;
  std::vector<aggregate::Accumulator> accumulators;
  // sliding only, in the order in which they came.
  std::vector<v1::WindowSample> samples;
  std::size_t sample_bytes = 0;
  bool dirty = true;
};

// Of a window that is told before it closes, or corrected afterwards.
struct Told {
  std::int32_t revision = 0;
  bool changed = false;
  bool final = false;
};

struct KeyWindows {
  std::vector<std::string> group_key;
  std::string joined;
  std::optional<std::int64_t> close_due_us;
  std::optional<std::int64_t> emit_due_us;
  std::optional<std::int64_t> forget_due_us;
  std::optional<std::int64_t> expiry_due_us;
  std::int64_t touched_us = 0;
  std::string traceparent;
  std::int64_t last_us = 0;
  // By start.
  std::map<std::int64_t, Told> told;
  std::map<std::int64_t, Pane> panes;

 private:
  friend class WindowStore;
  // Starts of panes in the state that are to be deleted.
  std::set<std::int64_t> doomed_;
  // Starts of panes in the state.
  std::set<std::int64_t> stored_panes_;
  std::string prefix_;
  bool stored_ = false;
  bool dirty_ = false;
  bool gone_ = false;
};

enum class DueKind : char { kClose = 'c', kEmit = 'e', kForget = 'f' };

struct DueEntry {
  DueKind kind{};
  std::string joined;
};

class WindowStore {
 public:
  // For one batch; `state` must outlive it.
  void Begin(StateView& state) { state_ = &state; }
  // Writes what has changed, behind the last batch of a transaction. What was found is not good any
  // more.
  void Flush();
  // The last batches were not committed, or the plan is another.
  void Drop();

  // nullptr: nothing of this key is open. What is found may be changed (Touch).
  KeyWindows* Find(const PlannedRule& rule, const std::string& joined);
  KeyWindows& Create(const PlannedRule& rule, const std::vector<std::string>& group_key,
                     const std::string& joined);
  void Erase(const PlannedRule& rule, KeyWindows& key);
  void ErasePane(KeyWindows& key, std::int64_t start_us);
  // It is changed now or soon.
  void Touch(KeyWindows& key);
  std::int64_t live_keys(const PlannedRule& rule) { return Rule(rule).state.live_keys(); }

  // order: arrival. The highest event time so far, this event included.
  std::int64_t RaiseHighest(const PlannedRule& rule, std::int64_t time_us);
  std::optional<std::int64_t> Highest(const PlannedRule& rule);

  // --- what is due when ---

  void SetDue(const PlannedRule& rule, KeyWindows& key, DueKind kind,
              std::optional<std::int64_t> due_us);
  std::optional<std::int64_t> NextDue(const PlannedRule& rule);
  // Takes up to `limit` entries of this very time out of the index, by group key.
  std::vector<DueEntry> TakeDue(const PlannedRule& rule, std::int64_t due_us, std::size_t limit);
  void SetExpiry(const PlannedRule& rule, KeyWindows& key, std::optional<std::int64_t> due_us);
  // Group keys whose expiry is due at this Kafka timestamp.
  std::vector<std::string> ExpiryDue(const PlannedRule& rule, std::int64_t timestamp_us,
                                     std::size_t limit) const;

 private:
  struct RuleWindows {
    v1::WindowRuleState state;
    bool dirty = false;
    bool next_due_known = false;
    std::optional<std::int64_t> next_due_us;
    // Everything before has been taken out.
    std::optional<std::int64_t> taken_us;
  };
  RuleWindows& Rule(const PlannedRule& rule);
  std::unique_ptr<KeyWindows> Load(const PlannedRule& rule, const std::string& joined) const;
  void Write(KeyWindows& key);

  StateView* state_ = nullptr;
  // By rule prefix.
  std::map<std::string, RuleWindows, std::less<>> rules_;
  // By state key.
  absl::flat_hash_map<std::string, std::unique_ptr<KeyWindows>> keys_;
  std::vector<KeyWindows*> dirty_;
  // Read and written since keys_ was emptied.
  mutable std::size_t bytes_ = 0;
};

}  // namespace tocsin::correlation
