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

// Arranges rules one by one; messages first, so that all rules of a type share what is read of it.
class RulePlan::Maker {
 public:
  explicit Maker(RulePlan& plan) : plan_(plan) {}

  // `source`: whose messages the rule reads (RulePlan::MessageType::source).
  void Read(const CompiledRule& rule, std::size_t source) {
    const Enrichment* enrichment = rule.enrichment();
    Read(rule.descriptor(), rule.paths(), enrichment != nullptr, source);
    if (enrichment != nullptr) Read(enrichment->message, enrichment->key_paths, false, source);
  }
  void Compile() {
    for (const auto& [type, slot] : messages_) {
      plan_.messages_[slot].projection = schema::WireProjection::Compile(type.second, paths_[slot]);
    }
  }

  PlannedRule Plan(const std::shared_ptr<const CompiledRule>& rule, std::int32_t version,
                   std::size_t source) {
    PlannedRule planned;
    planned.rule = rule;
    planned.version = version;
    planned.prefix = RulePrefix(rule->id(), version, rule->content_hash());
    const auto& group_by = rule->group_by();
    planned.group_by = Join({group_by.begin(), group_by.end()}, ",");
    planned.number = plan_.rule_count_++;
    planned.message = messages_.at({source, rule->descriptor()});
    planned.slots = SlotsOf(*plan_.messages_[planned.message].projection, rule->paths());
    if (const Enrichment* enrichment = rule->enrichment()) {
      plan_.looks_rows_up_ = true;
      planned.enrichment = enrichment;
      planned.own_message = messages_.at({source, enrichment->message});
      planned.key_slots =
          SlotsOf(*plan_.messages_[planned.own_message].projection, enrichment->key_paths);
    }
    if (const CompiledJoin* join = rule->join(); join != nullptr && join->where != nullptr) {
      planned.pair = schema::WireProjection::Compile(join->pair, join->where->paths());
      planned.pair_prototype = plan_.factory_->GetPrototype(join->pair);
      planned.pair_slots = SlotsOf(*planned.pair, join->where->paths());
    }
    return planned;
  }

  void NoteTime(const CompiledRule& rule) {
    if (rule.order() != RuleOrder::kEventTime) return;
    idle_timeouts_.insert(rule.idle_timeout());
    plan_.max_disorder_ = std::max(plan_.max_disorder_, rule.max_disorder());
    if (const CompiledWindow* window = rule.window()) {
      plan_.window_horizon_ = std::max(plan_.window_horizon_, window->longest_open());
    }
  }

  static Repartition& Topic(std::vector<Repartition>& topics, const std::string& name) {
    for (Repartition& known : topics) {
      if (known.topic == name) return known;
    }
    topics.emplace_back().topic = name;
    return topics.back();
  }

  void Finish() {
    plan_.idle_timeouts_.assign(idle_timeouts_.begin(), idle_timeouts_.end());
    plan_.rules_.resize(plan_.rule_count_);
    const auto note = [this](const PlannedRule& rule) { plan_.rules_[rule.number] = &rule; };
    for (const PlannedRule& rule : plan_.local_) note(rule);
    for (auto* topics : {&plan_.repartitions_, &plan_.forwards_, &plan_.foreign_}) {
      for (const Repartition& repartition : *topics) {
        for (const PlannedRule& rule : repartition.rules) note(rule);
      }
    }
    // Now that they stay where they are.
    for (Repartition& foreign : plan_.foreign_) {
      for (PlannedRule& right : foreign.rules) {
        for (const PlannedRule* rule : plan_.rules_) {
          if (rule->rule->join() != nullptr && rule->rule->join()->right == right.rule) {
            right.join = rule;
          }
        }
      }
    }
  }

 private:
  void Read(const google::protobuf::Descriptor* descriptor,
            const std::vector<schema::FieldPath>& wanted, bool joined, std::size_t source) {
    const auto [slot, is_new] = messages_.try_emplace({source, descriptor}, paths_.size());
    if (is_new) {
      plan_.messages_.push_back(
          {nullptr, plan_.factory_->GetPrototype(descriptor), joined, source});
      paths_.emplace_back();
    }
    std::vector<schema::FieldPath>& of_type = paths_[slot->second];
    of_type.insert(of_type.end(), wanted.begin(), wanted.end());
  }

  static std::vector<std::uint32_t> SlotsOf(const schema::WireProjection& projection,
                                            const std::vector<schema::FieldPath>& paths) {
    std::vector<std::uint32_t> slots;
    for (const schema::FieldPath& path : paths) {
      slots.push_back(static_cast<std::uint32_t>(projection.SlotOf(path)));
    }
    return slots;
  }

  RulePlan& plan_;
  std::map<std::pair<std::size_t, const google::protobuf::Descriptor*>, std::size_t> messages_;
  std::vector<std::vector<schema::FieldPath>> paths_;
  std::set<Duration> idle_timeouts_;
};

std::shared_ptr<const RulePlan> RulePlan::Make(
    StreamSpec stream, const std::vector<RuleEntry>& rules,
    std::set<std::pair<std::string, std::int32_t>> retained, const std::vector<RuleEntry>& joins) {
  std::shared_ptr<RulePlan> plan(new RulePlan(std::move(stream), std::move(retained)));
  Maker maker(*plan);
  // Foreign streams count from 1.
  std::map<std::string, std::size_t> sources;
  const auto source_of = [&](const CompiledJoin& join) {
    return sources.try_emplace(join.right->stream(), sources.size() + 1).first->second;
  };
  for (const RuleEntry& entry : rules) {
    maker.Read(*entry.rule, 0);
    const CompiledJoin* join = entry.rule->join();
    if (join != nullptr) maker.Read(*join->right, source_of(*join));
  }
  for (const RuleEntry& entry : joins) maker.Read(*entry.rule->join()->right, 0);
  maker.Compile();

  for (const RuleEntry& entry : rules) {
    PlannedRule planned = maker.Plan(entry.rule, entry.version, 0);
    plan->kept_.insert({entry.rule->id(), entry.version});
    maker.NoteTime(*entry.rule);
    if (const CompiledJoin* join = entry.rule->join()) {
      const std::size_t source = source_of(*join);
      Repartition& right = Maker::Topic(plan->foreign_, join->right->repartition_topic());
      right.marked = true;
      right.source = source;
      right.rules.push_back(maker.Plan(join->right, entry.version, source));
      Maker::Topic(plan->forwards_, join->time_topic).marked = true;
    }
    if (entry.rule->local()) {
      plan->local_.push_back(std::move(planned));
      continue;
    }
    Repartition& repartition = Maker::Topic(plan->repartitions_, entry.rule->repartition_topic());
    repartition.marked = repartition.marked || planned.event_time();
    repartition.rules.push_back(std::move(planned));
  }
  for (const RuleEntry& entry : joins) {
    const CompiledJoin& join = *entry.rule->join();
    maker.NoteTime(*join.right);
    Repartition& forward = Maker::Topic(plan->forwards_, join.right->repartition_topic());
    forward.marked = true;
    forward.rules.push_back(maker.Plan(join.right, entry.version, 0));
    Maker::Topic(plan->foreign_, join.time_topic).marked = true;
    Maker::Topic(plan->repartitions_, join.right_time_topic).marked = true;
  }
  maker.Finish();
  return plan;
}

namespace {

const Repartition* Find(const std::vector<Repartition>& topics, std::string_view name) {
  for (const Repartition& repartition : topics) {
    if (repartition.topic == name) return &repartition;
  }
  return nullptr;
}

}  // namespace

const Repartition* RulePlan::FindRepartition(std::string_view topic) const {
  const Repartition* const own = Find(repartitions_, topic);
  return own != nullptr ? own : Find(foreign_, topic);
}

const Repartition* RulePlan::FindWritten(std::string_view topic) const {
  const Repartition* const own = Find(repartitions_, topic);
  return own != nullptr ? own : Find(forwards_, topic);
}

const Repartition& RulePlan::RightSide(const PlannedRule& join) const {
  return *Find(foreign_, join.rule->join()->right->repartition_topic());
}

std::vector<std::string> RulePlan::InputTopics() const {
  std::vector<std::string> topics = {stream_.topic};
  for (const Repartition& repartition : repartitions_) topics.push_back(repartition.topic);
  for (const Repartition& repartition : foreign_) topics.push_back(repartition.topic);
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
