#include "schema-registry/registry_state.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lib/base/status.h"
#include "lib/schema/wire_validator.h"
#include "schema-registry/records.h"

namespace tocsin::registry {
namespace {

constexpr std::size_t kMaxSubjectBytes = 512;

}  // namespace

Applied RegistryState::Apply(const LogRecord& record) {
  position_ = std::max(position_, record.offset + 1);
  if (!record.key) return Applied::kMalformed;
  const auto key = DecodeKey(*record.key);
  if (!key.ok()) return Applied::kMalformed;
  if (key->sequence && key->sequence->offset != record.offset) return Applied::kLostRace;
  switch (key->type) {
    case KeyType::kSchema:
      return ApplySchema(*key->subject, key->version, record);
    case KeyType::kConfig: {
      if (!record.value) {
        if (key->subject) {
          levels_.erase(*key->subject);
        } else {
          global_level_ = schema::CompatibilityLevel::kBackward;
        }
        return Applied::kCounted;
      }
      const auto name = DecodeConfigValue(*record.value);
      if (!name.ok()) return Applied::kMalformed;
      const auto level = schema::ParseLevel(*name);
      if (!level.ok()) return Applied::kMalformed;
      if (key->subject) {
        levels_[*key->subject] = *level;
      } else {
        global_level_ = *level;
      }
      return Applied::kCounted;
    }
    case KeyType::kDeleteSubject: {
      if (!key->subject || !record.value) return Applied::kMalformed;
      const auto last = DecodeDeleteSubjectValue(*record.value);
      if (!last.ok()) return Applied::kMalformed;
      const auto subject = subjects_.find(*key->subject);
      if (subject == subjects_.end()) return Applied::kCounted;
      for (auto& [number, version] : subject->second) {
        if (number <= *last) version.deleted = true;
      }
      return Applied::kCounted;
    }
    case KeyType::kMode:
    case KeyType::kClearSubject:
    case KeyType::kNoop:
    case KeyType::kOther:
      return Applied::kCounted;
  }
  return Applied::kMalformed;
}

Applied RegistryState::ApplySchema(const std::string& subject, std::int32_t number,
                                   const LogRecord& record) {
  if (!record.value) {
    // Deleted for good. The id stays known, so that it is never given to another schema.
    const auto found = subjects_.find(subject);
    if (found == subjects_.end()) return Applied::kCounted;
    const auto version = found->second.find(number);
    if (version == found->second.end()) return Applied::kCounted;
    uses_[version->second.id].erase({subject, number});
    found->second.erase(version);
    if (found->second.empty()) subjects_.erase(found);
    return Applied::kCounted;
  }
  auto value = DecodeSchemaValue(*record.value);
  if (!value.ok() || value->subject != subject || value->version != number) {
    return Applied::kMalformed;
  }
  // Nothing could follow the largest number.
  constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
  if (value->id.value() == kLast || number == kLast) return Applied::kMalformed;
  max_id_ = std::max(max_id_, value->id.value());
  std::int32_t& last = last_version_[subject];
  last = std::max(last, number);

  auto& stored = by_id_[value->id];
  if (stored == nullptr) {
    auto fresh = std::make_shared<StoredSchema>();
    fresh->id = value->id;
    fresh->type = std::move(value->type);
    fresh->text = std::move(value->text);
    fresh->references = std::move(value->references);
    std::string fingerprint = fresh->text;
    const auto imports = ResolveImports(fresh->references);
    if (fresh->type == kProtobuf && imports.ok()) {
      const auto compiled = compiler_.Compile(*fresh, *imports);
      if (compiled.ok()) fingerprint = (*compiled)->fingerprint();
    }
    fresh->content_key = ContentKey(fresh->type, fingerprint, fresh->references);
    by_content_.emplace(fresh->content_key, fresh->id);
    stored = std::move(fresh);
  }
  Version& version = subjects_[subject][number];
  if (version.id != value->id) uses_[version.id].erase({subject, number});
  version = {value->id, value->deleted, record.timestamp};
  uses_[value->id].insert({subject, number});
  return Applied::kCounted;
}

SchemaVersion RegistryState::Make(std::string_view subject, std::int32_t number,
                                  const Version& version) const {
  return {std::string(subject), number, version.deleted, version.registered, by_id_.at(version.id)};
}

std::shared_ptr<const StoredSchema> RegistryState::FindSchema(SchemaId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::shared_ptr<const StoredSchema> RegistryState::FindContent(
    const std::string& content_key) const {
  const auto found = by_content_.find(content_key);
  return found == by_content_.end() ? nullptr : FindSchema(found->second);
}

std::vector<SchemaVersion> RegistryState::VersionsOf(std::string_view subject) const {
  std::vector<SchemaVersion> versions;
  const auto found = subjects_.find(subject);
  if (found == subjects_.end()) return versions;
  for (const auto& [number, version] : found->second) {
    versions.push_back(Make(subject, number, version));
  }
  return versions;
}

std::optional<SchemaVersion> RegistryState::FindVersion(std::string_view subject,
                                                        std::int32_t number) const {
  const auto found = subjects_.find(subject);
  if (found == subjects_.end()) return std::nullopt;
  const auto version = found->second.find(number);
  if (version == found->second.end()) return std::nullopt;
  return Make(subject, number, version->second);
}

std::optional<SchemaVersion> RegistryState::Latest(std::string_view subject) const {
  const auto found = subjects_.find(subject);
  if (found == subjects_.end()) return std::nullopt;
  for (auto version = found->second.rbegin(); version != found->second.rend(); ++version) {
    if (!version->second.deleted) return Make(subject, version->first, version->second);
  }
  return std::nullopt;
}

std::int32_t RegistryState::NextVersion(std::string_view subject) const {
  const auto found = last_version_.find(subject);
  return found == last_version_.end() ? 1 : found->second + 1;
}

std::vector<std::string> RegistryState::Subjects(std::string_view prefix, bool deleted) const {
  std::vector<std::string> names;
  for (auto subject = subjects_.lower_bound(prefix);
       subject != subjects_.end() && subject->first.compare(0, prefix.size(), prefix) == 0;
       ++subject) {
    const bool alive = std::any_of(subject->second.begin(), subject->second.end(),
                                   [](const auto& entry) { return !entry.second.deleted; });
    if (alive || deleted) names.push_back(subject->first);
  }
  return names;
}

std::vector<SchemaVersion> RegistryState::UsesOf(SchemaId id, bool deleted) const {
  std::vector<SchemaVersion> versions;
  const auto found = uses_.find(id);
  if (found == uses_.end()) return versions;
  for (const auto& [subject, number] : found->second) {
    auto version = FindVersion(subject, number);
    if (version && (deleted || !version->deleted)) versions.push_back(*std::move(version));
  }
  return versions;
}

std::optional<schema::CompatibilityLevel> RegistryState::SubjectLevel(
    std::string_view subject) const {
  const auto found = levels_.find(subject);
  if (found == levels_.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::vector<Reference>> RegistryState::ResolveReferences(
    const std::vector<Reference>& references) const {
  std::vector<Reference> resolved = references;
  for (Reference& reference : resolved) {
    const auto version = reference.version == -1
                             ? Latest(reference.subject)
                             : FindVersion(reference.subject, reference.version);
    if (!version) {
      return MakeError(
          ErrorCode::kInvalidSchema,
          Concat("the reference \"", reference.name, "\" names subject '", reference.subject,
                 reference.version == -1
                     ? "', which does not exist"
                     : Concat("' version ", reference.version, ", which does not exist"),
                 ": register it first"));
    }
    reference.version = version->version;
  }
  return resolved;
}

absl::StatusOr<std::vector<Import>> RegistryState::ResolveImports(
    const std::vector<Reference>& references) const {
  std::vector<Import> imports;
  std::map<std::string, std::size_t, std::less<>> by_name;
  std::vector<Reference> waiting(references.rbegin(), references.rend());
  while (!waiting.empty()) {
    const Reference reference = std::move(waiting.back());
    waiting.pop_back();
    const auto version = FindVersion(reference.subject, reference.version);
    if (!version) {
      return MakeError(
          ErrorCode::kInvalidSchema,
          Concat("the reference \"", reference.name, "\" names subject '", reference.subject,
                 "' version ", reference.version, ", which does not exist"));
    }
    const auto [seen, is_new] = by_name.emplace(reference.name, imports.size());
    if (!is_new) {
      const Import& first = imports[seen->second];
      if (first.schema->id == version->schema->id) continue;
      return MakeError(
          ErrorCode::kInvalidSchema,
          Concat("\"", reference.name, "\" is imported in two versions: ", first.subject,
                 " version ", first.version, " and ", reference.subject, " version ",
                 reference.version, "; let all references name the same one"));
    }
    imports.push_back({reference.name, reference.subject, reference.version, version->schema});
    const std::vector<Reference>& further = version->schema->references;
    waiting.insert(waiting.end(), further.rbegin(), further.rend());
  }
  return imports;
}

absl::Status CheckSubject(std::string_view subject) {
  if (subject.empty()) {
    return MakeError(ErrorCode::kInvalidSubject, "the subject's name is empty");
  }
  if (subject.size() > kMaxSubjectBytes) {
    return MakeError(ErrorCode::kInvalidSubject,
                     Concat("the subject's name is longer than ", kMaxSubjectBytes, " bytes"));
  }
  // JSON could not hold it: the record would be about another subject.
  if (!schema::IsValidUtf8(subject)) {
    return MakeError(ErrorCode::kInvalidSubject, "the subject's name is not valid UTF-8");
  }
  if (std::any_of(subject.begin(), subject.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return MakeError(ErrorCode::kInvalidSubject, "the subject's name holds control characters");
  }
  if (subject.substr(0, 2) == ":.") {
    return MakeError(ErrorCode::kInvalidSubject,
                     Concat("'", subject,
                            "' names a context, and this registry has none: leave the ':.context:' "
                            "out"));
  }
  return absl::OkStatus();
}

}  // namespace tocsin::registry
