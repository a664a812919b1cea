// What the registry answers. Whatever can change is answered after reading to the end of the log.
#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/schema_metadata.h"

namespace tocsin::registry {
namespace {

bool Always(const RegistryState&) { return true; }

template <typename List>
List Cut(List list, const Page& page) {
  const auto size = static_cast<std::int64_t>(list.size());
  const std::int64_t begin = std::clamp<std::int64_t>(page.offset, 0, size);
  const std::int64_t count = page.limit < 0 ? size - begin : std::min(page.limit, size - begin);
  list.erase(list.begin() + begin + count, list.end());
  list.erase(list.begin(), list.begin() + begin);
  return list;
}

absl::StatusOr<SubjectSelection> Select(const SubjectFilter& filter) {
  if (filter.all_contexts) return SubjectSelection{std::nullopt, filter.prefix, filter.deleted};
  // A prefix may end within the name of the context: then it selects nothing.
  TOCSIN_ASSIGN_OR_RETURN(SubjectName parsed, ParseSubject(filter.prefix));
  return SubjectSelection{std::move(parsed.context), std::move(parsed.subject), filter.deleted};
}

absl::StatusOr<std::string> ContextOf(std::string_view subject) {
  TOCSIN_ASSIGN_OR_RETURN(SubjectName parsed, ParseSubject(subject));
  return std::move(parsed.context);
}

bool Shows(Deleted wanted, bool deleted) {
  return wanted == Deleted::kInclude || (wanted == Deleted::kOnly) == deleted;
}

}  // namespace

// --- schemas
// --------------------------------------------------------------------------------------

std::shared_ptr<const StoredSchema> Registry::FindSchema(SchemaId id,
                                                         std::string_view context) const {
  MutexLock lock(mutex_);
  return state_.FindSchema(context, id);
}

absl::StatusOr<WithImports> Registry::GetSchema(SchemaId id, std::string_view subject) {
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName wanted, ParseSubject(subject));
  std::shared_ptr<const StoredSchema> schema;
  std::string context;
  const auto find = [&] {
    MutexLock lock(mutex_);
    context = wanted.context;
    schema = state_.FindSchema(context, id);
    if (schema != nullptr || wanted.subject.empty() || subject.substr(0, 2) == ":.") return;
    for (const std::string& each : state_.Contexts("")) {
      const auto uses = state_.UsesOf(each, id, Deleted::kInclude);
      const std::string name = FormatSubject({each, wanted.subject});
      if (std::any_of(uses.begin(), uses.end(),
                      [&](const SchemaVersion& use) { return use.subject == name; })) {
        context = each;
        schema = state_.FindSchema(each, id);
        return;
      }
    }
  };
  find();
  if (schema == nullptr) {
    TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
    find();
  }
  if (schema == nullptr) return NoSchema(id);
  TOCSIN_ASSIGN_OR_RETURN(std::vector<Import> imports, ImportsOf(*schema, context));
  return WithImports{std::move(schema), std::move(imports)};
}

absl::StatusOr<SchemaId> Registry::MaxId(std::string_view context) {
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  MutexLock lock(mutex_);
  return SchemaId(state_.NextId(context).value() - 1);
}

absl::StatusOr<std::shared_ptr<const StoredSchema>> Registry::GetByGuid(
    const schema::SchemaGuid& guid) {
  const auto find = [&]() -> std::shared_ptr<const StoredSchema> {
    MutexLock lock(mutex_);
    const auto found = state_.FindGuid(guid);
    return found.empty() ? nullptr : found.front().second;
  };
  auto schema = find();
  if (schema == nullptr) {
    TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
    schema = find();
  }
  if (schema == nullptr) {
    return MakeError(ErrorCode::kSchemaNotFound,
                     Concat("no schema has the GUID ", schema::FormatGuid(guid)));
  }
  return schema;
}

absl::StatusOr<std::vector<ContextId>> Registry::IdsOfGuid(const schema::SchemaGuid& guid) {
  TOCSIN_RETURN_IF_ERROR(
      Refresh([&](const RegistryState& state) { return !state.FindGuid(guid).empty(); }));
  std::vector<ContextId> ids;
  MutexLock lock(mutex_);
  for (const auto& [context, schema] : state_.FindGuid(guid)) ids.push_back({context, schema->id});
  if (ids.empty()) return NoSchema(guid);
  return ids;
}

absl::StatusOr<std::vector<Import>> Registry::ImportsOf(const StoredSchema& schema,
                                                        std::string_view context) {
  MutexLock lock(mutex_);
  return state_.ResolveImports(context, schema.references);
}

absl::StatusOr<std::string> Registry::Serialized(const StoredSchema& schema,
                                                 std::string_view context, bool ignore_extensions) {
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<Import> imports, ImportsOf(schema, context));
  TOCSIN_ASSIGN_OR_RETURN(const CompileTurns::Turn turn, turns_.Take(schema.text->size()));
  TOCSIN_ASSIGN_OR_RETURN(const auto compiled, compiler_.Compile(context, schema, imports));
  return compiler_.Serialized(*compiled, ignore_extensions);
}

absl::StatusOr<std::vector<SchemaVersion>> Registry::UsesOf(SchemaId id, std::string_view subject,
                                                            Deleted deleted, Page page) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string context, ContextOf(subject));
  TOCSIN_RETURN_IF_ERROR(Refresh(
      [&](const RegistryState& state) { return state.FindSchema(context, id) != nullptr; }));
  MutexLock lock(mutex_);
  if (state_.FindSchema(context, id) == nullptr) return NoSchema(id);
  return Cut(state_.UsesOf(context, id, deleted), page);
}

// --- subjects
// -------------------------------------------------------------------------------------

absl::StatusOr<SchemaVersion> Registry::GetVersion(std::string_view subject,
                                                   std::optional<std::int32_t> version,
                                                   bool deleted) {
  const auto find = [&](const RegistryState& state) -> absl::StatusOr<SchemaVersion> {
    TOCSIN_ASSIGN_OR_RETURN(const Target target, Resolve(state, subject));
    if (!state.Exists(target.name, deleted)) return NoSubject(target.name);
    auto at =
        version ? state.FindVersion(target.name, *version) : state.Latest(target.name, deleted);
    if (!at || (at->deleted && !deleted)) return NoVersion(target.name, version.value_or(-1));
    return *std::move(at);
  };
  TOCSIN_RETURN_IF_ERROR(Refresh([&](const RegistryState& state) { return find(state).ok(); }));
  MutexLock lock(mutex_);
  return find(state_);
}

absl::StatusOr<SchemaVersion> Registry::LatestWithMetadata(
    std::string_view subject, const std::map<std::string, std::string>& properties, bool deleted) {
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  std::vector<SchemaVersion> versions;
  std::string name;
  {
    MutexLock lock(mutex_);
    TOCSIN_ASSIGN_OR_RETURN(const Target target, Resolve(state_, subject));
    name = target.name;
    if (!state_.Exists(name, deleted)) return NoSubject(name);
    versions = state_.VersionsOf(name);
  }
  for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
    if (version->deleted && !deleted) continue;
    const auto own = PropertiesOf(version->schema->metadata);
    if (std::all_of(properties.begin(), properties.end(), [&](const auto& wanted) {
          const auto found = own.find(wanted.first);
          return found != own.end() && found->second == wanted.second;
        })) {
      return std::move(*version);
    }
  }
  return MakeError(ErrorCode::kSchemaNotFound,
                   Concat("subject '", name, "' has no version whose metadata say that"));
}

absl::StatusOr<std::vector<std::string>> Registry::Subjects(const SubjectFilter& filter,
                                                            Page page) {
  TOCSIN_ASSIGN_OR_RETURN(const SubjectSelection selection, Select(filter));
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  MutexLock lock(mutex_);
  return Cut(state_.Subjects(selection), page);
}

absl::StatusOr<std::vector<SchemaVersion>> Registry::Schemas(const SubjectFilter& filter,
                                                             bool latest_only, Page page) {
  TOCSIN_ASSIGN_OR_RETURN(SubjectSelection selection, Select(filter));
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  std::vector<SchemaVersion> schemas;
  // Of single versions, not of subjects.
  const Deleted deleted =
      std::exchange(selection.deleted,
                    filter.deleted == Deleted::kExclude ? Deleted::kExclude : Deleted::kInclude);
  std::int64_t skip = std::max<std::int64_t>(page.offset, 0);
  MutexLock lock(mutex_);
  for (const std::string& name : state_.Subjects(selection)) {
    std::vector<SchemaVersion> versions = state_.VersionsOf(name);
    std::erase_if(versions,
                  [&](const SchemaVersion& each) { return !Shows(deleted, each.deleted); });
    if (versions.empty()) continue;
    if (latest_only) versions.erase(versions.begin(), versions.end() - 1);
    for (SchemaVersion& version : versions) {
      if (skip-- > 0) continue;
      if (page.limit >= 0 && static_cast<std::int64_t>(schemas.size()) >= page.limit) {
        return schemas;
      }
      schemas.push_back(std::move(version));
    }
  }
  return schemas;
}

absl::StatusOr<std::vector<std::int32_t>> Registry::Versions(std::string_view subject,
                                                             Deleted deleted, Page page) {
  const auto list = [&](const RegistryState& state) -> absl::StatusOr<std::vector<std::int32_t>> {
    TOCSIN_ASSIGN_OR_RETURN(const Target target, Resolve(state, subject));
    if (!state.Exists(target.name, deleted != Deleted::kExclude)) return NoSubject(target.name);
    std::vector<std::int32_t> numbers;
    for (const SchemaVersion& version : state.VersionsOf(target.name)) {
      if (Shows(deleted, version.deleted)) numbers.push_back(version.version);
    }
    return numbers;
  };
  TOCSIN_RETURN_IF_ERROR(Refresh([&](const RegistryState& state) { return list(state).ok(); }));
  MutexLock lock(mutex_);
  TOCSIN_ASSIGN_OR_RETURN(std::vector<std::int32_t> numbers, list(state_));
  return Cut(std::move(numbers), page);
}

absl::StatusOr<std::vector<SchemaId>> Registry::ReferencedBy(std::string_view subject,
                                                             std::optional<std::int32_t> version,
                                                             Deleted deleted, Page page) {
  TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion at,
                          GetVersion(subject, version, deleted != Deleted::kExclude));
  MutexLock lock(mutex_);
  return Cut(state_.ReferencedBy(at.subject, at.version, deleted), page);
}

absl::StatusOr<std::vector<std::string>> Registry::Contexts(std::string_view prefix, Page page) {
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  MutexLock lock(mutex_);
  return Cut(state_.Contexts(prefix), page);
}

// --- settings
// -------------------------------------------------------------------------------------

absl::StatusOr<SubjectConfig> Registry::GetConfig(std::optional<std::string_view> subject,
                                                  bool or_default) {
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName parsed, ParseSubject(subject.value_or("")));
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  const std::string name = FormatSubject(parsed);
  MutexLock lock(mutex_);
  if (or_default || name.empty()) return state_.ConfigInForce(name);
  auto own = state_.OwnConfig(name);
  if (own) return *std::move(own);
  return MakeError(ErrorCode::kNoSubjectConfig,
                   Concat("subject '", name, "' has no configuration of its own"));
}

absl::StatusOr<Mode> Registry::GetMode(std::optional<std::string_view> subject, bool or_default) {
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName parsed, ParseSubject(subject.value_or("")));
  TOCSIN_RETURN_IF_ERROR(Refresh(Always));
  const std::string name = FormatSubject(parsed);
  MutexLock lock(mutex_);
  if (or_default || name.empty()) return state_.ModeInForce(name);
  const auto own = state_.OwnMode(name);
  if (own) return *own;
  return MakeError(ErrorCode::kNoSubjectMode,
                   Concat("subject '", name, "' has no mode of its own"));
}

std::string Registry::cluster_id() const { return log_.ClusterId(); }

// --- changes
// --------------------------------------------------------------------------------------

absl::StatusOr<std::vector<Change>> Registry::ChangesAfter(std::int64_t revision, std::size_t max,
                                                           std::chrono::milliseconds timeout) {
  const SteadyTime deadline = clock_.SteadyNow() + timeout;
  MutexLock lock(mutex_);
  for (;;) {
    if (stopped_) return MakeError(ErrorCode::kStore, "the registry is stopping; try another");
    // Half a history has no order yet that anybody could follow.
    if (loaded_) {
      auto changes = state_.history().After(revision, max);
      if (!changes.ok() || !changes->empty()) return changes;
    }
    const auto left = deadline - clock_.SteadyNow();
    if (left <= SteadyTime::duration::zero()) {
      if (loaded_) return std::vector<Change>();
      return MakeError(ErrorCode::kStore, Message(status_));
    }
    changed_.WaitFor(mutex_, left);
  }
}

Registry::Size Registry::size() const {
  MutexLock lock(mutex_);
  return {state_.subject_count(), state_.schema_count(), state_.text_bytes(),
          state_.superseded().size()};
}

std::int64_t Registry::revision() const {
  MutexLock lock(mutex_);
  return state_.position();
}

}  // namespace tocsin::registry
