// The JSON of the topic `_schemas`: keys and values in the shapes of Confluent's registry, with
// `seq`, `node` and `attempt` added to the keys of ours.
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

enum class KeyType { kSchema, kConfig, kMode, kDeleteSubject, kClearSubject, kNoop, kOther };

// The record counts only at this offset.
struct Sequence {
  std::int64_t offset = 0;
  // Of the writer, random for each process.
  std::int64_t node = 0;
  // Counts up within the process.
  std::int64_t attempt = 0;
  friend bool operator==(const Sequence&, const Sequence&) = default;
};

struct RecordKey {
  KeyType type = KeyType::kOther;
  // nullopt: everything (the global configuration).
  std::optional<std::string> subject;
  // kSchema only.
  std::int32_t version = 0;
  // nullopt: written by another registry; counts wherever it stands.
  std::optional<Sequence> sequence;
  friend bool operator==(const RecordKey&, const RecordKey&) = default;
};

struct SchemaValue {
  std::string subject;
  std::int32_t version = 0;
  SchemaId id;
  std::string type;
  std::vector<Reference> references;
  std::string text;
  bool deleted = false;
};

std::string EncodeKey(const RecordKey& key);
// INVALID_ARGUMENT: not such a key. An unknown keytype is kOther.
absl::StatusOr<RecordKey> DecodeKey(std::string_view json);

std::string EncodeSchemaValue(const SchemaValue& value);
absl::StatusOr<SchemaValue> DecodeSchemaValue(std::string_view json);

// CONFIG: the level by its name.
std::string EncodeConfigValue(const std::optional<std::string>& subject, std::string_view level);
absl::StatusOr<std::string> DecodeConfigValue(std::string_view json);

// DELETE_SUBJECT: the last version that it deletes.
absl::StatusOr<std::int32_t> DecodeDeleteSubjectValue(std::string_view json);

}  // namespace tocsin::registry
