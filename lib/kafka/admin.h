// Topics: create, describe, change; groups: who is in them. For `tocsin topics apply`, for
// processes that make their own internal topics, and for readiness.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {

struct TopicSpec {
  std::string name = {};
  std::int32_t partitions = 1;
  // -1: the broker's default.
  std::int32_t replication_factor = -1;
  // Topic properties by Kafka's names: {"cleanup.policy", "compact"}.
  std::map<std::string, std::string> configs = {};
};

struct TopicDescription {
  std::string name = {};
  std::int32_t partitions = 0;
  std::int32_t replication_factor = 0;
  // Partitions that have no leader now.
  std::int32_t leaderless = 0;
  // Properties that were set on the topic itself; filled by DescribeTopics only.
  std::map<std::string, std::string> configs = {};
};

// A member of a consumer group.
struct GroupMember {
  // Empty without static membership.
  std::string instance_id = {};
  std::string client_id = {};
  // What it was given; empty while the group is being dealt anew.
  std::vector<TopicPartition> partitions = {};
};

// Every method blocks for at most about `timeout` and may be called from any thread. UNAVAILABLE /
// DEADLINE_EXCEEDED: the cluster does not answer, try again. PERMISSION_DENIED.
class Admin {
 public:
  virtual ~Admin() = default;

  // OK when a broker answers: for readiness.
  virtual absl::Status Probe(std::chrono::milliseconds timeout) = 0;

  // The name that the cluster gave itself when it was made.
  virtual absl::StatusOr<std::string> ClusterId(std::chrono::milliseconds timeout) = 0;

  // Creates those that do not exist and returns when each has a leader. A topic that exists is left
  // as it is, whatever its shape (compare with DescribeTopics). INVALID_ARGUMENT names the topic
  // and says why the broker refused it.
  virtual absl::Status CreateTopics(const std::vector<TopicSpec>& topics,
                                    std::chrono::milliseconds timeout) = 0;

  // By name; a topic that does not exist is not in the answer. Internal topics are left out.
  virtual absl::StatusOr<std::map<std::string, TopicDescription>> ListTopics(
      std::chrono::milliseconds timeout) = 0;
  virtual absl::StatusOr<std::map<std::string, TopicDescription>> DescribeTopics(
      const std::vector<std::string>& names, std::chrono::milliseconds timeout) = 0;

  // NOT_FOUND where there is no such topic: for those who only need the number.
  virtual absl::StatusOr<std::int32_t> PartitionCount(const std::string& topic,
                                                      std::chrono::milliseconds timeout) = 0;

  // Those that the group's coordinator knows now; none for a group that there is not.
  virtual absl::StatusOr<std::vector<GroupMember>> GroupMembers(
      const std::string& group, std::chrono::milliseconds timeout) = 0;

  // Raises the number of partitions to `total`. INVALID_ARGUMENT when it has that many or more.
  // Records with the same key may lie in another partition from then on.
  virtual absl::Status AddPartitions(const std::string& topic, std::int32_t total,
                                     std::chrono::milliseconds timeout) = 0;
  // Sets these properties and keeps the others that were set on the topic.
  virtual absl::Status SetTopicConfigs(const std::string& topic,
                                       const std::map<std::string, std::string>& configs,
                                       std::chrono::milliseconds timeout) = 0;
  // A topic that does not exist is no error.
  virtual absl::Status DeleteTopics(const std::vector<std::string>& names,
                                    std::chrono::milliseconds timeout) = 0;
};

absl::StatusOr<std::unique_ptr<Admin>> MakeAdmin(const Connection& connection);

}  // namespace tocsin::kafka
