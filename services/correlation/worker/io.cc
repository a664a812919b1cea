#include "services/correlation/worker/io.h"

#include <set>

namespace tocsin::correlation {

const RulePlan* RuleSet::FindStream(std::string_view topic) const {
  for (const auto& plan : plans) {
    if (plan->stream().topic == topic) return plan.get();
  }
  return nullptr;
}

std::shared_ptr<const RulePlan> RuleSet::PlanReading(std::string_view topic) const {
  for (const auto& plan : plans) {
    if (plan->stream().topic == topic || plan->FindRepartition(topic) != nullptr) return plan;
  }
  return nullptr;
}

std::vector<std::string> RuleSet::InputTopics() const {
  std::set<std::string> topics;
  for (const auto& plan : plans) {
    for (std::string& topic : plan->InputTopics()) topics.insert(std::move(topic));
  }
  return {topics.begin(), topics.end()};
}

}  // namespace tocsin::correlation
