#include "schema-registry/schema_compiler.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"

namespace tocsin::registry {
namespace {

std::vector<schema::SourceFile> SourcesOf(const std::vector<Import>& imports) {
  std::vector<schema::SourceFile> sources;
  sources.reserve(imports.size());
  for (const Import& import : imports) sources.push_back({import.name, import.schema->text});
  return sources;
}

absl::Status InvalidSchema(const absl::Status& why) {
  return MakeError(ErrorCode::kInvalidSchema, Concat("the schema is not valid:\n", Message(why)));
}

}  // namespace

absl::StatusOr<CompiledDraft> SchemaCompiler::Compile(std::string_view subject, const Draft& draft,
                                                      const std::vector<Reference>& references,
                                                      const std::vector<Import>& imports) const {
  if (draft.type != kProtobuf) {
    return MakeError(
        ErrorCode::kInvalidSchema,
        Concat("Tocsin's registry takes PROTOBUF schemas only, and this one is ",
               draft.type.substr(0, 40),
               draft.type == kAvro ? " (which is meant where no schemaType is given)" : "",
               ": give \"schemaType\": \"PROTOBUF\" and a .proto text"));
  }
  if (draft.text.size() > limits_.max_text_bytes) {
    return MakeError(ErrorCode::kTooLarge,
                     Concat("the schema is ", draft.text.size(), " bytes, more than the limit of ",
                            limits_.max_text_bytes));
  }
  CompiledDraft compiled;
  compiled.text = draft.text;
  const std::vector<schema::SourceFile> sources = SourcesOf(imports);
  // A serialized descriptor begins with its name or its package; a .proto text always has a ';' or
  // a blank, which base64 never has.
  if (const auto bytes = Base64Decode(draft.text);
      bytes.ok() && !bytes->empty() && (bytes->front() == '\x0a' || bytes->front() == '\x12')) {
    auto text = schema::TextOfSerialized(*bytes, sources, limits_);
    if (!text.ok()) return InvalidSchema(text.status());
    compiled.text = *std::move(text);
  }
  auto schema =
      schema::CompiledSchema::Compile({std::string(subject), compiled.text}, sources, limits_);
  if (!schema.ok()) return InvalidSchema(schema.status());
  compiled.schema = *std::move(schema);
  compiled.content_key = ContentKey(kProtobuf, compiled.schema->fingerprint(), references);
  return compiled;
}

absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> SchemaCompiler::Compile(
    const StoredSchema& stored, const std::vector<Import>& imports) {
  if (stored.type != kProtobuf) {
    return MakeError(ErrorCode::kInvalidSchema,
                     Concat("schema ", stored.id.value(), " is of type ", stored.type,
                            ", which this registry keeps but does not read"));
  }
  {
    MutexLock lock(mutex_);
    const auto found = by_id_.find(stored.id);
    if (found != by_id_.end()) {
      kept_.splice(kept_.begin(), kept_, found->second);
      return found->second->second;
    }
  }
  auto schema = schema::CompiledSchema::Compile({Concat("schema ", stored.id.value()), stored.text},
                                                SourcesOf(imports), limits_);
  if (!schema.ok()) return InvalidSchema(schema.status());
  MutexLock lock(mutex_);
  if (!by_id_.contains(stored.id)) {
    kept_.emplace_front(stored.id, *schema);
    by_id_.emplace(stored.id, kept_.begin());
    while (kept_.size() > max_kept_) {
      by_id_.erase(kept_.back().first);
      kept_.pop_back();
    }
  }
  return schema;
}

std::string ContentKey(std::string_view type, std::string_view fingerprint,
                       std::vector<Reference> references) {
  std::sort(references.begin(), references.end());
  std::vector<std::string> parts = {std::string(type), std::string(fingerprint)};
  for (const Reference& reference : references) {
    parts.push_back(reference.name);
    parts.push_back(reference.subject);
    parts.push_back(std::to_string(reference.version));
  }
  const std::vector<std::string_view> views(parts.begin(), parts.end());
  return StableId(views);
}

}  // namespace tocsin::registry
