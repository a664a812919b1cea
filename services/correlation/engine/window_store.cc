#include "services/correlation/engine/window_store.h"

#include <algorithm>
#include <utility>

#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

// Beyond so many keys in memory, or after so many bytes were read and written, all are forgotten,
// and read again when they are needed.
constexpr std::size_t kMostKeysHeld = 50'000;
constexpr std::size_t kMostBytes = std::size_t{64} << 20;

std::optional<std::int64_t> Optional(bool has, std::int64_t value) {
  return has ? std::optional(value) : std::nullopt;
}

Pane ParsePane(const PlannedRule& rule, std::string_view bytes) {
  auto state = ParseState<v1::PaneState>(bytes);
  Pane pane;
  pane.first_us = state.first_us();
  pane.last_us = state.last_us();
  pane.events = state.events();
  pane.dirty = false;
  int i = 0;
  for (const CompiledAggregate& aggregate : rule.rule->window()->aggregates) {
    // A state that no accumulator accepts comes from no released program: it counts as empty.
    absl::StatusOr<aggregate::Accumulator> loaded =
        i < state.accumulators_size()
            ? aggregate::Accumulator::Load(aggregate.spec, state.accumulators(i))
            : aggregate::Accumulator(aggregate.spec);
    pane.accumulators.push_back(loaded.ok() ? *std::move(loaded)
                                            : aggregate::Accumulator(aggregate.spec));
    ++i;
  }
  for (v1::WindowSample& sample : *state.mutable_samples()) {
    pane.sample_bytes += sample.ByteSizeLong();
    pane.samples.push_back(std::move(sample));
  }
  return pane;
}

std::string PaneBytes(const Pane& pane) {
  v1::PaneState state;
  state.set_first_us(pane.first_us);
  state.set_last_us(pane.last_us);
  state.set_events(pane.events);
  for (const aggregate::Accumulator& accumulator : pane.accumulators) {
    accumulator.Save(*state.add_accumulators());
  }
  for (const v1::WindowSample& sample : pane.samples) *state.add_samples() = sample;
  return state.SerializeAsString();
}

std::optional<std::int64_t>& DueOf(KeyWindows& key, DueKind kind) {
  switch (kind) {
    case DueKind::kClose:
      return key.close_due_us;
    case DueKind::kForget:
      return key.forget_due_us;
    default:
      return key.emit_due_us;
  }
}

}  // namespace

WindowStore::RuleWindows& WindowStore::Rule(const PlannedRule& rule) {
  const auto found = rules_.find(rule.prefix);
  if (found != rules_.end()) return found->second;
  RuleWindows& added = rules_[rule.prefix];
  added.state = LoadState<v1::WindowRuleState>(*state_, WindowRuleKey(rule.prefix))
                    .value_or(v1::WindowRuleState());
  return added;
}

void WindowStore::Drop() {
  rules_.clear();
  keys_.clear();
  dirty_.clear();
  bytes_ = 0;
}

void WindowStore::Flush() {
  for (KeyWindows* key : dirty_) {
    Write(*key);
    if (key->gone_) keys_.erase(KeyedWindowsKey(key->prefix_, std::string(key->joined)));
  }
  dirty_.clear();
  for (auto& [prefix, rule] : rules_) {
    if (!rule.dirty) continue;
    rule.dirty = false;
    state_->Put(WindowRuleKey(prefix), rule.state.SerializeAsString());
  }
  if (keys_.size() > kMostKeysHeld || bytes_ > kMostBytes) {
    keys_.clear();
    bytes_ = 0;
  }
}

void WindowStore::Write(KeyWindows& key) {
  key.dirty_ = false;
  const std::string state_key = KeyedWindowsKey(key.prefix_, key.joined);
  for (const std::int64_t start : key.doomed_) {
    if (!key.panes.contains(start)) state_->Delete(PaneKey(key.prefix_, key.joined, start));
  }
  key.doomed_.clear();
  if (key.gone_) {
    if (key.stored_) state_->Delete(state_key);
    return;
  }
  v1::WindowKeyState state;
  for (const std::string& part : key.group_key) state.add_group_key(part);
  if (key.close_due_us.has_value()) state.set_close_due_us(*key.close_due_us);
  if (key.emit_due_us.has_value()) state.set_emit_due_us(*key.emit_due_us);
  if (key.forget_due_us.has_value()) state.set_forget_due_us(*key.forget_due_us);
  if (key.expiry_due_us.has_value()) state.set_ttl_due_us(*key.expiry_due_us);
  state.set_touched_us(key.touched_us);
  state.set_traceparent(key.traceparent);
  state.set_last_us(key.last_us);
  for (const auto& [start, told] : key.told) {
    v1::ToldWindow& added = *state.add_told();
    added.set_start_us(start);
    added.set_revision(told.revision);
    added.set_changed(told.changed);
    added.set_final(told.final);
  }
  state_->Put(state_key, state.SerializeAsString());
  key.stored_ = true;
  for (auto& [start, pane] : key.panes) {
    if (!pane.dirty) continue;
    pane.dirty = false;
    const std::string bytes = PaneBytes(pane);
    bytes_ += bytes.size();
    state_->Put(PaneKey(key.prefix_, key.joined, start), bytes);
    key.stored_panes_.insert(start);
  }
}

std::unique_ptr<KeyWindows> WindowStore::Load(const PlannedRule& rule,
                                              const std::string& joined) const {
  const auto state = LoadState<v1::WindowKeyState>(*state_, KeyedWindowsKey(rule.prefix, joined));
  if (!state.has_value()) return nullptr;
  auto key = std::make_unique<KeyWindows>();
  key->group_key.assign(state->group_key().begin(), state->group_key().end());
  key->joined = joined;
  key->prefix_ = rule.prefix;
  key->stored_ = true;
  key->close_due_us = Optional(state->has_close_due_us(), state->close_due_us());
  key->emit_due_us = Optional(state->has_emit_due_us(), state->emit_due_us());
  key->forget_due_us = Optional(state->has_forget_due_us(), state->forget_due_us());
  key->expiry_due_us = Optional(state->has_ttl_due_us(), state->ttl_due_us());
  key->touched_us = state->touched_us();
  key->traceparent = state->traceparent();
  key->last_us = state->last_us();
  for (const v1::ToldWindow& told : state->told()) {
    key->told[told.start_us()] = {told.revision(), told.changed(), told.final()};
  }
  const std::string prefix = PaneKeyPrefix(rule.prefix, joined);
  state_->Range(prefix, PrefixEnd(prefix), [&](std::string_view pane_key, std::string_view value) {
    const std::optional<std::int64_t> start = DecodeInt64(pane_key.substr(prefix.size()));
    if (start.has_value()) {
      bytes_ += value.size();
      key->panes.emplace(*start, ParsePane(rule, value));
      key->stored_panes_.insert(*start);
    }
    return true;
  });
  return key;
}

KeyWindows* WindowStore::Find(const PlannedRule& rule, const std::string& joined) {
  std::string state_key = KeyedWindowsKey(rule.prefix, joined);
  const auto found = keys_.find(state_key);
  if (found != keys_.end()) return found->second->gone_ ? nullptr : found->second.get();
  std::unique_ptr<KeyWindows> loaded = Load(rule, joined);
  if (loaded == nullptr) return nullptr;
  return keys_.emplace(std::move(state_key), std::move(loaded)).first->second.get();
}

void WindowStore::Touch(KeyWindows& key) {
  if (key.dirty_) return;
  key.dirty_ = true;
  dirty_.push_back(&key);
}

KeyWindows& WindowStore::Create(const PlannedRule& rule, const std::vector<std::string>& group_key,
                                const std::string& joined) {
  std::unique_ptr<KeyWindows>& place = keys_[KeyedWindowsKey(rule.prefix, joined)];
  if (place == nullptr) place = std::make_unique<KeyWindows>();
  KeyWindows& key = *place;
  key.group_key = group_key;
  key.joined = joined;
  key.prefix_ = rule.prefix;
  key.gone_ = false;
  Touch(key);
  RuleWindows& of_rule = Rule(rule);
  of_rule.state.set_live_keys(of_rule.state.live_keys() + 1);
  of_rule.dirty = true;
  return key;
}

void WindowStore::ErasePane(KeyWindows& key, std::int64_t start_us) {
  key.panes.erase(start_us);
  if (key.stored_panes_.erase(start_us) > 0) key.doomed_.insert(start_us);
}

void WindowStore::Erase(const PlannedRule& rule, KeyWindows& key) {
  SetDue(rule, key, DueKind::kClose, std::nullopt);
  SetDue(rule, key, DueKind::kEmit, std::nullopt);
  SetDue(rule, key, DueKind::kForget, std::nullopt);
  SetExpiry(rule, key, std::nullopt);
  while (!key.panes.empty()) ErasePane(key, key.panes.begin()->first);
  key.told.clear();
  key.last_us = 0;
  key.gone_ = true;
  Touch(key);
  RuleWindows& of_rule = Rule(rule);
  of_rule.state.set_live_keys(std::max<std::int64_t>(of_rule.state.live_keys() - 1, 0));
  of_rule.dirty = true;
}

std::int64_t WindowStore::RaiseHighest(const PlannedRule& rule, std::int64_t time_us) {
  RuleWindows& of_rule = Rule(rule);
  if (!of_rule.state.has_highest_us() || of_rule.state.highest_us() < time_us) {
    of_rule.state.set_highest_us(time_us);
    of_rule.dirty = true;
  }
  return of_rule.state.highest_us();
}

std::optional<std::int64_t> WindowStore::Highest(const PlannedRule& rule) {
  const RuleWindows& of_rule = Rule(rule);
  return Optional(of_rule.state.has_highest_us(), of_rule.state.highest_us());
}

void WindowStore::SetDue(const PlannedRule& rule, KeyWindows& key, DueKind kind,
                         std::optional<std::int64_t> due_us) {
  std::optional<std::int64_t>& due = DueOf(key, kind);
  if (due == due_us) return;
  RuleWindows& of_rule = Rule(rule);
  if (due.has_value()) {
    state_->Delete(DueKey(rule.prefix, *due, key.joined, static_cast<char>(kind)));
    if (of_rule.next_due_us == due) of_rule.next_due_known = false;
  }
  due = due_us;
  Touch(key);
  if (!due.has_value()) return;
  state_->Put(DueKey(rule.prefix, *due, key.joined, static_cast<char>(kind)), key.joined);
  if (of_rule.next_due_known && (!of_rule.next_due_us.has_value() || *due < *of_rule.next_due_us)) {
    of_rule.next_due_us = due;
  }
  if (of_rule.taken_us.has_value()) of_rule.taken_us = std::min(*of_rule.taken_us, *due);
}

std::optional<std::int64_t> WindowStore::NextDue(const PlannedRule& rule) {
  RuleWindows& of_rule = Rule(rule);
  if (of_rule.next_due_known) return of_rule.next_due_us;
  of_rule.next_due_known = true;
  of_rule.next_due_us.reset();
  const std::string all = DueKeyFloor(rule.prefix, 0);
  const std::string prefix = all.substr(0, all.size() - 8);
  const std::string begin =
      of_rule.taken_us.has_value() ? DueKeyFloor(rule.prefix, *of_rule.taken_us) : prefix;
  state_->Range(begin, PrefixEnd(prefix), [&](std::string_view key, std::string_view) {
    of_rule.next_due_us = DecodeInt64(key.substr(prefix.size(), 8));
    return false;
  });
  return of_rule.next_due_us;
}

std::vector<DueEntry> WindowStore::TakeDue(const PlannedRule& rule, std::int64_t due_us,
                                           std::size_t limit) {
  std::vector<DueEntry> entries;
  const std::string begin = DueKeyFloor(rule.prefix, due_us);
  state_->Range(begin, PrefixEnd(begin), [&](std::string_view key, std::string_view value) {
    if (entries.size() >= limit) return false;
    entries.push_back({static_cast<DueKind>(key.back()), std::string(value)});
    return true;
  });
  for (const DueEntry& entry : entries) {
    KeyWindows* key = Find(rule, entry.joined);
    if (key != nullptr && DueOf(*key, entry.kind) == due_us) {
      SetDue(rule, *key, entry.kind, std::nullopt);
    } else {
      state_->Delete(DueKey(rule.prefix, due_us, entry.joined, static_cast<char>(entry.kind)));
    }
  }
  RuleWindows& of_rule = Rule(rule);
  of_rule.next_due_known = false;
  of_rule.taken_us = due_us;
  return entries;
}

void WindowStore::SetExpiry(const PlannedRule& rule, KeyWindows& key,
                            std::optional<std::int64_t> due_us) {
  if (key.expiry_due_us == due_us) return;
  if (key.expiry_due_us.has_value()) {
    state_->Delete(ExpiryKey(rule.prefix, *key.expiry_due_us, key.joined));
  }
  key.expiry_due_us = due_us;
  Touch(key);
  if (due_us.has_value()) state_->Put(ExpiryKey(rule.prefix, *due_us, key.joined), key.joined);
}

std::vector<std::string> WindowStore::ExpiryDue(const PlannedRule& rule, std::int64_t timestamp_us,
                                                std::size_t limit) const {
  std::vector<std::string> keys;
  const std::string all = ExpiryKeyFloor(rule.prefix, 0);
  state_->Range(std::string_view(all).substr(0, all.size() - 8),
                ExpiryKeyFloor(rule.prefix, timestamp_us + 1),
                [&](std::string_view, std::string_view joined) {
                  keys.emplace_back(joined);
                  return keys.size() < limit;
                });
  return keys;
}

}  // namespace tocsin::correlation
