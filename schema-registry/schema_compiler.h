// Turns drafts and stored schemas into descriptors, and remembers the latter.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
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
  std::shared_ptr<const schema::CompiledSchema> schema;
  std::string content_key;
};

// Thread-safe.
class SchemaCompiler {
 public:
  // At most `max_kept` compiled schemas are remembered, the least recently used go first.
  SchemaCompiler(schema::CompileLimits limits, std::size_t max_kept)
      : limits_(limits), max_kept_(max_kept) {}

  // `subject` names the file in messages. kInvalidSchema with positions; kTooLarge. `references`
  // are the draft's with their versions resolved, `imports` what they stand for, transitively.
  absl::StatusOr<CompiledDraft> Compile(std::string_view subject, const Draft& draft,
                                        const std::vector<Reference>& references,
                                        const std::vector<Import>& imports) const;

  absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> Compile(
      const StoredSchema& stored, const std::vector<Import>& imports);

 private:
  using Entry = std::pair<SchemaId, std::shared_ptr<const schema::CompiledSchema>>;

  const schema::CompileLimits limits_;
  const std::size_t max_kept_;
  Mutex mutex_;
  std::list<Entry> kept_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<SchemaId, std::list<Entry>::iterator> by_id_ ABSL_GUARDED_BY(mutex_);
};

// Equal for schemas that mean the same and import the same versions: two drafts with one key get
// one id. `fingerprint` is CompiledSchema's, or the text where it cannot be compiled.
std::string ContentKey(std::string_view type, std::string_view fingerprint,
                       std::vector<Reference> references);

}  // namespace tocsin::registry
