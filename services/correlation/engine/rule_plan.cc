#include "services/correlation/engine/rule_plan.h"

#include <algorithm>
#include <map>

#include "google/protobuf/dynamic_message.h"
#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {

std::string StreamSpec::ProcessedTopic() const {
  // alerts.raw → alerts.processed; a stream that does not end in .raw gets a suffix.
  constexpr std::string_view kRaw = ".raw";
  const std::string_view name = topic;
  if (name.size() > kRaw.size() && name.ends_with(kRaw)) {
    return Concat(name.substr(0, name.size() - kRaw.size()), ".processed");
  }
  return Concat(topic, ".processed");
}
std::string StreamSpec::DeadLetterTopic() const { return Concat(topic, ".dlq"); }
std::string StreamSpec::LateTopic() const { return Concat(topic, ".late"); }
std::string StreamSpec::ChangelogTopic() const {
  return Concat("correlation-", topic, "-changelog");
}

RulePlan::RulePlan(StreamSpec stream, std::set<std::pair<std::string, std::int32_t>> kept)
    : stream_(std::move(stream)),
      kept_(std::move(kept)),
      factory_(std::make_unique<google::protobuf::DynamicMessageFactory>()) {}
RulePlan::~RulePlan() = default;

std::shared_ptr<const RulePlan> RulePlan::Make(
    StreamSpec stream, const std::vector<RuleEntry>& rules,
    std::set<std::pair<std::string, std::int32_t>> retained) {
  std::shared_ptr<RulePlan> plan(new RulePlan(std::move(stream), std::move(retained)));
  // What all rules of a type read of it.
  std::map<const google::protobuf::Descriptor*, std::size_t> messages;
  std::vector<std::vector<schema::FieldPath>> paths;
  const auto read = [&](const google::protobuf::Descriptor* descriptor,
                        const std::vector<schema::FieldPath>& wanted, bool joined) {
    const auto [slot, is_new] = messages.try_emplace(descriptor, paths.size());
    if (is_new) {
      plan->messages_.push_back({nullptr, plan->factory_->GetPrototype(descriptor), joined});
      paths.emplace_back();
    }
    std::vector<schema::FieldPath>& of_type = paths[slot->second];
    of_type.insert(of_type.end(), wanted.begin(), wanted.end());
  };
  for (const RuleEntry& entry : rules) {
    const Enrichment* enrichment = entry.rule->enrichment();
    read(entry.rule->descriptor(), entry.rule->paths(), enrichment != nullptr);
    if (enrichment != nullptr) read(enrichment->message, enrichment->key_paths, false);
  }
  for (const auto& [descriptor, slot] : messages) {
    plan->messages_[slot].projection = schema::WireProjection::Compile(descriptor, paths[slot]);
  }
  std::map<std::string, std::size_t> repartitions;
  std::set<Duration> idle_timeouts;
  for (const RuleEntry& entry : rules) {
    PlannedRule planned;
    planned.rule = entry.rule;
    planned.version = entry.version;
    planned.prefix = RulePrefix(entry.rule->id(), entry.version, entry.rule->content_hash());
    const auto& group_by = entry.rule->group_by();
    planned.group_by = Join({group_by.begin(), group_by.end()}, ",");
    planned.number = plan->rule_count_++;
    planned.message = messages.at(entry.rule->descriptor());
    for (const schema::FieldPath& path : entry.rule->paths()) {
      const std::size_t slot = plan->messages_[planned.message].projection->SlotOf(path);
      planned.slots.push_back(static_cast<std::uint32_t>(slot));
    }
    if (const Enrichment* enrichment = entry.rule->enrichment()) {
      plan->looks_rows_up_ = true;
      planned.enrichment = enrichment;
      planned.own_message = messages.at(enrichment->message);
      const schema::WireProjection& own = *plan->messages_[planned.own_message].projection;
      for (const schema::FieldPath& path : enrichment->key_paths) {
        planned.key_slots.push_back(static_cast<std::uint32_t>(own.SlotOf(path)));
      }
    }
    plan->kept_.insert({entry.rule->id(), entry.version});
    if (planned.event_time()) {
      idle_timeouts.insert(entry.rule->idle_timeout());
      plan->max_disorder_ = std::max(plan->max_disorder_, entry.rule->max_disorder());
      if (const CompiledWindow* window = entry.rule->window()) {
        plan->window_horizon_ = std::max(plan->window_horizon_, window->longest_open());
      }
    }
    if (entry.rule->local()) {
      plan->local_.push_back(std::move(planned));
      continue;
    }
    const std::string& topic = entry.rule->repartition_topic();
    const auto [place, first] = repartitions.try_emplace(topic, plan->repartitions_.size());
    if (first) plan->repartitions_.emplace_back().topic = topic;
    Repartition& repartition = plan->repartitions_[place->second];
    repartition.marked = repartition.marked || planned.event_time();
    repartition.rules.push_back(std::move(planned));
  }
  plan->idle_timeouts_.assign(idle_timeouts.begin(), idle_timeouts.end());
  return plan;
}

const Repartition* RulePlan::FindRepartition(std::string_view topic) const {
  for (const Repartition& repartition : repartitions_) {
    if (repartition.topic == topic) return &repartition;
  }
  return nullptr;
}

std::vector<std::string> RulePlan::InputTopics() const {
  std::vector<std::string> topics = {stream_.topic};
  for (const Repartition& repartition : repartitions_) topics.push_back(repartition.topic);
  return topics;
}

Duration RulePlan::TimeInSilence(Duration beyond) const {
  // In at most so many steps, each of which is written to the log.
  constexpr int kSteps = 60;
  const Duration step = std::max<Duration>(std::chrono::seconds(1),
                                           (window_horizon_ + Duration(kSteps - 1)) / kSteps);
  // The last step reaches the horizon.
  return std::min(beyond - beyond % step, (window_horizon_ + step - Duration(1)) / step * step);
}

bool RulePlan::KeepsAnyOf(const std::string& rule_id) const {
  const auto first = kept_.lower_bound({rule_id, 0});
  return first != kept_.end() && first->first == rule_id;
}

}  // namespace tocsin::correlation
