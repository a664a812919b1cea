// What deletes, configures and sets modes. Decided in one look at the state, so under the lock, and
// alone in its batch.
#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/schema_metadata.h"

namespace tocsin::registry {
namespace {

std::optional<std::string> SubjectOrAll(const std::string& name) {
  return name.empty() ? std::nullopt : std::optional<std::string>(name);
}

// The one name of a subject, of a context (":.eu:") or of everything ("").
absl::StatusOr<std::string> SettingName(std::optional<std::string_view> subject) {
  if (!subject) return std::string();
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName parsed, ParseSubject(*subject));
  return FormatSubject(parsed);
}

std::string NameOrEverything(const std::string& name) {
  return name.empty() ? "everything" : Concat("'", name, "'");
}

absl::Status CheckWritable(const RegistryState& state, std::string_view name) {
  const Mode mode = state.ModeInForce(name);
  if (mode == Mode::kReadWrite || mode == Mode::kImport) return absl::OkStatus();
  return MakeError(ErrorCode::kNotPermitted,
                   Concat(NameOrEverything(std::string(name)), " is in mode ", ModeName(mode),
                          ", which allows no writes"));
}

absl::Status CheckUnreferenced(const RegistryState& state, std::string_view subject,
                               std::int32_t version, bool permanent) {
  // What is soft-deleted still answers by its id, and needs what it imports.
  const auto users =
      state.Referrers(subject, version, permanent ? Deleted::kInclude : Deleted::kExclude);
  if (users.empty()) return absl::OkStatus();
  std::string ids;
  for (std::size_t i = 0; i < users.size() && i < 10; ++i) {
    const auto& [context, id] = users[i];
    ids += Concat(i == 0 ? "" : ", ", id.value());
    const auto uses = state.UsesOf(context, id, permanent ? Deleted::kInclude : Deleted::kExclude);
    if (uses.empty()) continue;
    // An id alone says nothing to whoever looks for it in another context.
    ids += Concat(" (", uses[0].subject, " version ", uses[0].version,
                  uses.size() > 1 ? Concat(" and ", uses.size() - 1, " more") : "", ")");
  }
  return MakeError(ErrorCode::kReferenceExists,
                   Concat("version ", version, " of subject '", subject,
                          "' is imported by the schemas with the ids ", ids,
                          users.size() > 10 ? ", …" : "", ": delete those first"));
}

absl::Status CheckConfig(const SubjectConfig& config) {
  for (const auto* metadata : {&config.default_metadata, &config.override_metadata}) {
    if (*metadata) TOCSIN_RETURN_IF_ERROR(CheckMetadata(**metadata));
  }
  for (const auto* rules : {&config.default_rule_set, &config.override_rule_set}) {
    if (*rules) TOCSIN_RETURN_IF_ERROR(CheckRuleSet(**rules));
  }
  if (config.alias) TOCSIN_RETURN_IF_ERROR(ParseSubject(*config.alias).status());
  if (config.compatibility_group && config.compatibility_group->size() > 512) {
    return MakeError(ErrorCode::kUnprocessable, "compatibilityGroup holds at most 512 bytes");
  }
  // It says how JSON schemas are compared; for Protobuf there is one way, whatever it says.
  if (const auto& policy = config.compatibility_policy;
      policy && !policy->empty() && *policy != "STRICT" && *policy != "LENIENT") {
    return MakeError(
        ErrorCode::kUnprocessable,
        Concat("compatibilityPolicy is STRICT or LENIENT, not '", Shorten(*policy, 40), "'"));
  }
  return absl::OkStatus();
}

template <typename Value>
void Override(std::optional<Value>& field, const std::optional<Value>& with) {
  if (with) field = with;
}

SubjectConfig Merge(SubjectConfig config, const SubjectConfig& with) {
  Override(config.level, with.level);
  Override(config.normalize, with.normalize);
  Override(config.validate_fields, with.validate_fields);
  Override(config.alias, with.alias);
  Override(config.compatibility_group, with.compatibility_group);
  Override(config.compatibility_policy, with.compatibility_policy);
  Override(config.default_metadata, with.default_metadata);
  Override(config.override_metadata, with.override_metadata);
  Override(config.default_rule_set, with.default_rule_set);
  Override(config.override_rule_set, with.override_rule_set);
  return config;
}

absl::Status NoConfig(const std::string& name) {
  return MakeError(
      ErrorCode::kNoSubjectConfig,
      Concat(name.empty() ? "nothing is configured for everything"
                          : Concat("subject '", name, "' has no configuration of its own")));
}

absl::Status NoMode(const std::string& name) {
  return MakeError(ErrorCode::kNoSubjectMode,
                   Concat(name.empty() ? "no mode is set for everything"
                                       : Concat("subject '", name, "' has no mode of its own")));
}

}  // namespace

Registry::PlannedRecord Registry::ConfigRecord(const std::string& name, const SubjectConfig& config,
                                               const Actor& actor) {
  PlannedRecord record;
  record.key.type = KeyType::kConfig;
  record.key.subject = SubjectOrAll(name);
  record.value = EncodeConfigValue(record.key.subject, config);
  record.notes.actor = actor.name;
  return record;
}

Registry::PlannedRecord Registry::ModeRecord(const std::string& name, std::optional<Mode> mode,
                                             const Actor& actor) {
  PlannedRecord record;
  record.key.type = KeyType::kMode;
  record.key.subject = SubjectOrAll(name);
  record.value = EncodeModeValue(record.key.subject, mode);
  record.notes.actor = actor.name;
  return record;
}

Registry::PlannedRecord Registry::VersionRecord(const SchemaVersion& version, bool permanent,
                                                const Actor& actor) {
  PlannedRecord record;
  record.key.type = KeyType::kSchema;
  record.key.subject = version.subject;
  record.key.version = version.version;
  record.notes.actor = actor.name;
  SchemaValue value;
  value.subject = version.subject;
  value.version = version.version;
  value.id = version.schema->id;
  value.type = kAvro;
  value.deleted = true;
  // It stays when all else is gone, so that the id is not given to another schema.
  record.notes.content_key = version.schema->content_key;
  if (!permanent) {
    value.type = version.schema->type;
    value.guid = version.schema->guid;
    value.references = version.schema->references;
    value.metadata = version.schema->metadata;
    value.rule_set = version.schema->rule_set;
    value.text = *version.schema->text;
    record.notes.registered = version.registered;
    record.notes.registered_by = version.registered_by;
  }
  record.schema = std::move(value);
  return record;
}

absl::StatusOr<std::vector<std::int32_t>> Registry::DeleteSubject(const Actor& actor,
                                                                  std::string_view subject,
                                                                  bool permanent) {
  std::vector<std::int32_t> all;
  for (;;) {
    auto versions = DeleteSome(actor, subject, permanent);
    // What came after the last full round.
    if (!versions.ok() && !all.empty()) break;
    TOCSIN_RETURN_IF_ERROR(versions.status());
    all.insert(all.end(), versions->begin(), versions->end());
    if (!permanent || versions->size() < kMaxRecordsOfOne) break;
  }
  return all;
}

absl::StatusOr<std::vector<std::int32_t>> Registry::DeleteSome(const Actor& actor,
                                                               std::string_view subject,
                                                               bool permanent) {
  std::vector<std::int32_t> versions;
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        versions.clear();
        TOCSIN_ASSIGN_OR_RETURN(const Target target, Resolve(state, subject));
        const std::string& name = target.name;
        TOCSIN_RETURN_IF_ERROR(CheckWritable(state, name));
        const std::vector<SchemaVersion> all = state.VersionsOf(name);
        if (all.empty()) return NoSubject(name);
        if (!permanent && !state.Exists(name)) {
          return MakeError(ErrorCode::kSubjectSoftDeleted,
                           Concat("subject '", name,
                                  "' is deleted already; delete it with "
                                  "permanent=true to remove it for good"));
        }
        if (permanent && state.Exists(name)) {
          return MakeError(ErrorCode::kSubjectNotSoftDeleted,
                           Concat("subject '", name,
                                  "' is not deleted yet: delete it without "
                                  "permanent=true first"));
        }
        Records records;
        for (const SchemaVersion& version : all) {
          if (version.deleted != permanent) continue;
          TOCSIN_RETURN_IF_ERROR(CheckUnreferenced(state, name, version.version, permanent));
          versions.push_back(version.version);
          if (permanent && records.size() < kMaxRecordsOfOne) {
            records.push_back(VersionRecord(version, permanent, actor));
          }
        }
        if (permanent) {
          versions.resize(records.size());
          return records;
        }
        PlannedRecord deletion;
        deletion.key.type = KeyType::kDeleteSubject;
        deletion.key.subject = name;
        deletion.value = EncodeDeleteSubjectValue(name, versions.back());
        deletion.notes.actor = actor.name;
        records.push_back(std::move(deletion));
        if (state.OwnConfig(name)) records.push_back(ConfigRecord(name, {}, actor));
        if (state.OwnMode(name)) records.push_back(ModeRecord(name, std::nullopt, actor));
        return records;
      });
  Tell(actor, "DeleteSubject", std::string(subject), status, permanent ? "permanent" : "");
  TOCSIN_RETURN_IF_ERROR(status);
  return versions;
}

absl::StatusOr<std::int32_t> Registry::DeleteVersion(const Actor& actor, std::string_view subject,
                                                     std::optional<std::int32_t> version,
                                                     bool permanent) {
  std::int32_t number = version.value_or(0);
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        TOCSIN_ASSIGN_OR_RETURN(const Target target, Resolve(state, subject));
        const std::string& name = target.name;
        TOCSIN_RETURN_IF_ERROR(CheckWritable(state, name));
        if (!state.Exists(name, /*deleted=*/true)) return NoSubject(name);
        const auto at =
            version ? state.FindVersion(name, *version) : state.Latest(name, /*deleted=*/permanent);
        if (!at) return version ? NoVersion(name, *version) : NoSubject(name);
        number = at->version;
        if (!permanent && at->deleted) {
          return MakeError(
              ErrorCode::kVersionSoftDeleted,
              Concat("version ", number, " of subject '", name,
                     "' is deleted already; delete it with permanent=true to remove it "
                     "for good"));
        }
        if (permanent && !at->deleted) {
          return MakeError(ErrorCode::kVersionNotSoftDeleted,
                           Concat("version ", number, " of subject '", name,
                                  "' is not deleted yet: delete it without permanent=true first"));
        }
        TOCSIN_RETURN_IF_ERROR(CheckUnreferenced(state, name, number, permanent));
        return Records{VersionRecord(*at, permanent, actor)};
      });
  Tell(actor, "DeleteVersion", Concat(subject, "/", number), status, permanent ? "permanent" : "");
  TOCSIN_RETURN_IF_ERROR(status);
  return number;
}

absl::StatusOr<SubjectConfig> Registry::SetConfig(const Actor& actor,
                                                  std::optional<std::string_view> subject,
                                                  const SubjectConfig& config) {
  SubjectConfig set;
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        TOCSIN_ASSIGN_OR_RETURN(const std::string name, SettingName(subject));
        TOCSIN_RETURN_IF_ERROR(CheckConfig(config));
        TOCSIN_RETURN_IF_ERROR(CheckWritable(state, name));
        const SubjectConfig before = state.OwnConfig(name).value_or(SubjectConfig());
        set = Merge(before, config);
        if (set == before) return Records();
        return Records{ConfigRecord(name, set, actor)};
      });
  Tell(actor, "SetConfig", std::string(subject.value_or("")), status);
  TOCSIN_RETURN_IF_ERROR(status);
  return set;
}

absl::StatusOr<SubjectConfig> Registry::DeleteConfig(const Actor& actor,
                                                     std::optional<std::string_view> subject) {
  SubjectConfig was;
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        TOCSIN_ASSIGN_OR_RETURN(const std::string name, SettingName(subject));
        TOCSIN_RETURN_IF_ERROR(CheckWritable(state, name));
        const auto own = state.OwnConfig(name);
        if (!own) return NoConfig(name);
        was = *own;
        return Records{ConfigRecord(name, {}, actor)};
      });
  Tell(actor, "DeleteConfig", std::string(subject.value_or("")), status);
  TOCSIN_RETURN_IF_ERROR(status);
  return was;
}

absl::StatusOr<Mode> Registry::SetMode(const Actor& actor, std::optional<std::string_view> subject,
                                       Mode mode, bool force) {
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        TOCSIN_ASSIGN_OR_RETURN(const std::string name, SettingName(subject));
        const std::optional<Mode> own = state.OwnMode(name);
        if (own == mode) return Records();
        if (mode == Mode::kImport && !force) {
          const SubjectName parsed = NameInRecord(name);
          const bool any = parsed.subject.empty()
                               ? !state.Subjects({parsed.context, "", Deleted::kExclude}).empty()
                               : state.Exists(name);
          if (any) {
            return MakeError(
                ErrorCode::kNotPermitted,
                Concat(NameOrEverything(name),
                       " has schemas, and the mode IMPORT would "
                       "let others take their ids: delete them first, or use force=true"));
          }
        }
        return Records{ModeRecord(name, mode, actor)};
      });
  Tell(actor, "SetMode", std::string(subject.value_or("")), status, std::string(ModeName(mode)));
  TOCSIN_RETURN_IF_ERROR(status);
  return mode;
}

absl::StatusOr<Mode> Registry::DeleteMode(const Actor& actor,
                                          std::optional<std::string_view> subject, bool recursive) {
  Mode was{};
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        TOCSIN_ASSIGN_OR_RETURN(const std::string name, SettingName(subject));
        const SubjectName parsed = NameInRecord(name);
        const std::optional<Mode> own = state.OwnMode(name);
        Records records;
        if (own) records.push_back(ModeRecord(name, std::nullopt, actor));
        if (recursive && parsed.subject.empty()) {
          for (const std::string& each : state.ModesIn(parsed.context)) {
            if (records.size() < kMaxRecordsOfOne) {
              records.push_back(ModeRecord(each, std::nullopt, actor));
            }
          }
        }
        if (records.empty()) return NoMode(name);
        was = own.value_or(Mode::kReadWrite);
        return records;
      });
  Tell(actor, "DeleteMode", std::string(subject.value_or("")), status,
       recursive ? "recursive" : "");
  TOCSIN_RETURN_IF_ERROR(status);
  return was;
}

absl::Status Registry::DeleteContext(const Actor& actor, std::string_view context) {
  const absl::Status status =
      WriteAlone([&](const RegistryState& state) -> absl::StatusOr<Records> {
        std::string parsed(context);
        if (context.substr(0, 2) == ":.") {
          TOCSIN_ASSIGN_OR_RETURN(const SubjectName name, ParseSubject(context));
          parsed = name.context;
        }
        TOCSIN_RETURN_IF_ERROR(ParseSubject(Concat(":.", parsed, ":")).status());
        const SubjectSelection all{parsed, "", Deleted::kInclude};
        if (!state.Subjects(all).empty()) {
          return MakeError(
              ErrorCode::kContextNotEmpty,
              Concat("the context ", parsed,
                     " has subjects, deleted ones perhaps: delete them for good first"));
        }
        if (parsed == kDefaultContext) {
          return MakeError(ErrorCode::kNotPermitted, "the default context is always there");
        }
        Records records;
        const std::string name = FormatSubject({parsed, ""});
        if (state.OwnConfig(name)) records.push_back(ConfigRecord(name, {}, actor));
        if (state.OwnMode(name)) records.push_back(ModeRecord(name, std::nullopt, actor));
        if (state.ContextNamed(parsed)) {
          PlannedRecord record;
          record.key.type = KeyType::kContext;
          record.key.context = parsed;
          record.value = EncodeContextValue("");
          record.notes.actor = actor.name;
          records.push_back(std::move(record));
        }
        return records;
      });
  Tell(actor, "DeleteContext", std::string(context), status);
  return status;
}

}  // namespace tocsin::registry
