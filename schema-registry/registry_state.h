// What the records of the topic add up to: subjects, versions, ids, levels. Pure: records go in,
// answers come out. Every replica that has applied the same records has the same state.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/schema/compatibility.h"
#include "schema-registry/io.h"
#include "schema-registry/model.h"
#include "schema-registry/schema_compiler.h"

namespace tocsin::registry {

// What became of a record.
enum class Applied {
  kCounted,
  // It did not land at the offset that its writer expected: another writer was first.
  kLostRace,
  // A key or value that is not understood; skipped.
  kMalformed,
};

// Not thread-safe.
class RegistryState {
 public:
  // `compiler` finds out which schemas mean the same; it must outlive the state.
  explicit RegistryState(SchemaCompiler& compiler) : compiler_(compiler) {}

  // Records come in the order of their offsets.
  Applied Apply(const LogRecord& record);
  // The end of the log was seen at `end`: offsets before it that were not applied are gone for good
  // (compaction).
  void ReachedEnd(std::int64_t end) { position_ = std::max(position_, end); }

  // The offset of the next record, as far as this state knows.
  std::int64_t position() const { return position_; }
  // Higher than every id that a record that counts has ever named.
  SchemaId next_id() const { return SchemaId(max_id_ + 1); }

  std::shared_ptr<const StoredSchema> FindSchema(SchemaId id) const;
  // The id that this content has, under whatever subject.
  std::shared_ptr<const StoredSchema> FindContent(const std::string& content_key) const;

  // All versions of a subject in ascending order, soft-deleted ones too; empty when there is none.
  std::vector<SchemaVersion> VersionsOf(std::string_view subject) const;
  std::optional<SchemaVersion> FindVersion(std::string_view subject, std::int32_t version) const;
  // The latest that is not deleted.
  std::optional<SchemaVersion> Latest(std::string_view subject) const;
  // The number that the next version gets.
  std::int32_t NextVersion(std::string_view subject) const;

  // With at least one version that is not deleted (or any, with `deleted`), in the order of names.
  std::vector<std::string> Subjects(std::string_view prefix, bool deleted) const;
  // Where an id is used, in the order of subjects.
  std::vector<SchemaVersion> UsesOf(SchemaId id, bool deleted) const;

  // The level set for a subject itself; nullopt when there is none.
  std::optional<schema::CompatibilityLevel> SubjectLevel(std::string_view subject) const;
  // BACKWARD until it is set.
  schema::CompatibilityLevel GlobalLevel() const { return global_level_; }

  // A draft's references with -1 turned into the latest version. kInvalidSchema names the reference
  // that does not exist.
  absl::StatusOr<std::vector<Reference>> ResolveReferences(
      const std::vector<Reference>& references) const;
  // What they stand for, and what that imports in turn, each file once. kInvalidSchema: one that
  // does not exist, or two versions of one file.
  absl::StatusOr<std::vector<Import>> ResolveImports(
      const std::vector<Reference>& references) const;

 private:
  struct Version {
    SchemaId id;
    bool deleted = false;
    WallTime registered{};
  };

  Applied ApplySchema(const std::string& subject, std::int32_t version, const LogRecord& record);
  SchemaVersion Make(std::string_view subject, std::int32_t number, const Version& version) const;

  SchemaCompiler& compiler_;
  std::int64_t position_ = 0;
  std::int32_t max_id_ = 0;
  std::unordered_map<SchemaId, std::shared_ptr<const StoredSchema>> by_id_;
  std::unordered_map<std::string, SchemaId> by_content_;
  std::map<std::string, std::map<std::int32_t, Version>, std::less<>> subjects_;
  // Also of versions that are gone, so that no number is given twice.
  std::map<std::string, std::int32_t, std::less<>> last_version_;
  std::map<SchemaId, std::set<std::pair<std::string, std::int32_t>>> uses_;
  std::map<std::string, schema::CompatibilityLevel, std::less<>> levels_;
  schema::CompatibilityLevel global_level_ = schema::CompatibilityLevel::kBackward;
};

// INVALID (kInvalidSubject) for an empty name, one over 512 bytes, one that is not UTF-8 or has
// control characters, and for a context (":.name:"), which this registry does not have.
absl::Status CheckSubject(std::string_view subject);

}  // namespace tocsin::registry
