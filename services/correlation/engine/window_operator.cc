#include "services/correlation/engine/window_operator.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"
#include "services/correlation/engine/window.h"
#include "services/correlation/engine/window_samples.h"

namespace tocsin::correlation {
namespace {

constexpr std::int64_t kMillisecond = 1'000;
// The events of one piece of a sliding window; what comes beyond is dropped and counted.
constexpr std::size_t kMostSampleBytes = std::size_t{256} * 1024;

Pane& PaneAt(const CompiledWindow& window, KeyWindows& key, std::int64_t start_us) {
  Pane& pane = key.panes[start_us];
  if (pane.accumulators.empty()) pane.accumulators = EmptyAccumulators(window);
  return pane;
}

std::int64_t Newest(const KeyWindows& key) {
  std::int64_t newest = std::numeric_limits<std::int64_t>::min();
  for (const auto& [start, pane] : key.panes) newest = std::max(newest, pane.last_us);
  return newest;
}

}  // namespace

// --- taking events up ---

WindowOperator::Outcome WindowOperator::Take(
    const PlannedRule& rule, std::vector<std::string> group_key,
    std::vector<aggregate::Value> values, const kafka::RecordView& record, const Envelope& envelope,
    const Origin& origin, std::optional<WallTime> watermark, std::int64_t timestamp_us) {
  timestamp_us_ = timestamp_us;
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t time = Micros(envelope.time);
  v1::HeldSample held;
  held.mutable_sample()->set_time_us(time);
  for (aggregate::Value& value : values) {
    *held.mutable_sample()->add_values() = ToSample(std::move(value));
  }
  for (std::string& part : group_key) held.add_group_key(std::move(part));
  held.set_traceparent(std::string(envelope.traceparent));

  std::optional<std::int64_t> promised;
  if (rule.event_time()) {
    if (watermark.has_value()) promised = Micros(*watermark);
  } else if (window.type != WindowType::kSliding) {
    const std::optional<std::int64_t> highest = store_.Highest(rule);
    if (highest.has_value()) promised = *highest - kMillisecond;
  }
  const std::optional<WindowPlace> place = PlaceInWindows(window, time, promised);
  if (!place.has_value() ||
      (rule.event_time() && buffer_.Passed(rule, FromMicros(place->position_us)))) {
    if (!promised.has_value()) promised = buffer_.WatermarkUs(rule);
    return {Verdict::kLate, FromMicros(promised.value_or(time))};
  }
  Outcome outcome;
  if (place->doubtful) {
    outcome.verdict = Verdict::kUndecided;
    held.set_doubtful(true);
    held.set_watermark_us(promised.value_or(time));
    if (outputs_.keeps_late()) *held.mutable_kept() = OutputWriter::Keep(record, origin);
  }
  if (rule.event_time()) {
    state_.Put(HeldKey(rule.prefix, FromMicros(place->position_us), envelope.sequence,
                       origin.partition, origin.offset),
               held.SerializeAsString());
    return outcome;
  }
  const std::int64_t now = store_.RaiseHighest(rule, time) - kMillisecond;
  (void)WorkOffBefore(rule, now + 1, std::numeric_limits<std::size_t>::max());
  Apply(rule, held, now + 1);
  return outcome;
}

bool WindowOperator::Release(const PlannedRule& rule, std::string_view topic,
                             std::int64_t timestamp_us) {
  timestamp_us_ = timestamp_us;
  const std::optional<std::int64_t> watermark = buffer_.WatermarkUs(rule);
  if (!watermark.has_value()) return true;
  const std::optional<std::int64_t> released = buffer_.ReleasedUs(rule);
  if (released.has_value() && *released >= *watermark) return true;
  const std::string all = HeldKeyFloor(rule.prefix, FromMicros(0));
  const std::size_t prefix_size = all.size() - 8;
  const std::string begin = released.has_value()
                                ? HeldKeyFloor(rule.prefix, FromMicros(*released + 1))
                                : all.substr(0, prefix_size);
  const std::string end = HeldKeyFloor(rule.prefix, FromMicros(*watermark + 1));
  std::vector<std::pair<std::string, std::string>> passed;
  bool complete = true;
  state_.Range(begin, end, [&](std::string_view key, std::string_view value) {
    if (steps_ + passed.size() >= max_steps_) {
      complete = false;
      return false;
    }
    passed.emplace_back(key, value);
    return true;
  });
  for (const auto& [key, bytes] : passed) {
    const std::int64_t position =
        DecodeInt64(std::string_view(key).substr(prefix_size, 8)).value_or(0);
    if (!WorkOffBefore(rule, position, max_steps_) || steps_ >= max_steps_) return false;
    ++steps_;
    outputs_.NextCause(topic);
    state_.Delete(key);
    Apply(rule, ParseState<v1::HeldSample>(bytes), position);
  }
  if (!complete || !WorkOffBefore(rule, *watermark + 1, max_steps_)) return false;
  buffer_.SetReleased(rule);
  return true;
}

bool WindowOperator::WorkOffBefore(const PlannedRule& rule, std::int64_t us, std::size_t most) {
  for (;;) {
    const std::optional<std::int64_t> due = store_.NextDue(rule);
    if (!due.has_value() || *due >= us) return true;
    if (steps_ >= most) return false;
    constexpr std::size_t kAtOnce = 256;
    for (const DueEntry& entry : store_.TakeDue(rule, *due, std::min(kAtOnce, most - steps_))) {
      ++steps_;
      KeyWindows* key = store_.Find(rule, entry.joined);
      if (key == nullptr) continue;
      outputs_.NextCause(rule.rule->local() ? rule.rule->stream() : rule.rule->repartition_topic());
      store_.Touch(*key);
      if (entry.kind == DueKind::kEmit) {
        EmitChanged(rule, *key);
      } else if (entry.kind == DueKind::kForget) {
        Forget(rule, *key, *due);
      } else {
        Close(rule, *key, *due);
      }
    }
  }
}

void WindowOperator::Apply(const PlannedRule& rule, const v1::HeldSample& held,
                           std::int64_t position_us) {
  switch (rule.rule->window()->type) {
    case WindowType::kSession:
      ApplyToSession(rule, held, position_us);
      break;
    case WindowType::kSliding:
      ApplyToSliding(rule, held);
      break;
    default:
      ApplyToWindows(rule, held, position_us);
  }
}

KeyWindows* WindowOperator::KeyFor(const PlannedRule& rule, const v1::HeldSample& held) {
  const std::vector<std::string> group_key(held.group_key().begin(), held.group_key().end());
  const std::string joined = JoinKey(group_key);
  const CompiledWindow& window = *rule.rule->window();
  KeyWindows* key = store_.Find(rule, joined);
  if (key == nullptr) {
    if (store_.live_keys(rule) >= window.max_keys) {
      ++counts(rule).dropped["max_keys"];
      return nullptr;
    }
    key = &store_.Create(rule, group_key, joined);
  }
  store_.Touch(*key);
  key->traceparent = held.traceparent();
  key->touched_us = timestamp_us_;
  if (window.ttl.has_value() && !key->expiry_due_us.has_value()) {
    store_.SetExpiry(rule, *key, timestamp_us_ + window.ttl->count());
  }
  return key;
}

void WindowOperator::ApplyToWindows(const PlannedRule& rule, const v1::HeldSample& held,
                                    std::int64_t position_us) {
  const CompiledWindow& window = *rule.rule->window();
  KeyWindows* key = KeyFor(rule, held);
  if (key == nullptr) return;
  const std::int64_t time = held.sample().time_us();
  const std::int64_t slide = window.slide.count();
  AddTo(PaneAt(window, *key, FloorTo(time, window.pane.count())), held.sample());
  // The first window around it that still counts, then the first that is still open.
  const std::int64_t last_start = FloorTo(time, slide);
  std::int64_t start = CeilTo(time + 1 - window.size.count(), slide);
  while (start < last_start && ForgetOfWindow(window, start) < position_us) start += slide;
  if (window.correct_within.count() > 0) {
    ForgetFrom(rule, *key, ForgetOfWindow(window, start));
    if (CloseOfWindow(window, start) < position_us) ++counts(rule).corrections;
    for (; start <= last_start && CloseOfWindow(window, start) < position_us; start += slide) {
      Emit(rule, *key, start, true);
    }
    if (start > last_start) return;
  }
  const std::int64_t due = CloseOfWindow(window, start);
  if (!key->close_due_us.has_value() || due < *key->close_due_us) {
    store_.SetDue(rule, *key, DueKind::kClose, due);
  }
  if (window.emit == correlation::Emit::kOnClose) return;
  for (; start <= last_start; start += slide) key->told[start].changed = true;
  Changed(rule, *key, position_us);
}

void WindowOperator::ApplyToSession(const PlannedRule& rule, const v1::HeldSample& held,
                                    std::int64_t position_us) {
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t time = held.sample().time_us();
  const std::int64_t gap = window.gap.count();
  KeyWindows* key = store_.Find(rule, JoinKey({held.group_key().begin(), held.group_key().end()}));
  std::vector<std::int64_t> met;
  if (key != nullptr) {
    for (const auto& [start, pane] : key->panes) {
      if (time >= pane.first_us - gap && time <= pane.last_us + gap) met.push_back(start);
    }
  }
  if (held.doubtful()) {
    --counts(rule).undecided;
    if (met.empty()) {
      ++counts(rule).late;
      const std::vector<LateFor> late = {{rule.rule->id(), FromMicros(held.watermark_us())}};
      if (held.has_kept() &&
          outputs_.WriteLate(held.kept(), FromMicros(time), held.traceparent(), late)) {
        ++kept_late_;
      }
      return;
    }
    ++counts(rule).taken;
  }
  key = KeyFor(rule, held);
  if (key == nullptr) return;
  Pane session;
  session.accumulators = EmptyAccumulators(window);
  for (const std::int64_t start : met) {
    const Pane& part = key->panes.at(start);
    session.first_us = session.events == 0 ? part.first_us : session.first_us;
    session.last_us = std::max(session.events == 0 ? part.last_us : session.last_us, part.last_us);
    session.events += part.events;
    MergeInto(part, session.accumulators);
  }
  AddTo(session, held.sample());
  const std::int64_t start = session.first_us;
  const std::int64_t last = session.last_us;
  for (const std::int64_t old : met) {
    if (old != start) Withdraw(rule, *key, old, key->panes.at(old).last_us);
    store_.ErasePane(*key, old);
  }
  key->panes.insert_or_assign(start, std::move(session));
  if (window.correct_within.count() > 0) {
    ForgetFrom(rule, *key, ForgetOfSession(window, last));
    const bool closed = CloseOfSession(window, last) < position_us;
    const auto told = key->told.find(start);
    if (told != key->told.end()) {
      // It goes on: what was told for good was not.
      if (told->second.final) ++counts(rule).corrections;
      told->second.final = false;
    }
    if (closed) {
      Emit(rule, *key, start, true);
      return;
    }
  }
  // An entry that is too early puts itself right when it comes due.
  const std::int64_t due = CloseOfSession(window, last);
  if (!key->close_due_us.has_value() || due < *key->close_due_us) {
    store_.SetDue(rule, *key, DueKind::kClose, due);
  }
  if (window.emit == correlation::Emit::kOnClose) return;
  key->told[start].changed = true;
  Changed(rule, *key, time);
}

void WindowOperator::ApplyToSliding(const PlannedRule& rule, const v1::HeldSample& held) {
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t size = window.size.count();
  const std::int64_t time = held.sample().time_us();
  const std::int64_t piece = FloorTo(time, window.pane.count());
  const std::size_t bytes = held.sample().ByteSizeLong();
  // order: arrival. How far behind the newest an event may come, beside the window's own length.
  std::int64_t slack = 0;
  if (!rule.event_time()) {
    slack = ArrivalSlack(rule.rule->window()->size).count();
  }
  if (KeyWindows* known =
          store_.Find(rule, JoinKey({held.group_key().begin(), held.group_key().end()}))) {
    if (time <= Newest(*known) - size - slack) {
      ++counts(rule).dropped["too_old"];
      return;
    }
    const auto pane = known->panes.find(piece);
    if (pane != known->panes.end() && pane->second.sample_bytes + bytes > kMostSampleBytes) {
      ++counts(rule).dropped["window_full"];
      return;
    }
  }
  KeyWindows* key = KeyFor(rule, held);
  if (key == nullptr) return;
  Pane& pane = PaneAt(window, *key, piece);
  AddTo(pane, held.sample());
  pane.samples.push_back(held.sample());
  pane.sample_bytes += bytes;
  key->last_us = time;
  // What no later event can meet.
  const std::int64_t newest = Newest(*key);
  while (key->panes.begin()->second.last_us <= newest - size - slack) {
    store_.ErasePane(*key, key->panes.begin()->first);
  }
  if (!key->close_due_us.has_value()) {
    store_.SetDue(rule, *key, DueKind::kClose, newest + size + slack);
  }
  const std::int64_t start = time - size;
  const std::int32_t revision = key->told.contains(start) ? key->told.at(start).revision : 0;
  key->told.clear();
  key->told[start] = {revision, true};
  Changed(rule, *key, time);
}

void WindowOperator::Changed(const PlannedRule& rule, KeyWindows& key, std::int64_t position_us) {
  const CompiledWindow& window = *rule.rule->window();
  if (window.emit == correlation::Emit::kOnChange) {
    EmitChanged(rule, key);
    return;
  }
  if (key.emit_due_us.has_value()) return;
  const std::int64_t every = window.every.count();
  const std::int64_t next = FloorTo(position_us, every) + every - kMillisecond;
  store_.SetDue(rule, key, DueKind::kEmit, std::max(next, position_us));
}

// --- what is due ---

void WindowOperator::Close(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  switch (rule.rule->window()->type) {
    case WindowType::kSession:
      CloseSessions(rule, key, due_us);
      break;
    case WindowType::kSliding:
      CloseSliding(rule, key, due_us);
      break;
    default:
      CloseWindow(rule, key, due_us);
  }
}

void WindowOperator::CloseWindow(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t slide = window.slide.count();
  const std::int64_t size = window.size.count();
  const std::int64_t start = due_us + kMillisecond - window.grace.count() - size;
  Emit(rule, key, start, true);
  if (window.correct_within.count() == 0) {
    while (!key.panes.empty() && key.panes.begin()->first < start + slide) {
      store_.ErasePane(key, key.panes.begin()->first);
    }
    if (key.panes.empty()) {
      store_.Erase(rule, key);
      return;
    }
  }
  const auto next_pane = key.panes.lower_bound(start + slide);
  if (next_pane == key.panes.end()) return;
  const std::int64_t first = next_pane->first;
  const std::int64_t next =
      std::max(start + slide, CeilTo(first + window.pane.count() - size, slide));
  store_.SetDue(rule, key, DueKind::kClose, CloseOfWindow(window, next));
}

void WindowOperator::CloseSessions(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  const CompiledWindow& window = *rule.rule->window();
  std::vector<std::int64_t> over;
  std::optional<std::int64_t> next;
  for (const auto& [start, pane] : key.panes) {
    const std::int64_t due = CloseOfSession(window, pane.last_us);
    const auto told = key.told.find(start);
    if (told != key.told.end() && told->second.final) continue;
    if (due <= due_us) {
      over.push_back(start);
    } else {
      next = std::min(next.value_or(due), due);
    }
  }
  for (const std::int64_t start : over) {
    Emit(rule, key, start, true);
    if (window.correct_within.count() == 0) store_.ErasePane(key, start);
  }
  if (key.panes.empty()) {
    store_.Erase(rule, key);
  } else {
    store_.SetDue(rule, key, DueKind::kClose, next);
  }
}

void WindowOperator::ForgetFrom(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  if (key.forget_due_us.has_value() && *key.forget_due_us <= due_us) return;
  store_.SetDue(rule, key, DueKind::kForget, due_us);
}

void WindowOperator::Forget(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  const CompiledWindow& window = *rule.rule->window();
  std::optional<std::int64_t> next;
  if (window.type == WindowType::kSession) {
    std::vector<std::int64_t> over;
    for (const auto& [start, pane] : key.panes) {
      const std::int64_t due = ForgetOfSession(window, pane.last_us);
      if (due <= due_us) {
        over.push_back(start);
      } else {
        next = std::min(next.value_or(due), due);
      }
    }
    for (const std::int64_t start : over) {
      store_.ErasePane(key, start);
      key.told.erase(start);
    }
  } else {
    const std::int64_t slide = window.slide.count();
    const std::int64_t start = due_us - ForgetOfWindow(window, 0);
    while (!key.panes.empty() && key.panes.begin()->first < start + slide) {
      store_.ErasePane(key, key.panes.begin()->first);
    }
    key.told.erase(key.told.begin(), key.told.lower_bound(start + slide));
    if (!key.panes.empty()) {
      const std::int64_t first = key.panes.begin()->first;
      next = ForgetOfWindow(
          window, std::max(start + slide,
                           CeilTo(first + window.pane.count() - window.size.count(), slide)));
    }
  }
  if (key.panes.empty()) {
    store_.Erase(rule, key);
  } else {
    store_.SetDue(rule, key, DueKind::kForget, next);
  }
}

void WindowOperator::CloseSliding(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  const std::int64_t size = rule.rule->window()->size.count();
  std::int64_t slack = 0;
  if (!rule.event_time()) {
    slack = ArrivalSlack(rule.rule->window()->size).count();
  }
  const std::int64_t due = Newest(key) + size + slack;
  if (due > due_us) {
    store_.SetDue(rule, key, DueKind::kClose, due);
    return;
  }
  if (key.emit_due_us.has_value()) EmitChanged(rule, key);
  store_.Erase(rule, key);
}

bool WindowOperator::Expire(const PlannedRule& rule, std::int64_t timestamp_us) {
  const CompiledWindow& window = *rule.rule->window();
  if (!window.ttl.has_value()) return true;
  constexpr std::size_t kAtOnce = 64;
  const std::vector<std::string> due = store_.ExpiryDue(rule, timestamp_us, kAtOnce);
  for (const std::string& joined : due) {
    KeyWindows* key = store_.Find(rule, joined);
    if (key == nullptr) continue;
    store_.Touch(*key);
    const std::int64_t over = key->touched_us + window.ttl->count();
    if (over > timestamp_us) {
      store_.SetExpiry(rule, *key, over);
      continue;
    }
    outputs_.NextCause(rule.rule->local() ? rule.rule->stream() : rule.rule->repartition_topic());
    if (window.type == WindowType::kSession) {
      for (const auto& [start, pane] : key->panes) Emit(rule, *key, start, true);
    } else if (window.type != WindowType::kSliding && key->close_due_us.has_value()) {
      const std::int64_t slide = window.slide.count();
      const std::int64_t first =
          *key->close_due_us + kMillisecond - window.grace.count() - window.size.count();
      for (std::int64_t start = first; start <= key->panes.rbegin()->first; start += slide) {
        Emit(rule, *key, start, true);
      }
    }
    ++counts(rule).dropped["ttl"];
    store_.Erase(rule, *key);
  }
  return due.size() < kAtOnce;
}

}  // namespace tocsin::correlation
