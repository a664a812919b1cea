#include <map>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_state.h"

namespace tocsin::kafka::testing::internal {
namespace {

using State = FakeKafka::State;
using Step = FakeKafka::Step;
using std::chrono::milliseconds;

class FakeAdmin final : public Admin {
 public:
  explicit FakeAdmin(std::shared_ptr<State> state) : state_(std::move(state)) {}

  absl::Status Probe(milliseconds) override {
    MutexLock lock(state_->mutex);
    return state_->TakeStatus(Step::kProbe);
  }
  absl::StatusOr<std::string> ClusterId(milliseconds) override { return std::string("fake"); }

  absl::Status CreateTopics(const std::vector<TopicSpec>& topics, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    for (const TopicSpec& topic : topics) {
      if (topic.partitions < 1) {
        return InvalidArgument(Concat("creating topic ", topic.name, ": it needs a partition"));
      }
      const bool is_new =
          state_->topics
              .try_emplace(topic.name, static_cast<std::size_t>(topic.partitions), Partition{})
              .second;
      if (is_new) configs_[topic.name] = topic.configs;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::map<std::string, TopicDescription>> ListTopics(milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    std::map<std::string, TopicDescription> topics;
    for (const auto& [name, partitions] : state_->topics) topics[name] = DescribeOne(name);
    return topics;
  }

  absl::StatusOr<std::map<std::string, TopicDescription>> DescribeTopics(
      const std::vector<std::string>& names, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    std::map<std::string, TopicDescription> topics;
    for (const std::string& name : names) {
      if (!state_->topics.contains(name)) continue;
      topics[name] = DescribeOne(name);
      topics[name].configs = configs_[name];
    }
    return topics;
  }

  absl::StatusOr<std::int32_t> PartitionCount(const std::string& topic, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    if (!state_->topics.contains(topic)) return NotFound(Concat("there is no topic ", topic));
    return DescribeOne(topic).partitions;
  }

  absl::StatusOr<std::vector<GroupMember>> GroupMembers(const std::string& group,
                                                        milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    std::vector<GroupMember> members;
    const auto found = state_->groups.find(group);
    if (found == state_->groups.end()) return members;
    for (const auto& [id, member] : found->second.members) {
      members.push_back({.instance_id = member.is_static ? member.id : "",
                         .client_id = "fake",
                         .partitions = member.assignment});
    }
    return members;
  }

  absl::Status AddPartitions(const std::string& topic, std::int32_t total, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    const auto found = state_->topics.find(topic);
    if (found == state_->topics.end()) return NotFound(Concat("there is no topic ", topic));
    if (static_cast<std::size_t>(total) <= found->second.size()) {
      return InvalidArgument(Concat("topic ", topic, " has that many partitions already"));
    }
    found->second.resize(static_cast<std::size_t>(total));
    return absl::OkStatus();
  }

  absl::Status SetTopicConfigs(const std::string& topic,
                               const std::map<std::string, std::string>& configs,
                               milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    if (!state_->topics.contains(topic)) return NotFound(Concat("there is no topic ", topic));
    for (const auto& [name, value] : configs) configs_[topic][name] = value;
    return absl::OkStatus();
  }

  absl::Status DeleteTopics(const std::vector<std::string>& names, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    for (const std::string& name : names) state_->topics.erase(name);
    return absl::OkStatus();
  }

 private:
  TopicDescription DescribeOne(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    TopicDescription description;
    description.name = name;
    description.partitions = static_cast<std::int32_t>(state_->topics[name].size());
    description.replication_factor = 1;
    return description;
  }

  const std::shared_ptr<State> state_;
  std::map<std::string, std::map<std::string, std::string>> configs_;
};

}  // namespace

std::unique_ptr<Admin> MakeFakeAdmin(std::shared_ptr<State> state) {
  return std::make_unique<FakeAdmin>(std::move(state));
}

}  // namespace tocsin::kafka::testing::internal
