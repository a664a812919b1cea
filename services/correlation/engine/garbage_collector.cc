#include "services/correlation/engine/garbage_collector.h"

#include <chrono>
#include <optional>
#include <set>

#include "lib/base/text.h"
#include "services/correlation/engine/history.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"
#include "services/correlation/engine/window.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

// order: arrival only. State of a key that nothing has touched for so long (by Kafka timestamps) is
// removed once its rule's own time is over too.
constexpr Duration kArrivalIdleness = std::chrono::hours(24);
constexpr std::size_t kRetiredPerBatch = 256;

// By what stands behind the type byte: the rule version of a window, any version of the rule of
// an incident.
const PlannedRule* FindRule(const RulePlan& plan, std::string_view rest, bool by_version) {
  const auto fits = [&](const PlannedRule& rule) {
    return by_version ? rest.starts_with(rule.prefix)
                      : RuleIdOfPrefix(rest) == std::string_view(rule.rule->id());
  };
  for (const PlannedRule& rule : plan.local()) {
    if (fits(rule)) return &rule;
  }
  for (const Repartition& repartition : plan.repartitions()) {
    for (const PlannedRule& rule : repartition.rules) {
      if (fits(rule)) return &rule;
    }
  }
  return nullptr;
}

bool IsDead(const RulePlan& plan, std::string_view key, std::string_view value,
            std::int64_t timestamp_us, ReorderBuffer& buffer) {
  const PlannedRule* rule = FindRule(plan, key.substr(1), key.front() != 'i');
  if (rule == nullptr) return false;
  std::int64_t last = 0;
  std::int64_t touched = 0;
  Duration lifetime{};
  if (key.front() == 'k') {
    const Window::Summary window = Window::Summarise(value);
    last = window.highest_us;
    touched = window.touched_us;
    lifetime = rule->rule->timespan() + rule->rule->correct_within();
  } else if (key.front() == 'i') {
    const auto incident = ParseState<v1::IncidentRecord>(value);
    last = incident.last_detection_us();
    touched = incident.touched_us();
    lifetime = rule->rule->join_within() + rule->rule->correct_within();
  } else if (key.front() == 'j') {
    last = ParseState<v1::HistoryHead>(value).highest_us();
    lifetime = History::Lifetime(*rule);
  } else {
    return false;
  }
  // What is still to come lies behind the released part.
  if (rule->event_time()) return buffer.ReleasedBeyond(*rule, last, lifetime);
  return timestamp_us - touched > (lifetime + kArrivalIdleness).count();
}

// The rule versions that are noted in the state and whose state nobody needs any more. Notes those
// of the plan.
std::vector<std::string> NoteRules(const RulePlan& plan, StateView& state) {
  std::set<std::string> known;
  state.Range(kKnownRulePrefix, PrefixEnd(kKnownRulePrefix),
              [&](std::string_view key, std::string_view) {
                known.emplace(key.substr(kKnownRulePrefix.size()));
                return true;
              });
  const auto note = [&](const PlannedRule& rule) {
    if (known.erase(rule.prefix) == 0) state.Put(KnownRuleKey(rule.prefix), "");
  };
  for (const PlannedRule& rule : plan.local()) note(rule);
  for (const Repartition& repartition : plan.repartitions()) {
    for (const PlannedRule& rule : repartition.rules) note(rule);
  }
  std::vector<std::string> retired;
  for (const std::string& prefix : known) {
    const std::optional<std::int32_t> version = VersionOfPrefix(prefix);
    if (version.has_value() && plan.Keeps(std::string(RuleIdOfPrefix(prefix)), *version)) continue;
    retired.push_back(prefix);
  }
  return retired;
}

// A repartition topic that needs no marks now gets its first one anew when it does again.
void ForgetUnneededMarks(const RulePlan& plan, StateView& state) {
  std::vector<std::string> unneeded;
  const std::string prefix = MarkedTopicKey("");
  state.Range(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view) {
    const Repartition* repartition = plan.FindWritten(key.substr(prefix.size()));
    if (repartition == nullptr || !repartition->marked) unneeded.emplace_back(key);
    return true;
  });
  for (const std::string& key : unneeded) state.Delete(key);
}

}  // namespace

void GarbageCollector::Restart() {
  plan_taken_up_ = false;
  retired_.clear();
  sweep_from_.clear();
}

bool GarbageCollector::TakeUpPlan(const RulePlan& plan, StateView& state) {
  if (plan_taken_up_) return false;
  plan_taken_up_ = true;
  retired_ = NoteRules(plan, state);
  ForgetUnneededMarks(plan, state);
  return true;
}

void GarbageCollector::Sweep(const RulePlan& plan, std::int64_t timestamp_us, ReorderBuffer& buffer,
                             WindowCaches& windows, std::size_t batches, StateView& state) {
  // Incidents (i), histories (j) and windows (k) lie next to each other.
  constexpr std::string_view kBegin = "i";
  constexpr std::string_view kEnd = "l";
  const std::string from = sweep_from_.empty() ? std::string(kBegin) : sweep_from_;
  std::size_t budget = max_sweep_ * batches;
  // With the value that it had.
  std::vector<std::pair<std::string, std::string>> dead;
  sweep_from_.clear();
  state.Range(from, kEnd, [&](std::string_view key, std::string_view value) {
    if (budget == 0) {
      sweep_from_ = key;
      return false;
    }
    --budget;
    if (IsDead(plan, key, value, timestamp_us, buffer)) dead.emplace_back(key, value);
    return true;
  });
  for (const auto& [key, value] : dead) {
    if (key.front() == 'i') {
      state.Delete(key);
      continue;
    }
    const PlannedRule* rule = FindRule(plan, std::string_view(key).substr(1), true);
    if (key.front() == 'j') {
      History::Remove(*rule, key, state);
      continue;
    }
    Window::Remove(key, value, state);
    windows[rule->number].Forget(std::string_view(key).substr(1 + rule->prefix.size()));
  }
}

bool GarbageCollector::RemoveRetired(const RulePlan& plan, StateView& state) {
  std::size_t budget = kRetiredPerBatch;
  while (budget > 0 && !retired_.empty()) {
    const std::string prefix = retired_.back();
    std::vector<std::string> doomed;
    const auto collect = [&](const std::string& begin) {
      if (doomed.size() >= budget) return;
      state.Range(begin, PrefixEnd(begin), [&](std::string_view key, std::string_view) {
        doomed.emplace_back(key);
        return doomed.size() < budget;
      });
    };
    for (const char type : {'b', 'h', 'j', 'k', 'l', 'n', 'p', 'q', 'u', 'w', 'y'})
      collect(Concat(type, prefix));
    const std::string rule_id(RuleIdOfPrefix(prefix));
    if (!plan.KeepsAnyOf(rule_id)) collect(IncidentKeyPrefix(rule_id));
    for (const std::string& key : doomed) state.Delete(key);
    if (doomed.size() >= budget) return false;
    budget -= doomed.size();
    state.Delete(KnownRuleKey(prefix));
    retired_.pop_back();
  }
  return true;
}

}  // namespace tocsin::correlation
