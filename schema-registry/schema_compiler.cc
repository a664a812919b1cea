#include "schema-registry/schema_compiler.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/schema/guid.h"
#include "schema-registry/schema_metadata.h"

namespace tocsin::registry {
namespace {

// Grows with every change to what a key is made of.
constexpr std::string_view kKeyVersion = "1:";

std::vector<schema::SourceFile> SourcesOf(const std::vector<Import>& imports) {
  std::vector<schema::SourceFile> sources;
  sources.reserve(imports.size());
  for (const Import& import : imports) sources.push_back({import.name, *import.schema->text});
  return sources;
}

absl::Status InvalidSchema(const absl::Status& why) {
  return MakeError(ErrorCode::kInvalidSchema, Concat("the schema is not valid:\n", Message(why)));
}

}  // namespace

absl::StatusOr<CompiledDraft> SchemaCompiler::Compile(std::string_view subject, const Draft& draft,
                                                      std::vector<Reference> references,
                                                      const std::vector<Import>& imports,
                                                      bool normalize) const {
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
  compiled.references = std::move(references);
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
  if (!draft.tags.empty()) {
    auto text = schema::WithTags(*compiled.schema, draft.tags, sources, limits_);
    if (!text.ok()) return InvalidSchema(text.status());
    compiled.text = *std::move(text);
    auto tagged =
        schema::CompiledSchema::Compile({std::string(subject), compiled.text}, sources, limits_);
    if (!tagged.ok()) return InvalidSchema(tagged.status());
    compiled.schema = *std::move(tagged);
  }
  if (!normalize) return compiled;
  return Normalize(subject, std::move(compiled), sources);
}

absl::StatusOr<CompiledDraft> SchemaCompiler::Normalize(
    std::string_view subject, CompiledDraft compiled,
    const std::vector<schema::SourceFile>& sources) const {
  CompiledDraft normal;
  normal.text = schema::NormalizedText(*compiled.schema);
  normal.references = std::move(compiled.references);
  std::sort(normal.references.begin(), normal.references.end());
  auto schema =
      schema::CompiledSchema::Compile({std::string(subject), normal.text}, sources, limits_);
  if (!schema.ok()) return InvalidSchema(schema.status());
  normal.schema = *std::move(schema);
  return normal;
}

absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> SchemaCompiler::Compile(
    std::string_view context, const StoredSchema& stored, const std::vector<Import>& imports) {
  if (stored.type != kProtobuf) {
    return MakeError(ErrorCode::kInvalidSchema,
                     Concat("schema ", stored.id.value(), " is of type ", stored.type,
                            ", which this registry keeps but does not read"));
  }
  const std::pair<std::string, SchemaId> id(context, stored.id);
  {
    MutexLock lock(mutex_);
    const auto found = by_id_.find(id);
    if (found != by_id_.end()) {
      kept_.splice(kept_.begin(), kept_, found->second);
      // Another registry may have given one id to two texts.
      if (found->second->schema->text() == *stored.text) return found->second->schema;
    }
  }
  auto schema = schema::CompiledSchema::Compile(
      {Concat("schema ", stored.id.value()), *stored.text}, SourcesOf(imports), limits_);
  if (!schema.ok()) return InvalidSchema(schema.status());
  MutexLock lock(mutex_);
  if (!by_id_.contains(id) && (*schema)->estimated_bytes() <= max_kept_bytes_ / 4) {
    kept_.push_front({id, *schema});
    by_id_.emplace(id, kept_.begin());
    kept_bytes_ += (*schema)->estimated_bytes();
    while (kept_bytes_ > max_kept_bytes_) {
      kept_bytes_ -= kept_.back().schema->estimated_bytes();
      by_id_.erase(kept_.back().id);
      kept_.pop_back();
    }
  }
  return schema;
}

std::size_t SchemaCompiler::kept_bytes() const {
  MutexLock lock(mutex_);
  return kept_bytes_;
}

absl::StatusOr<std::string> SchemaCompiler::Serialized(const schema::CompiledSchema& schema,
                                                       bool ignore_extensions) {
  std::string bytes = schema.Serialized();
  if (!ignore_extensions) return bytes;
  google::protobuf::FileDescriptorProto file;
  if (!file.ParseFromString(bytes)) return Internal("a descriptor does not parse");
  // Custom options are not known to the messages of descriptor.proto.
  file.DiscardUnknownFields();
  return file.SerializeAsString();
}

absl::StatusOr<std::string> SchemaCompiler::KeyOf(std::string_view context,
                                                  const StoredSchema& stored,
                                                  const std::vector<Import>& imports,
                                                  bool normalize) {
  if (!normalize && !stored.content_key.empty()) return stored.content_key;
  if (stored.type != kProtobuf) {
    return ContentKey(stored.type, *stored.text, stored.references, stored.metadata,
                      stored.rule_set);
  }
  TOCSIN_ASSIGN_OR_RETURN(auto schema, Compile(context, stored, imports));
  if (normalize) {
    CompiledDraft compiled{*stored.text, stored.references, std::move(schema)};
    TOCSIN_ASSIGN_OR_RETURN(compiled,
                            Normalize("normal form", std::move(compiled), SourcesOf(imports)));
    schema = std::move(compiled.schema);
  }
  return ContentKey(stored.type, schema->fingerprint(), stored.references, stored.metadata,
                    stored.rule_set);
}

std::string ContentKey(std::string_view type, std::string_view fingerprint,
                       std::vector<Reference> references, std::string_view metadata,
                       std::string_view rule_set) {
  std::sort(references.begin(), references.end());
  std::vector<std::string> parts = {std::string(type), std::string(fingerprint),
                                    CanonicalJson(metadata), CanonicalJson(rule_set)};
  for (const Reference& reference : references) {
    parts.push_back(reference.name);
    parts.push_back(reference.subject);
    parts.push_back(std::to_string(reference.version));
  }
  const std::vector<std::string_view> views(parts.begin(), parts.end());
  return Concat(kKeyVersion, StableId(views));
}

schema::SchemaGuid GuidOf(std::string_view text, const std::vector<Reference>& references,
                          std::string_view metadata, std::string_view rule_set) {
  std::vector<schema::GuidReference> hashed;
  hashed.reserve(references.size());
  for (const Reference& reference : references) {
    hashed.push_back({reference.name, reference.subject, reference.version});
  }
  return schema::GuidOf(text, hashed, HashedMetadata(metadata), HashedRuleSet(rule_set));
}

bool IsCurrentContentKey(std::string_view key) {
  return key.substr(0, kKeyVersion.size()) == kKeyVersion;
}

}  // namespace tocsin::registry
