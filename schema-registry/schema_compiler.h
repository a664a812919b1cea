// Turns drafts and stored schemas into descriptors, and remembers the latter.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/schema/compiled_schema.h"
#include "schema-registry/model.h"

namespace tocsin::registry {

struct CompiledDraft {
  // The draft as it will be stored: always .proto text.
  std::string text;
  // With the versions that are meant; sorted where the draft was normalized.
  std::vector<Reference> references;
  std::shared_ptr<const schema::CompiledSchema> schema;
};

// Thread-safe.
class SchemaCompiler {
 public:
  // Compiled schemas are remembered up to so many bytes, as estimated; the least recently used go
  // first. One that alone takes more than a quarter of that is not.
  SchemaCompiler(schema::CompileLimits limits, std::size_t max_kept_bytes)
      : limits_(limits), max_kept_bytes_(max_kept_bytes) {}

  // `subject` names the file in messages. kInvalidSchema with positions; kTooLarge. `references`
  // are the draft's with their versions resolved, `imports` what they stand for, transitively.
  absl::StatusOr<CompiledDraft> Compile(std::string_view subject, const Draft& draft,
                                        std::vector<Reference> references,
                                        const std::vector<Import>& imports, bool normalize) const;

  // `context` is the one that gave it its id.
  absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> Compile(
      std::string_view context, const StoredSchema& stored, const std::vector<Import>& imports);

  // A serialized FileDescriptorProto; without options that are extensions, where wanted.
  static absl::StatusOr<std::string> Serialized(const schema::CompiledSchema& schema,
                                                bool ignore_extensions);

  std::size_t kept_bytes() const;

  // The key that the stored schema has, or would have if it had been registered in its normal form.
  absl::StatusOr<std::string> KeyOf(std::string_view context, const StoredSchema& stored,
                                    const std::vector<Import>& imports, bool normalize);

 private:
  struct Kept {
    std::pair<std::string, SchemaId> id;
    std::shared_ptr<const schema::CompiledSchema> schema;
  };

  absl::StatusOr<CompiledDraft> Normalize(std::string_view subject, CompiledDraft compiled,
                                          const std::vector<schema::SourceFile>& sources) const;

  const schema::CompileLimits limits_;
  const std::size_t max_kept_bytes_;
  mutable Mutex mutex_;
  std::size_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Kept> kept_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, SchemaId>, std::list<Kept>::iterator> by_id_
      ABSL_GUARDED_BY(mutex_);
};

// Equal for schemas that mean the same and import the same versions, with the same metadata and
// rules: two drafts with one key get one id. `fingerprint` is CompiledSchema's, or the text where
// the registry does not read the type.
std::string ContentKey(std::string_view type, std::string_view fingerprint,
                       std::vector<Reference> references, std::string_view metadata,
                       std::string_view rule_set);

// Of the content, as Confluent's registry computes it.
schema::SchemaGuid GuidOf(std::string_view text, const std::vector<Reference>& references,
                          std::string_view metadata, std::string_view rule_set);

// Was this key made by this version of the computation? Others are computed anew.
bool IsCurrentContentKey(std::string_view key);

}  // namespace tocsin::registry
