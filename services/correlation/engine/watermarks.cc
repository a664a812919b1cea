#include "services/correlation/engine/watermarks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

// The last mark of each upstream partition that has spoken.
std::vector<PartitionTime> UpstreamTimes(const StateReader& state, std::string_view topic) {
  std::vector<PartitionTime> upstream;
  const std::string prefix = MarkKeyPrefix(topic);
  state.Range(prefix, PrefixEnd(prefix), [&](std::string_view, std::string_view bytes) {
    upstream.push_back(PartitionTime::FromMark(ParseState<v1::WatermarkMark>(bytes)));
    return true;
  });
  return upstream;
}

std::optional<WallTime> Minimum(const std::vector<PartitionTime>& upstream,
                                const PlannedRule& rule) {
  std::optional<WallTime> minimum;
  for (const PartitionTime& partition : upstream) {
    const std::optional<WallTime> watermark = partition.Watermark(
        rule.rule->max_disorder(), rule.rule->idle_timeout(), rule.closes_in_silence());
    if (!watermark.has_value()) return std::nullopt;
    minimum = std::min(minimum.value_or(*watermark), *watermark);
  }
  return minimum;
}

}  // namespace

PartitionTime LoadPartitionTime(const StateReader& state) {
  return PartitionTime::FromState(LoadState<v1::PartitionTimeState>(state, PartitionTimeKey())
                                      .value_or(v1::PartitionTimeState()));
}

std::optional<WallTime> HighestEventTime(const RulePlan& plan, const StateReader& state) {
  std::optional<WallTime> highest = LoadPartitionTime(state).highest();
  for (const auto* topics : {&plan.repartitions(), &plan.foreign()}) {
    for (const Repartition& repartition : *topics) {
      if (!repartition.marked) continue;
      for (const PartitionTime& upstream : UpstreamTimes(state, repartition.topic)) {
        // nullopt is less than any time.
        highest = std::max(highest, upstream.highest());
      }
    }
  }
  return highest;
}

bool LacksMark(const RulePlan& plan, const StateReader& state) {
  if (LoadPartitionTime(state).empty()) return false;
  const auto lacks = [&](const Repartition& repartition) {
    return repartition.marked && !state.Get(MarkedTopicKey(repartition.topic)).has_value();
  };
  return std::any_of(plan.repartitions().begin(), plan.repartitions().end(), lacks) ||
         std::any_of(plan.forwards().begin(), plan.forwards().end(), lacks);
}

void Watermarks::Observe(WallTime event_time) {
  if (time_.Observe(event_time)) time_.Prune(plan_.max_disorder());
}

bool Watermarks::TakeMark(const Repartition& repartition, const kafka::RecordView& record) {
  v1::WatermarkMark mark;
  if (!record.value.has_value() ||
      !mark.ParseFromArray(record.value->data(), static_cast<int>(record.value->size())))
    return false;
  state_.Put(MarkKey(repartition.topic, mark.upstream_partition()), *record.value);
  marked_.insert(repartition.topic);
  return true;
}

void Watermarks::AdvanceLocal(const PlannedRule& rule, ReorderBuffer& buffer) const {
  buffer.Advance(rule, time_.OwnWatermark(rule.rule->max_disorder(), rule.rule->idle_timeout(),
                                          rule.closes_in_silence()));
}

void Watermarks::AdvanceRepartition(const Repartition& repartition, bool anew,
                                    ReorderBuffer& buffer) const {
  if (!anew && !marked_.contains(repartition.topic)) return;
  const std::vector<PartitionTime> upstream = UpstreamTimes(state_, repartition.topic);
  // Until every upstream partition has spoken nobody knows what is still to come.
  if (std::cmp_less(upstream.size(), plan_.stream().partitions)) return;
  for (const PlannedRule& rule : repartition.rules) {
    if (rule.event_time() && rule.rule->join() == nullptr) {
      buffer.Advance(rule, Minimum(upstream, rule));
    }
  }
}

void Watermarks::AdvanceJoin(const PlannedRule& rule, ReorderBuffer& buffer) const {
  // Streams that are joined have equally many partitions.
  const auto of_topic = [&](std::string_view topic) -> std::optional<WallTime> {
    const std::vector<PartitionTime> upstream = UpstreamTimes(state_, topic);
    if (std::cmp_less(upstream.size(), plan_.stream().partitions)) return std::nullopt;
    return Minimum(upstream, rule);
  };
  const std::optional<WallTime> left =
      rule.rule->local() ? time_.Watermark(rule.rule->max_disorder(), rule.rule->idle_timeout())
                         : of_topic(rule.rule->repartition_topic());
  const std::optional<WallTime> right = of_topic(plan_.RightSide(rule).topic);
  if (left.has_value() && right.has_value()) buffer.Advance(rule, std::min(*left, *right));
}

void Watermarks::Store(std::int32_t partition, OutputWriter& outputs) {
  const bool changed = time_ != time_at_start_;
  if (changed) state_.Put(PartitionTimeKey(), time_.ToState().SerializeAsString());
  if (time_.empty()) return;
  const auto mark = [&](const Repartition& repartition) {
    if (!repartition.marked) return;
    const std::string key = MarkedTopicKey(repartition.topic);
    const bool is_new = !state_.Get(key).has_value();
    if (!changed && !is_new) return;
    if (is_new) state_.Put(key, "");
    outputs.WriteMarks(repartition, time_.ToMark(partition));
  };
  for (const Repartition& repartition : plan_.repartitions()) mark(repartition);
  for (const Repartition& repartition : plan_.forwards()) mark(repartition);
}

}  // namespace tocsin::correlation
