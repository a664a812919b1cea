#include "services/correlation/inspection/state_question.h"

#include <algorithm>
#include <optional>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/state_message.h"
#include "tocsin/correlation/v1/window_state.pb.h"

namespace tocsin::correlation {

absl::StatusOr<StateQuestion> StateQuestion::Make(const RuleSet& rules, std::string_view rule_id,
                                                  std::vector<std::string> group_key) {
  StateQuestion question;
  std::vector<std::string> names;
  for (const auto& plan : rules.plans) {
    const auto look = [&](const std::vector<PlannedRule>& planned, const Repartition* repartition) {
      for (const PlannedRule& rule : planned) {
        names.push_back(rule.rule->id());
        if (rule.rule->id() != rule_id) continue;
        question.plan_ = plan;
        question.rule_ = &rule;
        question.repartition_ = repartition;
      }
    };
    look(plan->local(), nullptr);
    for (const Repartition& repartition : plan->repartitions()) {
      look(repartition.rules, &repartition);
    }
  }
  if (question.rule_ == nullptr) {
    std::sort(names.begin(), names.end());
    return NotFound(Concat("no rule '", rule_id, "' runs", DidYouMean(rule_id, names),
                           names.empty() ? "" : Concat("; those that do: ", Join(names, ", "))));
  }
  const auto& fields = question.rule_->rule->group_by();
  if (std::cmp_not_equal(fields.size(), group_key.size())) {
    return InvalidArgument(
        fields.empty() ? Concat("the rule ", rule_id, " has one group for all events: give no key")
                       : Concat("the rule ", rule_id, " groups by ",
                                Join({fields.begin(), fields.end()}, ", "), ": give ",
                                fields.size(), fields.size() == 1 ? " value" : " values",
                                " in this order, not ", group_key.size()));
  }
  question.joined_ = JoinKey(group_key);
  question.group_key_ = std::move(group_key);

  const PlannedRule& rule = *question.rule_;
  auto& ranges = question.ranges_;
  const auto one = [&ranges](std::string key) { ranges.emplace_back(key, key + '\0'); };
  const auto all = [&ranges](const std::string& prefix) {
    ranges.emplace_back(prefix, PrefixEnd(prefix));
  };
  one(std::string(kFormatKey));
  one(PartitionTimeKey());
  all(OffsetKey(""));
  one(ProgressKey(rule.prefix));
  if (question.repartition_ != nullptr) all(MarkKeyPrefix(question.repartition_->topic));
  if (rule.rule->join() != nullptr) all(MarkKeyPrefix(question.plan_->RightSide(rule).topic));
  const std::string window = WindowKey(rule.prefix, question.joined_);
  one(window);
  // Its pieces: their number follows.
  ranges.emplace_back(WindowPieceKey(window, 0), WindowPieceKey(window, UINT32_MAX) + '\0');
  one(IncidentKey(rule.rule->id(), rule.group_by, question.joined_));
  one(WindowRuleKey(rule.prefix));
  one(KeyedWindowsKey(rule.prefix, question.joined_));
  all(PaneKeyPrefix(rule.prefix, question.joined_));
  question.held_prefix_ = Concat('b', rule.prefix);
  all(question.held_prefix_);
  return question;
}

std::optional<std::int32_t> StateQuestion::Partition(std::string_view stream_key) const {
  const std::int32_t partitions = plan_->stream().partitions;
  if (repartition_ != nullptr) return PartitionForKey(joined_, partitions);
  const auto& fields = rule_->rule->group_by();
  for (int i = 0; i < fields.size(); ++i) {
    if (fields[i] == stream_key) {
      return PartitionForKey(group_key_[static_cast<std::size_t>(i)], partitions);
    }
  }
  return std::nullopt;
}

bool StateQuestion::Concerns(std::string_view key, std::string_view value) const {
  const bool in_range = std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) {
    return key >= range.first && (range.second.empty() || key < range.second);
  });
  if (!in_range) return false;
  if (key.starts_with('h')) {
    // Pieces of a longer group key may lie between those of this one.
    return key.size() == WindowPieceKey(WindowKey(rule_->prefix, joined_), 0).size();
  }
  if (!key.starts_with(held_prefix_)) return true;
  if (rule_->rule->window() != nullptr) {
    const auto held = ParseState<v1::HeldSample>(value);
    return std::equal(group_key_.begin(), group_key_.end(), held.group_key().begin(),
                      held.group_key().end());
  }
  bool concerns = false;
  VisitHeld(value, [&](std::string_view group_key, const PackedEvent&) {
    concerns = group_key == joined_;
  });
  return concerns;
}

std::optional<std::string> StateExcerpt::Entries::Get(std::string_view key) const {
  const auto found = entries.find(key);
  if (found == entries.end()) return std::nullopt;
  return found->second;
}

void StateExcerpt::Entries::Range(std::string_view begin, std::string_view end,
                                  const StateVisitor& visit) const {
  for (auto at = entries.lower_bound(begin);
       at != entries.end() && (end.empty() || at->first < end); ++at) {
    if (!visit(at->first, at->second)) return;
  }
}

void StateExcerpt::Take(const StateReader& state) {
  std::size_t looked_at = 0;
  for (const auto& [begin, end] : question_->ranges()) {
    state.Range(begin, end, [&](std::string_view key, std::string_view value) {
      if (++looked_at > kMostLookedAt) cut_short_ = true;
      if (!cut_short_ && question_->Concerns(key, value)) Apply(key, value);
      return !cut_short_;
    });
  }
}

void StateExcerpt::Apply(std::string_view key, const std::optional<std::string_view>& value) {
  const auto found = state_.entries.find(key);
  if (found != state_.entries.end()) {
    bytes_ -= found->first.size() + found->second.size();
    state_.entries.erase(found);
  }
  if (!value.has_value() || !question_->Concerns(key, *value)) return;
  if (state_.entries.size() >= kMostEntries || bytes_ + key.size() + value->size() > kMostBytes) {
    cut_short_ = true;
    return;
  }
  bytes_ += key.size() + value->size();
  state_.entries.emplace(key, *value);
}

}  // namespace tocsin::correlation
