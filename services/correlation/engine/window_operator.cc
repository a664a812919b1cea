#include "services/correlation/engine/window_operator.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"
#include "services/correlation/engine/window.h"
#include "tocsin/correlation/v1/aggregate.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::int64_t kMillisecond = 1'000;
// The events of one piece of a sliding window; what comes beyond is dropped and counted.
constexpr std::size_t kMostSampleBytes = std::size_t{256} * 1024;

// The highest multiple of `step` that is not above `us`.
std::int64_t FloorTo(std::int64_t us, std::int64_t step) {
  const std::int64_t rest = us % step;
  return us - (rest < 0 ? rest + step : rest);
}
std::int64_t CeilTo(std::int64_t us, std::int64_t step) { return FloorTo(us + step - 1, step); }

std::int64_t CloseOfWindow(const CompiledWindow& window, std::int64_t start_us) {
  return start_us + window.size.count() + window.grace.count() - kMillisecond;
}
std::int64_t CloseOfSession(const CompiledWindow& window, std::int64_t last_us) {
  return last_us + window.gap.count() + window.grace.count();
}

// Where in the order of time an event is taken up; nullopt: it is late.
struct Place {
  std::int64_t position_us = 0;
  bool doubtful = false;
};
std::optional<Place> PlaceOf(const CompiledWindow& window, std::int64_t time_us,
                             std::optional<std::int64_t> watermark_us) {
  const std::int64_t promised = watermark_us.value_or(std::numeric_limits<std::int64_t>::min());
  const std::int64_t after = promised + 1;
  switch (window.type) {
    case WindowType::kSliding:
      if (time_us <= promised) return std::nullopt;
      return Place{time_us};
    case WindowType::kSession:
      // One whose own session would be over counts if it meets one that is open.
      return Place{std::max(time_us, after), CloseOfSession(window, time_us) <= promised};
    default: {
      const std::int64_t last_start = FloorTo(time_us, window.slide.count());
      if (CloseOfWindow(window, last_start) <= promised) return std::nullopt;
      // Windows close at whole milliseconds; an event belongs before the close of its window.
      return Place{std::max(FloorTo(time_us, kMillisecond), after)};
    }
  }
}

v1::SampleValue ToSample(aggregate::Value value) {
  v1::SampleValue sample;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) sample.set_integer(*whole);
  if (const auto* whole = std::get_if<std::uint64_t>(&value)) sample.set_unsigned_integer(*whole);
  if (const auto* number = std::get_if<double>(&value)) sample.set_number(*number);
  if (auto* text = std::get_if<std::string>(&value)) sample.set_text(std::move(*text));
  return sample;
}

aggregate::Value FromSample(const v1::SampleValue& sample) {
  switch (sample.value_case()) {
    case v1::SampleValue::kInteger:
      return sample.integer();
    case v1::SampleValue::kUnsignedInteger:
      return sample.unsigned_integer();
    case v1::SampleValue::kNumber:
      return sample.number();
    case v1::SampleValue::kText:
      return sample.text();
    default:
      return {};
  }
}

std::vector<aggregate::Accumulator> Empty(const CompiledWindow& window) {
  std::vector<aggregate::Accumulator> accumulators;
  accumulators.reserve(window.aggregates.size());
  for (const CompiledAggregate& aggregate : window.aggregates) {
    accumulators.emplace_back(aggregate.spec);
  }
  return accumulators;
}

void AddSample(const v1::WindowSample& sample, std::vector<aggregate::Accumulator>& accumulators) {
  for (std::size_t i = 0; i < accumulators.size(); ++i) {
    const int at = static_cast<int>(i);
    accumulators[i].Add(at < sample.values_size() ? FromSample(sample.values(at))
                                                  : aggregate::Value());
  }
}

void MergeInto(const Pane& from, std::vector<aggregate::Accumulator>& accumulators) {
  for (std::size_t i = 0; i < accumulators.size(); ++i) accumulators[i].Merge(from.accumulators[i]);
}

void AddTo(Pane& pane, const v1::WindowSample& sample) {
  const std::int64_t time = sample.time_us();
  pane.first_us = pane.events == 0 ? time : std::min(pane.first_us, time);
  pane.last_us = pane.events == 0 ? time : std::max(pane.last_us, time);
  ++pane.events;
  pane.dirty = true;
  AddSample(sample, pane.accumulators);
}

Pane& PaneAt(const CompiledWindow& window, KeyWindows& key, std::int64_t start_us) {
  Pane& pane = key.panes[start_us];
  if (pane.accumulators.empty()) pane.accumulators = Empty(window);
  return pane;
}

std::int64_t Newest(const KeyWindows& key) {
  std::int64_t newest = std::numeric_limits<std::int64_t>::min();
  for (const auto& [start, pane] : key.panes) newest = std::max(newest, pane.last_us);
  return newest;
}

}  // namespace

// --- taking events up ---

void WindowOperator::Take(const PlannedRule& rule, std::vector<std::string> group_key,
                          std::vector<aggregate::Value> values, const Envelope& envelope,
                          const Origin& origin, std::optional<WallTime> watermark,
                          std::int64_t timestamp_us) {
  timestamp_us_ = timestamp_us;
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t time = Micros(envelope.time);
  v1::HeldSample held;
  held.mutable_sample()->set_time_us(time);
  for (aggregate::Value& value : values) {
    *held.mutable_sample()->add_values() = ToSample(std::move(value));
  }
  for (std::string& part : group_key) held.add_group_key(std::move(part));
  held.set_traceparent(envelope.traceparent);

  std::optional<std::int64_t> promised;
  if (rule.event_time()) {
    if (watermark.has_value()) promised = Micros(*watermark);
  } else if (window.type != WindowType::kSliding) {
    const std::optional<std::int64_t> highest = store_.Highest(rule);
    if (highest.has_value()) promised = *highest - kMillisecond;
  }
  const std::optional<Place> place = PlaceOf(window, time, promised);
  if (!place.has_value() ||
      (rule.event_time() && buffer_.Passed(rule, FromMicros(place->position_us)))) {
    ++counts(rule).late;
    return;
  }
  if (!place->doubtful) ++counts(rule).taken;
  held.set_doubtful(place->doubtful);
  if (rule.event_time()) {
    state_.Put(HeldKey(rule.prefix, FromMicros(place->position_us), envelope.sequence,
                       origin.where.partition, origin.offset),
               held.SerializeAsString());
    return;
  }
  const std::int64_t now = store_.RaiseHighest(rule, time) - kMillisecond;
  (void)WorkOffBefore(rule, now + 1, std::numeric_limits<std::size_t>::max());
  Apply(rule, held, now + 1);
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
      ApplyToSession(rule, held);
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
  // The first window around it that is still open.
  const std::int64_t last_start = FloorTo(time, slide);
  std::int64_t start = CeilTo(time + 1 - window.size.count(), slide);
  while (start < last_start && CloseOfWindow(window, start) < position_us) start += slide;
  const std::int64_t due = CloseOfWindow(window, start);
  if (!key->close_due_us.has_value() || due < *key->close_due_us) {
    store_.SetDue(rule, *key, DueKind::kClose, due);
  }
  if (window.emit == correlation::Emit::kOnClose) return;
  for (; start <= last_start; start += slide) key->told[start].changed = true;
  Changed(rule, *key, position_us);
}

void WindowOperator::ApplyToSession(const PlannedRule& rule, const v1::HeldSample& held) {
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
    ++(met.empty() ? counts(rule).late : counts(rule).taken);
    if (met.empty()) return;
  }
  key = KeyFor(rule, held);
  if (key == nullptr) return;
  Pane session;
  session.accumulators = Empty(window);
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
    slack = std::chrono::duration_cast<std::chrono::microseconds>(kArrivalSlack).count();
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
  while (!key.panes.empty() && key.panes.begin()->first < start + slide) {
    store_.ErasePane(key, key.panes.begin()->first);
  }
  if (key.panes.empty()) {
    store_.Erase(rule, key);
    return;
  }
  const std::int64_t first = key.panes.begin()->first;
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
    if (due <= due_us) {
      over.push_back(start);
    } else {
      next = std::min(next.value_or(due), due);
    }
  }
  for (const std::int64_t start : over) {
    Emit(rule, key, start, true);
    store_.ErasePane(key, start);
  }
  if (key.panes.empty()) {
    store_.Erase(rule, key);
  } else {
    store_.SetDue(rule, key, DueKind::kClose, next);
  }
}

void WindowOperator::CloseSliding(const PlannedRule& rule, KeyWindows& key, std::int64_t due_us) {
  const std::int64_t size = rule.rule->window()->size.count();
  std::int64_t slack = 0;
  if (!rule.event_time()) {
    slack = std::chrono::duration_cast<std::chrono::microseconds>(kArrivalSlack).count();
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

// --- telling ---

void WindowOperator::EmitChanged(const PlannedRule& rule, KeyWindows& key) {
  if (rule.rule->window()->type == WindowType::kSliding) {
    EmitSliding(rule, key);
    return;
  }
  std::vector<std::int64_t> changed;
  for (const auto& [start, told] : key.told) {
    if (told.changed) changed.push_back(start);
  }
  for (const std::int64_t start : changed) Emit(rule, key, start, false);
}

void WindowOperator::Emit(const PlannedRule& rule, KeyWindows& key, std::int64_t start_us,
                          bool final) {
  const CompiledWindow& window = *rule.rule->window();
  std::vector<aggregate::Accumulator> sum = Empty(window);
  std::int64_t events = 0;
  std::int64_t end = start_us + window.size.count();
  Duration length = window.size;
  if (window.type == WindowType::kSession) {
    const Pane& session = key.panes.at(start_us);
    MergeInto(session, sum);
    events = session.events;
    end = session.last_us;
    length = Duration(end - start_us);
  } else {
    for (auto pane = key.panes.lower_bound(start_us); pane != key.panes.end() && pane->first < end;
         ++pane) {
      MergeInto(pane->second, sum);
      events += pane->second.events;
    }
  }
  const auto told = key.told.find(start_us);
  const std::int32_t revision = told == key.told.end() ? 1 : told->second.revision + 1;
  if (final) {
    if (told != key.told.end()) key.told.erase(told);
  } else {
    key.told[start_us] = {revision, false};
  }
  if (events == 0) return;
  Write(rule, key, start_us, end, events, revision, final, sum, length);
}

void WindowOperator::EmitSliding(const PlannedRule& rule, KeyWindows& key) {
  if (key.told.empty() || !key.told.begin()->second.changed) return;
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t end = key.last_us;
  const std::int64_t start = end - window.size.count();
  std::vector<aggregate::Accumulator> sum = Empty(window);
  std::int64_t events = 0;
  for (const auto& [piece, pane] : key.panes) {
    if (pane.last_us <= start || pane.first_us > end) continue;
    if (pane.first_us > start && pane.last_us <= end) {
      MergeInto(pane, sum);
      events += pane.events;
      continue;
    }
    for (const v1::WindowSample& sample : pane.samples) {
      if (sample.time_us() <= start || sample.time_us() > end) continue;
      AddSample(sample, sum);
      ++events;
    }
  }
  Told& told = key.told.begin()->second;
  told.changed = false;
  Write(rule, key, start, end, events, ++told.revision, false, sum, window.size);
}

void WindowOperator::Withdraw(const PlannedRule& rule, KeyWindows& key, std::int64_t start_us,
                              std::int64_t last_us) {
  const auto told = key.told.find(start_us);
  if (told == key.told.end()) return;
  const std::int32_t revision = told->second.revision;
  key.told.erase(told);
  if (revision == 0) return;
  Write(rule, key, start_us, last_us, 0, revision + 1, true, {}, Duration(0));
}

void WindowOperator::Write(const PlannedRule& rule, const KeyWindows& key, std::int64_t start_us,
                           std::int64_t end_us, std::int64_t events, std::int32_t revision,
                           bool final, const std::vector<aggregate::Accumulator>& accumulators,
                           Duration length) {
  const tocsin::rule::v1::Rule& spec = rule.rule->spec();
  const auto bounded = [](std::int64_t us) {
    return std::clamp(us, Micros(kFirstTime), Micros(kLastTime));
  };
  v1::WindowResult result;
  result.set_rule_id(spec.id());
  result.set_rule_version(rule.version);
  result.set_stream(spec.stream());
  for (const std::string& part : key.group_key) result.add_group_key(part);
  *result.mutable_window_start() = TimeUtil::MicrosecondsToTimestamp(bounded(start_us));
  *result.mutable_window_end() = TimeUtil::MicrosecondsToTimestamp(bounded(end_us));
  for (std::size_t i = 0; i < accumulators.size(); ++i) {
    v1::AggregateValue& value = *result.add_aggregates();
    value.set_name(rule.rule->window()->aggregates[i].name);
    accumulators[i].Result(length, value);
  }
  result.set_final(final);
  result.set_revision(revision);
  result.set_events(events);

  std::vector<std::string> parts = {spec.id()};
  parts.insert(parts.end(), key.group_key.begin(), key.group_key.end());
  parts.push_back(FormatTime(FromMicros(bounded(start_us))));
  const std::string version = std::to_string(rule.version);
  const std::string start = std::to_string(start_us);
  const std::string told = std::to_string(revision);
  const std::string_view identity[] = {"window", spec.id(), version, key.joined, start, told};
  ++counts(rule).results;
  outputs_.WriteAggregate(result, JoinKey(parts), StableId(identity), spec.severity(),
                          key.traceparent);
}

}  // namespace tocsin::correlation
