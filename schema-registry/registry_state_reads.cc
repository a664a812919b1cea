// What the state answers; how records change it is in registry_state.cc.
#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/registry_state.h"

namespace tocsin::registry {
namespace {

// The settings of all contexts.
constexpr std::string_view kGlobalName = ":.__GLOBAL:";

bool Shows(Deleted wanted, bool deleted) {
  switch (wanted) {
    case Deleted::kExclude:
      return !deleted;
    case Deleted::kInclude:
      return true;
    case Deleted::kOnly:
      return deleted;
  }
  return true;
}

bool InNamedContext(std::string_view subject) { return subject.substr(0, 2) == ":."; }

// The names whose settings hold for this one where it has none, nearest first.
std::vector<std::string> WiderNames(std::string_view name) {
  std::vector<std::string> names;
  const SubjectName parsed = NameInRecord(name);
  const std::string context = FormatSubject({parsed.context, ""});
  if (!parsed.subject.empty()) names.push_back(context);
  if (context != kGlobalName) names.emplace_back(kGlobalName);
  return names;
}

template <typename Value>
void Inherit(std::optional<Value>& field, const std::optional<Value>& from) {
  if (!field) field = from;
}

}  // namespace

std::string RegistryState::Qualified(std::string_view context, std::string_view subject) const {
  if (InNamedContext(subject)) return FormatSubject(NameInRecord(subject));
  return FormatSubject({std::string(context), std::string(subject)});
}

const RegistryState::Subject* RegistryState::Find(std::string_view subject) const {
  const auto found = subjects_.find(subject);
  return found == subjects_.end() ? nullptr : &found->second;
}

const RegistryState::Context* RegistryState::FindContext(std::string_view context) const {
  const auto found = contexts_.find(context);
  return found == contexts_.end() ? nullptr : &found->second;
}

SchemaVersion RegistryState::Make(std::string_view subject, std::int32_t number,
                                  const Version& version) const {
  return {std::string(subject),  number,        version.deleted, version.registered,
          version.registered_by, version.schema};
}

// --- schemas
// --------------------------------------------------------------------------------------

std::uint64_t RegistryState::ChangesOf(std::string_view subject) const {
  const Subject* found = Find(subject);
  return found == nullptr ? 0 : found->changes;
}

SchemaId RegistryState::NextId(std::string_view context) const {
  const Context* found = FindContext(context);
  return SchemaId(found == nullptr ? 1 : found->max_id + 1);
}

std::shared_ptr<const StoredSchema> RegistryState::FindSchema(std::string_view context,
                                                              SchemaId id) const {
  const Context* ids = FindContext(context);
  if (ids == nullptr) return nullptr;
  const auto found = ids->by_id.find(id);
  return found == ids->by_id.end() ? nullptr : found->second.schema;
}

std::optional<std::string> RegistryState::DeletedContent(std::string_view context,
                                                         SchemaId id) const {
  const Context* ids = FindContext(context);
  if (ids == nullptr) return std::nullopt;
  const auto found = ids->deleted.find(id);
  return found == ids->deleted.end() ? std::nullopt : std::optional(found->second);
}

std::shared_ptr<const StoredSchema> RegistryState::FindContent(
    std::string_view context, const std::string& content_key) const {
  const Context* ids = FindContext(context);
  if (ids == nullptr) return nullptr;
  const auto found = ids->by_content.find(content_key);
  return found == ids->by_content.end() ? nullptr : FindSchema(context, found->second);
}

std::vector<std::pair<std::string, std::shared_ptr<const StoredSchema>>> RegistryState::FindGuid(
    const schema::SchemaGuid& guid) const {
  std::vector<std::pair<std::string, std::shared_ptr<const StoredSchema>>> found;
  const auto places = by_guid_.find(guid);
  if (places == by_guid_.end()) return found;
  for (const auto& [context, id] : places->second) {
    found.emplace_back(context, FindSchema(context, id));
  }
  return found;
}

std::vector<SchemaVersion> RegistryState::UsesOf(std::string_view context, SchemaId id,
                                                 Deleted deleted) const {
  std::vector<SchemaVersion> versions;
  const Context* ids = FindContext(context);
  if (ids == nullptr) return versions;
  const auto found = ids->by_id.find(id);
  if (found == ids->by_id.end()) return versions;
  for (const auto& [subject, number] : found->second.uses) {
    auto version = FindVersion(subject, number);
    if (version && Shows(deleted, version->deleted)) versions.push_back(*std::move(version));
  }
  return versions;
}

std::vector<std::pair<std::string, SchemaId>> RegistryState::Referrers(std::string_view subject,
                                                                       std::int32_t version,
                                                                       Deleted deleted) const {
  std::vector<std::pair<std::string, SchemaId>> schemas;
  const auto found = referrers_.find({std::string(subject), version});
  if (found == referrers_.end()) return schemas;
  for (const auto& [context, id] : found->second) {
    if (!UsesOf(context, id, deleted).empty()) schemas.emplace_back(context, id);
  }
  return schemas;
}

std::vector<SchemaId> RegistryState::ReferencedBy(std::string_view subject, std::int32_t version,
                                                  Deleted deleted) const {
  std::vector<SchemaId> ids;
  for (const auto& [context, id] : Referrers(subject, version, deleted)) ids.push_back(id);
  return ids;
}

std::vector<RegistryState::Unknown> RegistryState::TakeUnknown(std::size_t max) {
  std::vector<Unknown> taken;
  while (!unknown_.empty() && taken.size() < max) {
    const auto [context, id] = std::move(unknown_.front());
    unknown_.pop_front();
    auto schema = FindSchema(context, id);
    if (schema != nullptr && schema->content_key.empty()) {
      taken.push_back({context, std::move(schema)});
    }
  }
  return taken;
}

void RegistryState::SetContentKey(std::string_view context, SchemaId id,
                                  const std::string& content_key) {
  const auto ids = contexts_.find(context);
  if (ids == contexts_.end()) return;
  const auto found = ids->second.by_id.find(id);
  if (found == ids->second.by_id.end() || !found->second.schema->content_key.empty()) return;
  const auto before = found->second.schema;
  auto known = std::make_shared<StoredSchema>(*before);
  known->content_key = content_key;
  ids->second.by_content.emplace(content_key, id);
  found->second.schema = known;
  for (const auto& [subject, number] : found->second.uses) {
    Version& version = subjects_.find(subject)->second.versions.at(number);
    if (version.schema == before) version.schema = known;
  }
}

std::size_t RegistryState::schema_count() const {
  std::size_t count = 0;
  for (const auto& [name, context] : contexts_) count += context.by_id.size();
  return count;
}

// --- subjects
// -------------------------------------------------------------------------------------

std::vector<SchemaVersion> RegistryState::VersionsOf(std::string_view subject) const {
  std::vector<SchemaVersion> versions;
  const Subject* found = Find(subject);
  if (found == nullptr) return versions;
  for (const auto& [number, version] : found->versions) {
    if (!version.gone) versions.push_back(Make(subject, number, version));
  }
  return versions;
}

std::optional<SchemaVersion> RegistryState::FindVersion(std::string_view subject,
                                                        std::int32_t number) const {
  const Subject* found = Find(subject);
  if (found == nullptr) return std::nullopt;
  const auto version = found->versions.find(number);
  if (version == found->versions.end() || version->second.gone) return std::nullopt;
  return Make(subject, number, version->second);
}

std::optional<SchemaVersion> RegistryState::Latest(std::string_view subject, bool deleted) const {
  const Subject* found = Find(subject);
  if (found == nullptr) return std::nullopt;
  for (auto at = found->versions.rbegin(); at != found->versions.rend(); ++at) {
    const Version& version = at->second;
    if (!version.gone && (deleted || !version.deleted)) return Make(subject, at->first, version);
  }
  return std::nullopt;
}

std::int32_t RegistryState::NextVersion(std::string_view subject) const {
  const Subject* found = Find(subject);
  return found == nullptr ? 1 : found->last_version + 1;
}

bool RegistryState::Exists(std::string_view subject, bool deleted) const {
  const Subject* found = Find(subject);
  if (found == nullptr) return false;
  return std::any_of(found->versions.begin(), found->versions.end(), [&](const auto& entry) {
    return !entry.second.gone && (deleted || !entry.second.deleted);
  });
}

std::vector<std::string> RegistryState::Subjects(const SubjectSelection& selection) const {
  std::vector<std::string> names;
  const auto add = [&](const std::string& prefix, bool named) {
    for (auto at = subjects_.lower_bound(prefix);
         at != subjects_.end() && at->first.compare(0, prefix.size(), prefix) == 0; ++at) {
      if (!named && InNamedContext(at->first)) continue;
      const bool live = Exists(at->first);
      const bool any = live || Exists(at->first, /*deleted=*/true);
      if (any && Shows(selection.deleted, !live)) names.push_back(at->first);
    }
  };
  std::vector<std::string> contexts;
  if (selection.context) {
    contexts.push_back(*selection.context);
  } else {
    contexts.emplace_back(kDefaultContext);
    for (const auto& [context, ids] : contexts_) {
      if (context != kDefaultContext) contexts.push_back(context);
    }
  }
  for (const std::string& context : contexts) {
    const bool named = context != kDefaultContext;
    add(FormatSubject({context, selection.prefix}), named);
  }
  return names;
}

bool RegistryState::ContextNamed(std::string_view context) const {
  const auto named = named_contexts_.find(context);
  return named != named_contexts_.end() && named->second.value;
}

bool RegistryState::ContextKnown(std::string_view context) const {
  if (context == kDefaultContext || ContextNamed(context)) return true;
  const std::string name = FormatSubject({std::string(context), ""});
  if (OwnConfig(name) || OwnMode(name)) return true;
  for (auto at = subjects_.lower_bound(name);
       at != subjects_.end() && at->first.compare(0, name.size(), name) == 0; ++at) {
    if (Exists(at->first, /*deleted=*/true)) return true;
  }
  return false;
}

std::vector<std::string> RegistryState::Contexts(std::string_view prefix) const {
  std::set<std::string> all;
  for (const auto& [context, ids] : contexts_) all.insert(context);
  for (const auto& [context, setting] : named_contexts_) all.insert(context);
  for (const auto* settings : {&configs_}) {
    for (const auto& [name, setting] : *settings) all.insert(NameInRecord(name).context);
  }
  for (const auto& [name, setting] : modes_) all.insert(NameInRecord(name).context);
  all.erase(NameInRecord(kGlobalName).context);
  std::vector<std::string> names;
  if (kDefaultContext.substr(0, prefix.size()) == prefix) names.emplace_back(kDefaultContext);
  for (const std::string& context : all) {
    if (context == kDefaultContext || context.compare(0, prefix.size(), prefix) != 0) continue;
    if (ContextKnown(context)) names.push_back(context);
  }
  return names;
}

// --- settings
// -------------------------------------------------------------------------------------

std::optional<SubjectConfig> RegistryState::OwnConfig(std::string_view name) const {
  const auto found = configs_.find(name);
  if (found == configs_.end() || found->second.value == SubjectConfig()) return std::nullopt;
  return found->second.value;
}

std::optional<Mode> RegistryState::OwnMode(std::string_view name) const {
  const auto found = modes_.find(name);
  return found == modes_.end() ? std::nullopt : found->second.value;
}

SubjectConfig RegistryState::ConfigInForce(std::string_view name) const {
  SubjectConfig config = OwnConfig(name).value_or(SubjectConfig());
  for (const std::string& wider : WiderNames(name)) {
    const SubjectConfig from = OwnConfig(wider).value_or(SubjectConfig());
    Inherit(config.level, from.level);
    Inherit(config.normalize, from.normalize);
    Inherit(config.validate_fields, from.validate_fields);
    Inherit(config.compatibility_group, from.compatibility_group);
    Inherit(config.compatibility_policy, from.compatibility_policy);
    Inherit(config.default_metadata, from.default_metadata);
    Inherit(config.override_metadata, from.override_metadata);
    Inherit(config.default_rule_set, from.default_rule_set);
    Inherit(config.override_rule_set, from.override_rule_set);
  }
  if (!config.level) config.level = schema::CompatibilityLevel::kBackward;
  return config;
}

Mode RegistryState::ModeInForce(std::string_view name) const {
  std::optional<Mode> mode = OwnMode(name);
  for (const std::string& wider : WiderNames(name)) {
    const std::optional<Mode> from = OwnMode(wider);
    if (from == Mode::kReadOnlyOverride) return *from;
    Inherit(mode, from);
  }
  return mode.value_or(Mode::kReadWrite);
}

std::vector<std::string> RegistryState::ModesIn(std::string_view context) const {
  std::vector<std::string> names;
  for (const auto& [name, mode] : modes_) {
    const SubjectName parsed = NameInRecord(name);
    if (parsed.context == context && !parsed.subject.empty() && mode.value) names.push_back(name);
  }
  return names;
}

// --- references
// -----------------------------------------------------------------------------------

absl::StatusOr<std::vector<Reference>> RegistryState::ResolveReferences(
    std::string_view context, const std::vector<Reference>& references) const {
  std::vector<Reference> resolved = references;
  for (Reference& reference : resolved) {
    const std::string subject = Qualified(context, reference.subject);
    const auto version =
        reference.version == -1 ? Latest(subject) : FindVersion(subject, reference.version);
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
  // One that is given twice is one.
  std::set<Reference> seen;
  std::erase_if(resolved,
                [&](const Reference& reference) { return !seen.insert(reference).second; });
  return resolved;
}

absl::StatusOr<std::vector<Import>> RegistryState::ResolveImports(
    std::string_view context, const std::vector<Reference>& references) const {
  std::vector<Import> imports;
  std::map<std::string, std::size_t, std::less<>> by_name;
  // With the context that the reference is seen from.
  std::vector<std::pair<std::string, Reference>> waiting;
  for (auto at = references.rbegin(); at != references.rend(); ++at) {
    waiting.emplace_back(context, *at);
  }
  while (!waiting.empty()) {
    const auto [from, reference] = std::move(waiting.back());
    waiting.pop_back();
    const std::string subject = Qualified(from, reference.subject);
    const auto version = FindVersion(subject, reference.version);
    if (!version) {
      return MakeError(ErrorCode::kInvalidSchema,
                       Concat("the reference \"", reference.name, "\" names subject '", subject,
                              "' version ", reference.version, ", which does not exist"));
    }
    const auto [seen, is_new] = by_name.emplace(reference.name, imports.size());
    if (!is_new) {
      const Import& first = imports[seen->second];
      if (first.schema->guid == version->schema->guid) continue;
      return MakeError(
          ErrorCode::kInvalidSchema,
          Concat("\"", reference.name, "\" is imported in two versions: ", first.subject,
                 " version ", first.version, " and ", subject, " version ", reference.version,
                 "; let all references name the same one"));
    }
    imports.push_back({reference.name, subject, reference.version, version->schema});
    const std::vector<Reference>& further = version->schema->references;
    const std::string next = NameInRecord(subject).context;
    for (auto at = further.rbegin(); at != further.rend(); ++at) waiting.emplace_back(next, *at);
  }
  return imports;
}

std::vector<RegistryState::Forgettable> RegistryState::Forgettables(std::size_t max) const {
  std::vector<Forgettable> list;
  for (const auto& [name, number] : forgettable_) {
    if (list.size() == max) break;
    const Subject* subject = Find(name);
    const SchemaId id = subject->versions.at(number).id;
    list.push_back({name, number, id, DeletedContent(NameInRecord(name).context, id).value_or("")});
  }
  return list;
}

}  // namespace tocsin::registry
