#include "services/correlation/inspection/held_state.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "google/protobuf/util/time_util.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/state_message.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/engine/watermarks.h"
#include "services/correlation/engine/window.h"
#include "services/correlation/engine/window_store.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/window_state.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Timestamp;
using google::protobuf::util::TimeUtil;

Timestamp ToTimestamp(std::int64_t us) {
  return TimeUtil::MicrosecondsToTimestamp(std::clamp(us, Micros(kFirstTime), Micros(kLastTime)));
}

void SetTimes(const StateExcerpt& excerpt, v1::ShowStateResponse& out) {
  const StateReader& state = excerpt.state();
  const StateQuestion& question = excerpt.question();
  for (const auto& [topic, next] : Task::Offsets(state)) {
    v1::InputPosition& input = *out.add_inputs();
    input.set_topic(topic);
    input.set_next_offset(next);
  }
  if (const auto highest = LoadPartitionTime(state).highest(); highest.has_value()) {
    *out.mutable_highest_time() = ToTimestamp(Micros(*highest));
  }
  const auto add_upstream = [&](const std::string& topic, const std::string& stream) {
    const std::string prefix = MarkKeyPrefix(topic);
    state.Range(prefix, PrefixEnd(prefix), [&](std::string_view, std::string_view bytes) {
      const auto mark = ParseState<v1::WatermarkMark>(bytes);
      v1::UpstreamTime& upstream = *out.add_upstream();
      upstream.set_stream(stream);
      upstream.set_partition(mark.upstream_partition());
      if (mark.has_highest_time()) *upstream.mutable_highest_time() = mark.highest_time();
      return true;
    });
  };
  const CompiledRule& rule = *question.rule().rule;
  if (question.repartition() != nullptr) add_upstream(question.repartition()->topic, rule.stream());
  if (const CompiledJoin* join = rule.join()) {
    add_upstream(join->right->repartition_topic(), join->right->stream());
  }
  const auto progress = LoadState<v1::RuleProgress>(state, ProgressKey(question.rule().prefix));
  if (progress.has_value() && progress->has_watermark_us()) {
    *out.mutable_watermark() = ToTimestamp(progress->watermark_us());
  }
}

std::string ValueText(const v1::SampleValue& value) {
  switch (value.value_case()) {
    case v1::SampleValue::kInteger:
      return std::to_string(value.integer());
    case v1::SampleValue::kUnsignedInteger:
      return std::to_string(value.unsigned_integer());
    case v1::SampleValue::kNumber:
      return Concat(value.number());
    case v1::SampleValue::kText:
      return value.text();
    case v1::SampleValue::VALUE_NOT_SET:
      return "";
  }
  return "";
}

// A HeldKey behind its rule's prefix: time, sequence, original partition and offset.
void ReadHeldKey(std::string_view key, tocsin::event::v1::EventReference& out) {
  constexpr std::size_t kTime = 8;
  constexpr std::size_t kPlace = 12;
  constexpr std::size_t kTextEnd = 2;
  if (key.size() < kTime + kTextEnd + kPlace) return;
  *out.mutable_time() = ToTimestamp(DecodeInt64(key.substr(0, kTime)).value_or(0));
  std::string_view text = key.substr(kTime, key.size() - kTime - kPlace - kTextEnd);
  for (std::size_t i = 0; i < text.size(); ++i) {
    out.mutable_sequence()->push_back(text[i]);
    // A zero byte has a companion.
    if (text[i] == '\0') ++i;
  }
  const std::string_view place = key.substr(key.size() - kPlace);
  std::uint32_t partition = 0;
  for (const char c : place.substr(0, 4)) partition = partition << 8 | static_cast<std::uint8_t>(c);
  out.set_partition(static_cast<std::int32_t>(partition));
  out.set_offset(DecodeInt64(place.substr(4)).value_or(0));
}

void AddEvent(const CompiledRule& rule, v1::StoredEvent event, v1::HeldStateEvent& out) {
  *out.mutable_reference() = std::move(*event.mutable_reference());
  if (rule.join() != nullptr) {
    // The value is its message.
    const auto& join = rule.spec().join();
    const bool left = out.reference().topic() == join.left().stream();
    out.add_values(left ? join.left().as() : join.right().as());
  } else if (!event.value().empty()) {
    out.add_values(event.value());
  }
}

void SetWaiting(const StateExcerpt& excerpt, v1::ShowStateResponse& out) {
  const PlannedRule& rule = excerpt.question().rule();
  const std::string prefix = Concat('b', rule.prefix);
  excerpt.state().Range(prefix, PrefixEnd(prefix),
                        [&](std::string_view key, std::string_view value) {
                          v1::HeldStateEvent& event = *out.add_waiting();
                          if (rule.rule->window() == nullptr) {
                            VisitHeld(value, [&](std::string_view, const PackedEvent& packed) {
                              AddEvent(*rule.rule, Unpack(packed), event);
                            });
                            return true;
                          }
                          ReadHeldKey(key.substr(prefix.size()), *event.mutable_reference());
                          const auto held = ParseState<v1::HeldSample>(value);
                          for (const v1::SampleValue& sample : held.sample().values()) {
                            event.add_values(ValueText(sample));
                          }
                          return true;
                        });
}

void SetCorrelation(const StateExcerpt& excerpt, v1::ShowStateResponse& out) {
  const StateReader& state = excerpt.state();
  const StateQuestion& question = excerpt.question();
  bool stored = false;
  const Window window =
      Window::Load(state, WindowKey(question.rule().prefix, question.joined()), stored);
  for (v1::StoredEvent& event : window.Events()) {
    AddEvent(*question.rule().rule, std::move(event), *out.add_events());
  }
  const auto record = LoadState<v1::IncidentRecord>(
      state, IncidentKey(question.rule().rule->id(), question.rule().group_by, question.joined()));
  if (!record.has_value()) return;
  v1::OpenIncident& incident = *out.mutable_incident();
  incident.set_id(record->id());
  incident.set_revision(record->revision());
  *incident.mutable_opened_time() = ToTimestamp(record->opened_us());
  *incident.mutable_last_detection_time() = ToTimestamp(record->last_detection_us());
  incident.set_detection_count(record->detection_count());
}

void SetWindows(const StateExcerpt& excerpt, v1::ShowStateResponse& out) {
  const StateQuestion& question = excerpt.question();
  const CompiledWindow& window = *question.rule().rule->window();
  // The store wants a state that could be written to.
  Overlay overlay(excerpt.state());
  WindowStore store;
  store.Begin(overlay);
  const KeyWindows* const key = store.Find(question.rule(), question.joined());
  if (key == nullptr) return;
  if (key->close_due_us.has_value()) *out.mutable_next_close() = ToTimestamp(*key->close_due_us);
  const bool session = window.type == WindowType::kSession;
  for (const auto& [start_us, pane] : key->panes) {
    v1::OpenPane& open = *out.add_panes();
    const std::int64_t begin_us = session ? pane.first_us : start_us;
    const std::int64_t end_us = session ? pane.last_us : start_us + window.pane.count();
    *open.mutable_start() = ToTimestamp(begin_us);
    *open.mutable_end() = ToTimestamp(end_us);
    open.set_events(pane.events);
    for (std::size_t i = 0; i < pane.accumulators.size(); ++i) {
      v1::AggregateValue& value = *open.add_aggregates();
      value.set_name(window.aggregates[i].name);
      pane.accumulators[i].Result(std::chrono::microseconds(end_us - begin_us), value);
    }
  }
}

}  // namespace

v1::ShowStateResponse Describe(const StateExcerpt& excerpt) {
  const StateQuestion& question = excerpt.question();
  const CompiledRule& rule = *question.rule().rule;
  v1::ShowStateResponse out;
  out.set_rule_id(rule.id());
  out.set_rule_version(question.rule().version);
  out.set_stream(rule.stream());
  *out.mutable_group_by() = rule.group_by();
  for (const std::string& part : question.group_key()) out.add_group_key(part);
  SetTimes(excerpt, out);
  if (rule.window() == nullptr) {
    SetCorrelation(excerpt, out);
  } else {
    SetWindows(excerpt, out);
  }
  SetWaiting(excerpt, out);
  out.set_cut_short(excerpt.cut_short());
  out.set_empty(out.events().empty() && !out.has_incident() && out.panes().empty() &&
                out.waiting().empty());
  return out;
}

}  // namespace tocsin::correlation
