// The streams of the packs, and their schemas as rules see them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "lib/events/schema_cache.h"
#include "lib/kafka/admin.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/rules/compiled_rule.h"
#include "tocsin/pack/v1/pack.pb.h"

namespace tocsin::correlation {

// `packs`: folders with a pack.yaml, or such files. INVALID_ARGUMENT names the file, or the stream
// that two packs have.
absl::StatusOr<std::vector<pack::v1::Stream>> LoadStreams(
    const google::protobuf::RepeatedPtrField<std::string>& packs);

// Their tables, alike. A table's topic is no stream's.
absl::StatusOr<std::vector<pack::v1::Table>> LoadTables(
    const google::protobuf::RepeatedPtrField<std::string>& packs);

StreamSpec ToSpec(const pack::v1::Stream& stream);

// Streams and tables with the newest schema that the registry has for them. Thread-safe; blocks for
// one call to the registry at most.
class RegistryStreams final : public StreamDirectory {
 public:
  // `schemas` must outlive it.
  RegistryStreams(std::vector<pack::v1::Stream> streams, events::SchemaCache& schemas,
                  std::vector<pack::v1::Table> tables = {});

  // NOT_FOUND: no pack has this stream. FAILED_PRECONDITION: it has no schema yet, or one without
  // its message. UNAVAILABLE / DEADLINE_EXCEEDED: the registry does not answer.
  absl::StatusOr<StreamInfo> Find(std::string_view topic) const override;
  std::vector<std::string> Names() const override;
  absl::StatusOr<TableInfo> FindTable(std::string_view topic) const override;
  std::vector<std::string> TableNames() const override;

 private:
  struct Newest {
    const google::protobuf::Descriptor* descriptor = nullptr;
    std::shared_ptr<const void> owner;
  };
  absl::StatusOr<Newest> NewestSchema(std::string_view what, const std::string& topic,
                                      const std::string& message_type,
                                      const std::string& schema_file) const;

  std::map<std::string, pack::v1::Stream, std::less<>> streams_;
  std::map<std::string, pack::v1::Table, std::less<>> tables_;
  events::SchemaCache& schemas_;
};

// The internal topics of a stream with these repartition topics: its changelog and those.
std::vector<kafka::TopicSpec> InternalTopics(const StreamSpec& stream,
                                             const std::vector<std::string>& repartition_topics,
                                             std::int32_t replication);

// Where the workers of a group keep the numbers of their incarnations.
kafka::TopicSpec WorkersTopic(const std::string& name, std::int32_t replication);

}  // namespace tocsin::correlation
