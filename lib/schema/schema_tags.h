// Tags of messages and fields, as data catalogues use them ("PII"): options of confluent/meta.proto
// that stand in the text itself.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {

// Tags of one message or field.
struct EntityTags {
  enum class Kind { kMessage, kField };
  Kind kind = Kind::kField;
  // "Alert.source", "Outer.Inner": with or without the package, with or without a leading dot.
  std::string path;
  std::vector<std::string> tags;

  friend bool operator==(const EntityTags&, const EntityTags&) = default;
};

struct TagChanges {
  std::vector<EntityTags> add = {};
  std::vector<EntityTags> remove = {};

  bool empty() const { return add.empty() && remove.empty(); }
};

// The schema's text with these tags added, and those taken off: the canonical text, with an import
// of confluent/meta.proto where it has none. A tag that is there is not added twice; one that is
// not there is not missed. `imports` as for Compile. INVALID_ARGUMENT: there is no such message or
// field, or the schema has another option under the number of those tags. Pure; thread-safe.
absl::StatusOr<std::string> WithTags(const CompiledSchema& schema, const TagChanges& changes,
                                     std::span<const SourceFile> imports = {},
                                     const CompileLimits& limits = {});

}  // namespace tocsin::schema
