// The JSON of the topic `_schemas`: keys and values in the shapes of Confluent's registry, with
// `seq`, `node`, `attempt` and perhaps `follows` added to the keys of ours.
//
// The bytes of a key decide what compaction keeps, so the order of its fields is fixed, and no two
// attempts to write ever share a key: compaction can never put one that lost its race in the place
// of the one that won.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "schema-registry/model.h"

namespace tocsin::registry {

enum class KeyType {
  kSchema,
  kConfig,
  kMode,
  kDeleteSubject,
  kClearSubject,
  kNoop,
  kContext,
  // Of another registry, for purposes that this one does not have.
  kOther,
};

// When a record counts: only if it lies at `offset`, and, where it `follows` another one of its
// batch, only if that is the record before it and counts. (An absent neighbour was compacted away,
// which happens only to what was certain.)
struct Sequence {
  std::int64_t offset = 0;
  // Of the writer, random for each process.
  std::int64_t node = 0;
  // Counts up within the process: a neighbour in a batch has the number before.
  std::int64_t attempt = 0;
  bool follows = false;
  friend bool operator==(const Sequence&, const Sequence&) = default;
};

struct RecordKey {
  KeyType type = KeyType::kOther;
  // nullopt: everything (the global configuration or mode).
  std::optional<std::string> subject;
  // kSchema only.
  std::int32_t version = 0;
  // kContext only.
  std::string context;
  // nullopt: written by another registry; counts wherever it stands.
  std::optional<Sequence> sequence;
  friend bool operator==(const RecordKey&, const RecordKey&) = default;
};

struct SchemaValue {
  std::string subject;
  std::int32_t version = 0;
  SchemaId id;
  // Written as `md5`; not read back, it follows from the rest.
  schema::SchemaGuid guid{};
  std::string type;
  std::vector<Reference> references;
  std::string metadata;
  std::string rule_set;
  std::string text;
  bool deleted = false;

  // Deleted for good. The record keeps the numbers, so that neither id nor version are given again;
  // a tombstone would forget them.
  bool gone() const { return deleted && text.empty() && type == kAvro; }
};

std::string EncodeKey(const RecordKey& key);
// INVALID_ARGUMENT: not such a key. An unknown keytype is kOther.
absl::StatusOr<RecordKey> DecodeKey(std::string_view json);

std::string EncodeSchemaValue(const SchemaValue& value);
absl::StatusOr<SchemaValue> DecodeSchemaValue(std::string_view json);

// What is not set is left out: a configuration with nothing set is none.
std::string EncodeConfigValue(const std::optional<std::string>& subject,
                              const SubjectConfig& config);
absl::StatusOr<SubjectConfig> DecodeConfigValue(std::string_view json);

// nullopt: none.
std::string EncodeModeValue(const std::optional<std::string>& subject, std::optional<Mode> mode);
absl::StatusOr<std::optional<Mode>> DecodeModeValue(std::string_view json);

// The last version that it deletes.
std::string EncodeDeleteSubjectValue(std::string_view subject, std::int32_t version);
absl::StatusOr<std::int32_t> DecodeDeleteSubjectValue(std::string_view json);

// Empty: there is no such context.
std::string EncodeContextValue(std::string_view context);
absl::StatusOr<std::string> DecodeContextValue(std::string_view json);

}  // namespace tocsin::registry
