#include <array>
#include <set>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/rd.h"

namespace tocsin::kafka {
namespace {
using internal::ConfBuilder;
using internal::Deleter;
using internal::EventPtr;
using internal::QueuePtr;
using std::chrono::milliseconds;

using NewTopicPtr = std::unique_ptr<rd_kafka_NewTopic_t, Deleter<rd_kafka_NewTopic_destroy>>;
using DeleteTopicPtr =
    std::unique_ptr<rd_kafka_DeleteTopic_t, Deleter<rd_kafka_DeleteTopic_destroy>>;
using NewPartitionsPtr =
    std::unique_ptr<rd_kafka_NewPartitions_t, Deleter<rd_kafka_NewPartitions_destroy>>;
using ConfigResourcePtr =
    std::unique_ptr<rd_kafka_ConfigResource_t, Deleter<rd_kafka_ConfigResource_destroy>>;
using AdminOptionsPtr =
    std::unique_ptr<rd_kafka_AdminOptions_t, Deleter<rd_kafka_AdminOptions_destroy>>;
using MetadataPtr = std::unique_ptr<const rd_kafka_metadata_t, Deleter<rd_kafka_metadata_destroy>>;

constexpr milliseconds kLeaderPoll{50};

class RdAdmin final : public Admin {
 public:
  absl::Status Start(const Connection& connection) {
    ConfBuilder conf(connection);
    TOCSIN_ASSIGN_OR_RETURN(handle_, conf.Make(RD_KAFKA_PRODUCER, &hooks_));
    return absl::OkStatus();
  }
  ~RdAdmin() override {
    if (handle_ != nullptr) rd_kafka_destroy(handle_);
  }

  absl::Status Probe(milliseconds timeout) override {
    return internal::ProbeCluster(handle_, timeout);
  }

  absl::StatusOr<std::string> ClusterId(milliseconds timeout) override {
    char* const id = rd_kafka_clusterid(handle_, static_cast<int>(timeout.count()));
    if (id == nullptr) return Unavailable("the cluster did not tell its id in time");
    std::string copy(id);
    rd_kafka_mem_free(handle_, id);
    return copy;
  }

  absl::Status CreateTopics(const std::vector<TopicSpec>& topics, milliseconds timeout) override {
    if (topics.empty()) return absl::OkStatus();
    const SteadyTime deadline = Clock::Real().SteadyNow() + timeout;
    std::vector<NewTopicPtr> owned;
    std::vector<rd_kafka_NewTopic_t*> raw;
    for (const TopicSpec& topic : topics) {
      std::array<char, 512> reason{};
      owned.emplace_back(rd_kafka_NewTopic_new(topic.name.c_str(), topic.partitions,
                                               topic.replication_factor, reason.data(),
                                               reason.size()));
      if (owned.back() == nullptr) {
        return InvalidArgument(Concat("creating topic ", topic.name, ": ", reason.data()));
      }
      for (const auto& [name, value] : topic.configs) {
        rd_kafka_NewTopic_set_config(owned.back().get(), name.c_str(), value.c_str());
      }
      raw.push_back(owned.back().get());
    }
    const Call call(handle_, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout);
    rd_kafka_CreateTopics(handle_, raw.data(), raw.size(), call.options.get(), call.queue.get());
    TOCSIN_ASSIGN_OR_RETURN(const EventPtr event, call.Wait("creating topics"));
    std::size_t count = 0;
    const rd_kafka_topic_result_t** results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event.get()), &count);
    TOCSIN_RETURN_IF_ERROR(
        FirstError(results, count, "creating topic", RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS));
    return WaitForLeaders(topics, deadline);
  }

  absl::StatusOr<std::map<std::string, TopicDescription>> ListTopics(
      milliseconds timeout) override {
    TOCSIN_ASSIGN_OR_RETURN(const MetadataPtr metadata, AllMetadata(timeout));
    std::map<std::string, TopicDescription> topics;
    for (int i = 0; i < metadata->topic_cnt; ++i) {
      const rd_kafka_metadata_topic& topic = metadata->topics[i];
      if (topic.err != RD_KAFKA_RESP_ERR_NO_ERROR &&
          topic.err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
        continue;
      }
      const std::string name = topic.topic;
      if (name == "__consumer_offsets" || name == "__transaction_state" ||
          name == "__share_group_state" || name == "__cluster_metadata") {
        continue;
      }
      TopicDescription& description = topics[name];
      description.name = name;
      description.partitions = topic.partition_cnt;
      for (int p = 0; p < topic.partition_cnt; ++p) {
        description.replication_factor = topic.partitions[p].replica_cnt;
        if (topic.partitions[p].leader < 0) ++description.leaderless;
      }
    }
    return topics;
  }

  absl::StatusOr<std::map<std::string, TopicDescription>> DescribeTopics(
      const std::vector<std::string>& names, milliseconds timeout) override {
    TOCSIN_ASSIGN_OR_RETURN(auto all, ListTopics(timeout));
    std::map<std::string, TopicDescription> topics;
    for (const std::string& name : names) {
      if (auto found = all.extract(name)) topics.insert(std::move(found));
    }
    if (topics.empty()) return topics;
    std::vector<ConfigResourcePtr> owned;
    std::vector<rd_kafka_ConfigResource_t*> raw;
    for (const auto& [name, description] : topics) {
      owned.emplace_back(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name.c_str()));
      raw.push_back(owned.back().get());
    }
    const Call call(handle_, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout);
    rd_kafka_DescribeConfigs(handle_, raw.data(), raw.size(), call.options.get(), call.queue.get());
    TOCSIN_ASSIGN_OR_RETURN(const EventPtr event, call.Wait("describing topics"));
    std::size_t count = 0;
    const rd_kafka_ConfigResource_t** resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event.get()), &count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name = rd_kafka_ConfigResource_name(resources[i]);
      TOCSIN_RETURN_IF_ERROR(internal::StatusOf(rd_kafka_ConfigResource_error(resources[i]),
                                                Concat("describing topic ", name)));
      std::size_t entries = 0;
      const rd_kafka_ConfigEntry_t** configs =
          rd_kafka_ConfigResource_configs(resources[i], &entries);
      for (std::size_t e = 0; e < entries; ++e) {
        if (rd_kafka_ConfigEntry_source(configs[e]) !=
            RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG) {
          continue;
        }
        const char* value = rd_kafka_ConfigEntry_value(configs[e]);
        topics[name].configs[rd_kafka_ConfigEntry_name(configs[e])] = value == nullptr ? "" : value;
      }
    }
    return topics;
  }

  absl::StatusOr<std::int32_t> PartitionCount(const std::string& topic,
                                              milliseconds timeout) override {
    TOCSIN_ASSIGN_OR_RETURN(const auto topics, ListTopics(timeout));
    const auto found = topics.find(topic);
    if (found == topics.end()) {
      return NotFound(
          Concat("there is no topic ", topic, "; `tocsin topics apply` creates what is declared"));
    }
    return found->second.partitions;
  }

  absl::StatusOr<std::vector<GroupMember>> GroupMembers(const std::string& group,
                                                        milliseconds timeout) override {
    const std::string what = Concat("asking for the members of group ", group);
    const char* name = group.c_str();
    const Call call(handle_, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout);
    rd_kafka_DescribeConsumerGroups(handle_, &name, 1, call.options.get(), call.queue.get());
    TOCSIN_ASSIGN_OR_RETURN(const EventPtr event, call.Wait(what));
    std::size_t count = 0;
    const rd_kafka_ConsumerGroupDescription_t** groups =
        rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
    std::vector<GroupMember> members;
    for (std::size_t i = 0; i < count; ++i) {
      const rd_kafka_error_t* error = rd_kafka_ConsumerGroupDescription_error(groups[i]);
      if (error != nullptr) {
        if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) continue;
        return internal::StatusOf(rd_kafka_error_code(error), what, rd_kafka_error_string(error));
      }
      const std::size_t of_group = rd_kafka_ConsumerGroupDescription_member_count(groups[i]);
      for (std::size_t m = 0; m < of_group; ++m) members.push_back(MemberOf(*groups[i], m));
    }
    return members;
  }

  absl::Status AddPartitions(const std::string& topic, std::int32_t total,
                             milliseconds timeout) override {
    std::array<char, 512> reason{};
    const NewPartitionsPtr partitions(rd_kafka_NewPartitions_new(
        topic.c_str(), static_cast<std::size_t>(std::max(total, 0)), reason.data(), reason.size()));
    if (partitions == nullptr) {
      return InvalidArgument(Concat("adding partitions to ", topic, ": ", reason.data()));
    }
    rd_kafka_NewPartitions_t* raw = partitions.get();
    const Call call(handle_, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, timeout);
    rd_kafka_CreatePartitions(handle_, &raw, 1, call.options.get(), call.queue.get());
    TOCSIN_ASSIGN_OR_RETURN(const EventPtr event, call.Wait("adding partitions"));
    std::size_t count = 0;
    const rd_kafka_topic_result_t** results = rd_kafka_CreatePartitions_result_topics(
        rd_kafka_event_CreatePartitions_result(event.get()), &count);
    return FirstError(results, count, "adding partitions to", RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  absl::Status SetTopicConfigs(const std::string& topic,
                               const std::map<std::string, std::string>& configs,
                               milliseconds timeout) override {
    // This version of AlterConfigs replaces everything that was set: take over what is there.
    TOCSIN_ASSIGN_OR_RETURN(auto topics, DescribeTopics({topic}, timeout));
    if (topics.empty()) return NotFound(Concat("there is no topic ", topic));
    std::map<std::string, std::string> merged = std::move(topics[topic].configs);
    for (const auto& [name, value] : configs) merged[name] = value;
    const ConfigResourcePtr resource(
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
    for (const auto& [name, value] : merged) {
      rd_kafka_ConfigResource_set_config(resource.get(), name.c_str(), value.c_str());
    }
    rd_kafka_ConfigResource_t* raw = resource.get();
    const Call call(handle_, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, timeout);
    rd_kafka_AlterConfigs(handle_, &raw, 1, call.options.get(), call.queue.get());
    TOCSIN_ASSIGN_OR_RETURN(const EventPtr event, call.Wait("changing a topic"));
    std::size_t count = 0;
    const rd_kafka_ConfigResource_t** resources = rd_kafka_AlterConfigs_result_resources(
        rd_kafka_event_AlterConfigs_result(event.get()), &count);
    for (std::size_t i = 0; i < count; ++i) {
      const rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(resources[i]);
      const char* reason = rd_kafka_ConfigResource_error_string(resources[i]);
      TOCSIN_RETURN_IF_ERROR(internal::StatusOf(error, Concat("changing topic ", topic),
                                                reason == nullptr ? "" : reason));
    }
    return absl::OkStatus();
  }

  absl::Status DeleteTopics(const std::vector<std::string>& names, milliseconds timeout) override {
    if (names.empty()) return absl::OkStatus();
    std::vector<DeleteTopicPtr> owned;
    std::vector<rd_kafka_DeleteTopic_t*> raw;
    for (const std::string& name : names) {
      owned.emplace_back(rd_kafka_DeleteTopic_new(name.c_str()));
      raw.push_back(owned.back().get());
    }
    const Call call(handle_, RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout);
    rd_kafka_DeleteTopics(handle_, raw.data(), raw.size(), call.options.get(), call.queue.get());
    TOCSIN_ASSIGN_OR_RETURN(const EventPtr event, call.Wait("deleting topics"));
    std::size_t count = 0;
    const rd_kafka_topic_result_t** results = rd_kafka_DeleteTopics_result_topics(
        rd_kafka_event_DeleteTopics_result(event.get()), &count);
    return FirstError(results, count, "deleting topic", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  }

 private:
  // One request of the admin interface: its options, and the queue that its answer comes to.
  struct Call {
    Call(rd_kafka_t* handle, rd_kafka_admin_op_t operation, milliseconds time)
        : options(rd_kafka_AdminOptions_new(handle, operation)),
          queue(rd_kafka_queue_new(handle)),
          timeout(time) {
      std::array<char, 128> reason{};
      const int ms = std::max(1, internal::Milliseconds(time));
      rd_kafka_AdminOptions_set_request_timeout(options.get(), ms, reason.data(), reason.size());
      // For the operations that have one: how long the controller waits until it is done.
      rd_kafka_AdminOptions_set_operation_timeout(options.get(), ms, reason.data(), reason.size());
    }
    absl::StatusOr<EventPtr> Wait(std::string_view what) const {
      // The client itself gives up after the request timeout; the rest is for its answer's way.
      EventPtr event(
          rd_kafka_queue_poll(queue.get(), internal::Milliseconds(timeout + milliseconds(500))));
      if (event == nullptr) return DeadlineExceeded(Concat(what, ": kafka does not answer"));
      const rd_kafka_resp_err_t error = rd_kafka_event_error(event.get());
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return internal::StatusOf(error, what, rd_kafka_event_error_string(event.get()));
      }
      return event;
    }
    AdminOptionsPtr options;
    QueuePtr queue;
    milliseconds timeout;
  };

  static GroupMember MemberOf(const rd_kafka_ConsumerGroupDescription_t& group, std::size_t index) {
    const rd_kafka_MemberDescription_t* raw =
        rd_kafka_ConsumerGroupDescription_member(&group, index);
    const auto text = [](const char* given) { return std::string(given == nullptr ? "" : given); };
    GroupMember member;
    member.instance_id = text(rd_kafka_MemberDescription_group_instance_id(raw));
    member.client_id = text(rd_kafka_MemberDescription_client_id(raw));
    const rd_kafka_MemberAssignment_t* assignment = rd_kafka_MemberDescription_assignment(raw);
    const rd_kafka_topic_partition_list_t* partitions =
        assignment == nullptr ? nullptr : rd_kafka_MemberAssignment_partitions(assignment);
    if (partitions != nullptr) member.partitions = internal::FromList(*partitions);
    return member;
  }

  static absl::Status FirstError(const rd_kafka_topic_result_t** results, std::size_t count,
                                 std::string_view what, rd_kafka_resp_err_t fine) {
    for (std::size_t i = 0; i < count; ++i) {
      const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR || error == fine) continue;
      const char* reason = rd_kafka_topic_result_error_string(results[i]);
      return internal::StatusOf(error, Concat(what, " ", rd_kafka_topic_result_name(results[i])),
                                reason == nullptr ? "" : reason);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<MetadataPtr> AllMetadata(milliseconds timeout) {
    const rd_kafka_metadata_t* metadata = nullptr;
    const rd_kafka_resp_err_t error = rd_kafka_metadata(handle_, /*all_topics=*/1, nullptr,
                                                        &metadata, internal::Milliseconds(timeout));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return Unavailable(Concat("kafka does not answer: ", rd_kafka_err2str(error)));
    }
    return MetadataPtr(metadata);
  }

  absl::Status WaitForLeaders(const std::vector<TopicSpec>& topics, SteadyTime deadline) {
    for (;;) {
      const auto left =
          std::chrono::duration_cast<milliseconds>(deadline - Clock::Real().SteadyNow());
      if (left <= milliseconds::zero()) {
        return DeadlineExceeded("creating topics: they have no leader yet");
      }
      const auto listed = ListTopics(left);
      if (listed.ok()) {
        const bool all = std::all_of(topics.begin(), topics.end(), [&](const TopicSpec& topic) {
          const auto found = listed->find(topic.name);
          return found != listed->end() && found->second.leaderless == 0 &&
                 found->second.partitions > 0;
        });
        if (all) return absl::OkStatus();
      }
      std::this_thread::sleep_for(kLeaderPoll);
    }
  }

  ConfBuilder::Hooks hooks_;
  rd_kafka_t* handle_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Admin>> MakeAdmin(const Connection& connection) {
  auto admin = std::make_unique<RdAdmin>();
  TOCSIN_RETURN_IF_ERROR(admin->Start(connection));
  return admin;
}

}  // namespace tocsin::kafka
