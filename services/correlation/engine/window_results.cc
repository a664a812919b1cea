// What window_operator.h tells: results of windows that close or have changed.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/window_operator.h"
#include "services/correlation/engine/window_samples.h"
#include "tocsin/correlation/v1/aggregate.pb.h"

namespace tocsin::correlation {

using google::protobuf::util::TimeUtil;

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
  std::vector<aggregate::Accumulator> sum = EmptyAccumulators(window);
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
  if (final && (window.correct_within.count() == 0 || events == 0)) {
    if (told != key.told.end()) key.told.erase(told);
  } else {
    key.told[start_us] = {revision, false, final};
  }
  if (events == 0) return;
  Write(rule, key, start_us, end, events, revision, final, sum, length);
}

void WindowOperator::EmitSliding(const PlannedRule& rule, KeyWindows& key) {
  if (key.told.empty() || !key.told.begin()->second.changed) return;
  const CompiledWindow& window = *rule.rule->window();
  const std::int64_t end = key.last_us;
  const std::int64_t start = end - window.size.count();
  std::vector<aggregate::Accumulator> sum = EmptyAccumulators(window);
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
