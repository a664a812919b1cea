#include "services/correlation/worker/worker.h"

#include <algorithm>

#include "lib/base/text.h"
#include "lib/telemetry/log.h"

namespace tocsin::correlation {

void Worker::OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) {
  GiveUpTasks();
  joined_ = true;
  group_problem_.clear();
  std::vector<kafka::TopicPartition> all;
  for (const kafka::AssignedPartition& assigned : partitions) {
    all.push_back(assigned.where);
    std::shared_ptr<const RulePlan> plan = rules_->PlanReading(assigned.where.topic);
    if (plan == nullptr) continue;
    TaskSlot& slot = tasks_[{plan->stream().topic, assigned.where.partition}];
    slot.plan = std::move(plan);
    slot.partition = assigned.where.partition;
    slot.assigned_topics.insert(assigned.where.topic);
  }
  // Nothing is read before its state is there.
  if (const absl::Status paused = consumer_->Pause(all); !paused.ok()) {
    telemetry::LogError("partitions could not be paused",
                        {{"worker", options_.id}, {"error", paused}});
  }
  for (auto& [id, slot] : tasks_) {
    // All topics of a partition number share one state, so they must come together. They do not
    // while members of the group know different rules; that passes when all have joined again.
    const std::vector<std::string> needed = slot.plan->InputTopics();
    const std::set<std::string>& assigned = slot.assigned_topics;
    const bool complete =
        std::all_of(needed.begin(), needed.end(),
                    [&assigned](const std::string& topic) { return assigned.contains(topic); });
    slot.phase = complete ? Phase::kRestoring : Phase::kIncomplete;
    if (complete && io_.claims != nullptr) io_.claims->Claim(id.first, id.second);
    if (!complete) {
      slot.problem = Concat(slot.Name(), " waits until all members know its topics");
    }
  }
  telemetry::LogInfo(
      "partitions assigned",
      {{"worker", options_.id}, {"partitions", all.size()}, {"tasks", tasks_.size()}});
}

void Worker::OnRevoked(const std::vector<kafka::TopicPartition>& partitions) {
  telemetry::LogInfo("partitions revoked",
                     {{"worker", options_.id}, {"partitions", partitions.size()}});
  GiveUpTasks();
}

void Worker::OnLost(const std::vector<kafka::TopicPartition>& partitions) {
  telemetry::LogWarning("partitions lost: the session has expired",
                        {{"worker", options_.id}, {"partitions", partitions.size()}});
  GiveUpTasks();
}

TaskSlot* Worker::SlotReading(const std::string& topic, std::int32_t partition) {
  const std::shared_ptr<const RulePlan> plan = rules_->PlanReading(topic);
  if (plan == nullptr) return nullptr;
  const auto found = tasks_.find({plan->stream().topic, partition});
  return found == tasks_.end() ? nullptr : &found->second;
}

}  // namespace tocsin::correlation
