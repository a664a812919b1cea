#include "services/correlation/engine/join_operator.h"

#include <algorithm>
#include <utility>

#include "services/correlation/engine/window.h"

namespace tocsin::correlation {
namespace {

constexpr char kLeft = 'l';
constexpr char kRight = 'r';

std::string_view Payload(const PackedEvent& event) { return event.value.substr(1); }

void AppendMessage(std::string_view tag, std::string_view message, std::string& out) {
  out += tag;
  std::size_t size = message.size();
  for (; size >= 0x80; size >>= 7) out.push_back(static_cast<char>((size & 0x7f) | 0x80));
  out.push_back(static_cast<char>(size));
  out += message;
}

}  // namespace

std::string JoinValue(const PlannedRule& join, bool right, std::string_view payload) {
  std::string value(1, right ? kRight : kLeft);
  if (join.pair != nullptr) value += payload;
  return value;
}

bool IsRight(const PackedEvent& event) { return event.value.starts_with(kRight); }

void JoinOperator::Meet(const PlannedRule& rule, std::string_view group_key,
                        const PackedEvent& event, std::int64_t timestamp_us) {
  const CompiledJoin& join = *rule.rule->join();
  RuleCounts& counts = counts_[rule.number];
  Window& window =
      windows_[rule.number].Change(state_, group_key, TypedCache<Window>::Hash(group_key));
  const bool right = IsRight(event);
  const std::int64_t oldest = event.time_us - join.within.count();

  std::vector<PackedEvent> partners;
  window.Visit([&](const PackedEvent& other) {
    if (IsRight(other) == right || other.time_us < oldest) return;
    if (right ? Holds(rule, other, event) : Holds(rule, event, other)) partners.push_back(other);
  });
  // The last are the nearest in time.
  const std::size_t left_out = partners.size() - std::min(partners.size(), join.max_pairs);
  if (left_out > 0) counts.dropped["too_many_pairs"] += static_cast<std::int64_t>(left_out);
  for (std::size_t i = left_out; i < partners.size(); ++i) {
    Firing firing;
    firing.value = 2;
    firing.events = {Unpack(partners[i]), Unpack(event)};
    detector_.Tell(rule, group_key, firing, timestamp_us);
  }

  const std::size_t dropped =
      window.KeepSome(event, oldest - 1, {join.max_events, kMostBytes}, timestamp_us);
  if (dropped > 0) counts.dropped["join_full"] += static_cast<std::int64_t>(dropped);
}

bool JoinOperator::Holds(const PlannedRule& rule, const PackedEvent& left,
                         const PackedEvent& right) {
  const CompiledJoin& join = *rule.rule->join();
  if (rule.pair == nullptr) return true;
  bytes_.clear();
  AppendMessage(join.left_tag, Payload(left), bytes_);
  AppendMessage(join.right_tag, Payload(right), bytes_);
  const auto found = messages_.try_emplace(rule.number, rule.pair, *rule.pair_prototype).first;
  if (!found->second.Read(bytes_)) return false;
  const absl::StatusOr<bool> holds =
      join.where->EvaluateBool(schema::FieldView(found->second, rule.pair_slots.data()));
  if (holds.ok()) return *holds;
  ++counts_[rule.number].where_errors;
  return false;
}

}  // namespace tocsin::correlation
