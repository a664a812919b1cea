#include "services/correlation/rule_keeper/streams.h"

#include <filesystem>
#include <set>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"

namespace tocsin::correlation {

namespace {

absl::StatusOr<std::vector<pack::v1::Pack>> LoadPacks(
    const google::protobuf::RepeatedPtrField<std::string>& packs) {
  std::vector<pack::v1::Pack> loaded;
  for (const std::string& path : packs) {
    std::error_code ignored;
    const std::filesystem::path file = std::filesystem::is_directory(path, ignored)
                                           ? std::filesystem::path(path) / "pack.yaml"
                                           : std::filesystem::path(path);
    auto pack = config::LoadFile<pack::v1::Pack>(file.string());
    if (!pack.ok()) return InvalidArgument(Concat("packs: ", Message(pack.status())));
    loaded.push_back(*std::move(pack));
  }
  return loaded;
}

}  // namespace

absl::StatusOr<std::vector<pack::v1::Stream>> LoadStreams(
    const google::protobuf::RepeatedPtrField<std::string>& packs) {
  std::vector<pack::v1::Stream> streams;
  std::set<std::string> topics;
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<pack::v1::Pack> loaded, LoadPacks(packs));
  for (const pack::v1::Pack& pack : loaded) {
    for (const pack::v1::Stream& stream : pack.streams()) {
      if (stream.topic().empty() || stream.message_type().empty() || stream.partitions() < 1) {
        return InvalidArgument(Concat("pack ", pack.name(), ": stream '", stream.topic(),
                                      "' needs a topic, a message_type and partitions"));
      }
      if (!topics.insert(stream.topic()).second) {
        return InvalidArgument(Concat("pack ", pack.name(), ": the stream ", stream.topic(),
                                      " is in another pack, too. A stream belongs to one pack"));
      }
      streams.push_back(stream);
    }
  }
  return streams;
}

absl::StatusOr<std::vector<pack::v1::Table>> LoadTables(
    const google::protobuf::RepeatedPtrField<std::string>& packs) {
  std::vector<pack::v1::Table> tables;
  std::set<std::string> topics;
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<pack::v1::Pack> loaded, LoadPacks(packs));
  for (const pack::v1::Pack& pack : loaded) {
    for (const pack::v1::Stream& stream : pack.streams()) topics.insert(stream.topic());
  }
  for (const pack::v1::Pack& pack : loaded) {
    for (const pack::v1::Table& table : pack.tables()) {
      const auto wrong = [&](std::string_view what) {
        return InvalidArgument(
            Concat("pack ", pack.name(), ": table '", table.topic(), "' ", what));
      };
      if (table.topic().empty() || table.message_type().empty() || table.partitions() < 1) {
        return wrong("needs a topic, a message_type and partitions");
      }
      if (table.has_keep_versions() &&
          (table.keep_versions().seconds() < 0 || table.keep_versions().nanos() < 0)) {
        return wrong("keeps versions for less than nothing");
      }
      if (!topics.insert(table.topic()).second) {
        return wrong("is a stream or a table already. A topic is one of them, in one pack");
      }
      tables.push_back(table);
    }
  }
  return tables;
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
                                 events::SchemaCache& schemas, std::vector<pack::v1::Table> tables)
    : schemas_(schemas) {
  for (pack::v1::Stream& stream : streams) {
    std::string topic = stream.topic();
    streams_.emplace(std::move(topic), std::move(stream));
  }
  for (pack::v1::Table& table : tables) {
    std::string topic = table.topic();
    tables_.emplace(std::move(topic), std::move(table));
  }
}

absl::StatusOr<RegistryStreams::Newest> RegistryStreams::NewestSchema(
    std::string_view what, const std::string& topic, const std::string& message_type,
    const std::string& schema_file) const {
  const std::string subject = Concat(topic, "-value");
  const absl::StatusOr<events::SubjectSchema> latest = schemas_.Latest(subject);
  if (latest.status().code() == absl::StatusCode::kNotFound) {
    return FailedPrecondition(Concat("the registry has no schema for ", what, " ", topic,
                                     " yet: register ", schema_file, " under the subject ",
                                     subject));
  }
  TOCSIN_RETURN_IF_ERROR(latest.status());
  Newest newest;
  newest.descriptor = latest->schema->FindMessage(message_type);
  if (newest.descriptor == nullptr) {
    return FailedPrecondition(Concat("version ", latest->version, " of ", subject,
                                     " has no message ", message_type,
                                     ", which the pack names for ", what, " ", topic));
  }
  newest.owner = latest->schema;
  return newest;
}

absl::StatusOr<StreamInfo> RegistryStreams::Find(std::string_view topic) const {
  const auto found = streams_.find(topic);
  if (found == streams_.end()) return NotFound(Concat("there is no stream ", topic));
  const pack::v1::Stream& stream = found->second;
  TOCSIN_ASSIGN_OR_RETURN(Newest newest, NewestSchema("stream", stream.topic(),
                                                      stream.message_type(), stream.schema_file()));
  return StreamInfo{stream.topic(), newest.descriptor, stream.partition_key(),
                    std::move(newest.owner)};
}

absl::StatusOr<TableInfo> RegistryStreams::FindTable(std::string_view topic) const {
  const auto found = tables_.find(topic);
  if (found == tables_.end()) return NotFound(Concat("there is no table ", topic));
  const pack::v1::Table& table = found->second;
  TOCSIN_ASSIGN_OR_RETURN(Newest newest, NewestSchema("table", table.topic(), table.message_type(),
                                                      table.schema_file()));
  return TableInfo{table.topic(), newest.descriptor, std::move(newest.owner)};
}

std::vector<std::string> RegistryStreams::Names() const {
  std::vector<std::string> names;
  for (const auto& [topic, stream] : streams_) names.push_back(topic);
  return names;
}

std::vector<std::string> RegistryStreams::TableNames() const {
  std::vector<std::string> names;
  for (const auto& [topic, table] : tables_) names.push_back(topic);
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
