#include "services/correlation/rule_keeper/streams.h"

#include <filesystem>
#include <set>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"

namespace tocsin::correlation {

absl::StatusOr<std::vector<pack::v1::Stream>> LoadStreams(
    const google::protobuf::RepeatedPtrField<std::string>& packs) {
  std::vector<pack::v1::Stream> streams;
  std::set<std::string> topics;
  for (const std::string& path : packs) {
    std::error_code ignored;
    const std::filesystem::path file = std::filesystem::is_directory(path, ignored)
                                           ? std::filesystem::path(path) / "pack.yaml"
                                           : std::filesystem::path(path);
    const auto pack = config::LoadFile<pack::v1::Pack>(file.string());
    if (!pack.ok()) return InvalidArgument(Concat("packs: ", Message(pack.status())));
    for (const pack::v1::Stream& stream : pack->streams()) {
      if (stream.topic().empty() || stream.message_type().empty() || stream.partitions() < 1) {
        return InvalidArgument(Concat("pack ", pack->name(), ": stream '", stream.topic(),
                                      "' needs a topic, a message_type and partitions"));
      }
      if (!topics.insert(stream.topic()).second) {
        return InvalidArgument(Concat("pack ", pack->name(), ": the stream ", stream.topic(),
                                      " is in another pack, too. A stream belongs to one pack"));
      }
      streams.push_back(stream);
    }
  }
  return streams;
}

StreamSpec ToSpec(const pack::v1::Stream& stream) {
  StreamSpec spec;
  spec.topic = stream.topic();
  spec.partitions = stream.partitions();
  spec.message_type = stream.message_type();
  spec.processed = stream.processed();
  spec.late = stream.late();
  return spec;
}

RegistryStreams::RegistryStreams(std::vector<pack::v1::Stream> streams,
                                 events::SchemaCache& schemas)
    : schemas_(schemas) {
  for (pack::v1::Stream& stream : streams) {
    std::string topic = stream.topic();
    streams_.emplace(std::move(topic), std::move(stream));
  }
}

absl::StatusOr<StreamInfo> RegistryStreams::Find(std::string_view topic) const {
  const auto found = streams_.find(topic);
  if (found == streams_.end()) return NotFound(Concat("there is no stream ", topic));
  const pack::v1::Stream& stream = found->second;
  const std::string subject = Concat(topic, "-value");
  const absl::StatusOr<events::SubjectSchema> latest = schemas_.Latest(subject);
  if (latest.status().code() == absl::StatusCode::kNotFound) {
    return FailedPrecondition(Concat("the registry has no schema for stream ", topic,
                                     " yet: register ", stream.schema_file(), " under the subject ",
                                     subject));
  }
  TOCSIN_RETURN_IF_ERROR(latest.status());
  StreamInfo info;
  info.topic = stream.topic();
  info.descriptor = latest->schema->FindMessage(stream.message_type());
  if (info.descriptor == nullptr) {
    return FailedPrecondition(Concat("version ", latest->version, " of ", subject,
                                     " has no message ", stream.message_type(),
                                     ", which the pack names for stream ", topic));
  }
  info.partition_key_field = stream.partition_key();
  info.owner = latest->schema;
  return info;
}

std::vector<std::string> RegistryStreams::Names() const {
  std::vector<std::string> names;
  for (const auto& [topic, stream] : streams_) names.push_back(topic);
  return names;
}

std::vector<kafka::TopicSpec> InternalTopics(const StreamSpec& stream,
                                             const std::vector<std::string>& repartition_topics,
                                             std::int32_t replication) {
  std::vector<kafka::TopicSpec> topics;
  const auto add = [&](std::string name, std::map<std::string, std::string> configs) {
    configs["compression.type"] = "lz4";
    if (replication > 1) configs["min.insync.replicas"] = std::to_string(replication - 1);
    topics.push_back({std::move(name), stream.partitions, replication > 0 ? replication : -1,
                      std::move(configs)});
  };
  // Deletions stay readable for a day, twice the age at which a store is discarded.
  add(stream.ChangelogTopic(), {{"cleanup.policy", "compact"},
                                {"delete.retention.ms", "86400000"},
                                {"segment.bytes", "67108864"}});
  for (const std::string& topic : repartition_topics) {
    add(topic, {{"cleanup.policy", "delete"}, {"retention.ms", "604800000"}});
  }
  return topics;
}

kafka::TopicSpec WorkersTopic(const std::string& name, std::int32_t replication) {
  kafka::TopicSpec topic{name, 1, replication > 0 ? replication : -1, {}};
  topic.configs["cleanup.policy"] = "compact";
  if (replication > 1) topic.configs["min.insync.replicas"] = std::to_string(replication - 1);
  return topic;
}

}  // namespace tocsin::correlation
