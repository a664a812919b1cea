// The `enrich` part of a rule as the engine runs it: which rows an event is joined with, and the
// message type that it becomes by that.
//
// The joined type is the stream's own message with one more field for each look-up, so that the
// bytes of an event with those of its rows behind them are a message of it: conditions, keys and
// aggregates read a row as they read any other field.
//
// Threads: an Enrichment never changes; any number of threads may ask it at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/schema/wire_projection.h"
#include "services/correlation/rules/field_path.h"
#include "services/correlation/rules/mistakes.h"
#include "tocsin/rule/v1/rule.pb.h"

namespace google::protobuf {
class Descriptor;
}  // namespace google::protobuf

namespace tocsin::correlation {

// What a rule needs to know of a table.
struct TableInfo {
  std::string topic;
  const google::protobuf::Descriptor* descriptor = nullptr;
  // Owns the descriptor's pool.
  std::shared_ptr<const void> owner;
};

struct Lookup {
  std::string table;
  std::string as;
  bool required = false;
  // Of the stream's own message; its paths stand in Enrichment::key_paths from key_at on.
  FieldPath key;
  std::size_t key_at = 0;
  // What stands before the row's length and bytes.
  std::string tag;
  struct Output {
    std::string name;
    FieldPath path;
    // Where in the rule's paths() its own begin.
    std::size_t at = 0;
  };
  std::vector<Output> outputs;
};

struct Enrichment {
  // The stream's own message, and what the look-ups read of it.
  const google::protobuf::Descriptor* message = nullptr;
  std::vector<schema::FieldPath> key_paths;
  std::vector<Lookup> lookups;
  // With the rows; lives as long as `owner`.
  const google::protobuf::Descriptor* joined = nullptr;
  std::shared_ptr<const void> owner;
};

// Checks `spec.enrich()`, finds the tables and makes the joined type of `message`. Notes mistakes;
// the answer means something only where there are none. `find_table`'s NOT_FOUND becomes a mistake;
// other codes are passed on.
absl::StatusOr<Enrichment> ResolveEnrichment(
    const tocsin::rule::v1::Rule& spec, const google::protobuf::Descriptor& message,
    const std::function<absl::StatusOr<TableInfo>(std::string_view)>& find_table,
    const std::vector<std::string>& table_names, Mistakes& mistakes);

// The field of a group-by list as it stands in the name of a repartition topic: rows of other
// tables, or found by other keys, have other topics.
std::string TopicPart(const tocsin::rule::v1::Rule& spec, const std::string& field);

}  // namespace tocsin::correlation
