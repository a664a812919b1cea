// /subjects: versions, registration, deletion; and /compatibility.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/rest/call.h"
#include "schema-registry/rest/json_body.h"
#include "schema-registry/schema_access.h"
#include "schema-registry/schema_metadata.h"

namespace tocsin::registry {
namespace {

// A client that registers a serialized descriptor keeps what it is answered for the form that it
// sent.
bool IsSerialized(std::string_view draft, std::string_view stored) {
  return draft != stored && Base64Decode(draft).ok();
}

// Of metadata: which version it was made for.
constexpr const char* kVersionProperty = "confluent:version";

// It says nothing of a version that comes later.
std::string WithoutVersion(std::string_view metadata) {
  Json json = Json::parse(metadata, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::string(metadata);
  const auto properties = json.find("properties");
  if (properties == json.end() || !properties->is_object()) return std::string(metadata);
  if (properties->erase(kVersionProperty) == 0) return std::string(metadata);
  return Dump(json);
}

// The registry speaks of the field of a registration.
absl::Status AboutNewVersion(const absl::Status& refused) {
  constexpr std::string_view kField = "\"version\"";
  std::string message(Message(refused));
  const std::size_t at = message.find(kField);
  if (at == std::string::npos) return refused;
  message.replace(at, kField.size(), "\"newVersion\"");
  return MakeError(CodeOf(refused), message);
}

}  // namespace

Call::Result Call::ListSubjects() {
  TOCSIN_ASSIGN_OR_RETURN(const Page page, PageOf());
  const bool filtered = access_.restricts_reading();
  TOCSIN_ASSIGN_OR_RETURN(auto subjects, registry_.Subjects(FilterOf(), filtered ? Page{} : page));
  if (filtered) {
    std::erase_if(subjects, [&](const std::string& subject) { return !MayRead(subject); });
    subjects = Cut(std::move(subjects), page);
  }
  return Dump(Json(subjects));
}

Call::Result Call::LookUp() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const Draft draft, ReadBodyDraft(subject));
  TOCSIN_ASSIGN_OR_RETURN(
      const SchemaVersion version,
      registry_.Lookup(subject, draft, {Flag("normalize"), DeletedOf() != Deleted::kExclude}));
  return Show(version);
}

Call::Result Call::DeleteSubject() {
  const bool permanent = Flag("permanent");
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, WritableSubject(1));
  if (permanent) {
    TOCSIN_RETURN_IF_ERROR(
        RequireRole(auth::Role::ROLE_SCHEMA_ADMIN, "deleting a subject permanently"));
  }
  const auto versions = registry_.DeleteSubject(actor_, subject, permanent);
  if (versions.ok()) return Dump(Json(*versions));
  return WithoutHiddenImporters(access_, principal_, registry_, subject, versions.status());
}

Call::Result Call::ListVersions() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const Page page, PageOf());
  const Deleted deleted = DeletedOf();
  TOCSIN_ASSIGN_OR_RETURN(auto versions, registry_.Versions(subject, deleted, page));
  if (Flag("deletedAsNegative") && deleted != Deleted::kExclude) {
    const auto gone = registry_.Versions(subject, Deleted::kOnly);
    const std::set<std::int32_t> numbers =
        gone.ok() ? std::set<std::int32_t>(gone->begin(), gone->end()) : std::set<std::int32_t>();
    for (std::int32_t& version : versions) {
      if (numbers.contains(version)) version = -version;
    }
  }
  return Dump(Json(versions));
}

Call::Result Call::Register() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, WritableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const Draft draft, ReadBodyDraft(subject));
  const bool force = Flag("force");
  if (force) {
    TOCSIN_RETURN_IF_ERROR(
        RequireRole(auth::Role::ROLE_SCHEMA_ADMIN, "registering without a check of compatibility"));
  }
  TOCSIN_ASSIGN_OR_RETURN(
      const SchemaVersion version,
      registry_.Register(actor_, subject, draft, RegisterOptions{Flag("normalize"), force}));
  const StoredSchema& stored = *version.schema;
  const std::string context = ContextOf(version.subject);
  // It is registered, whatever becomes of the form that was asked for.
  std::string text = TextOf(stored, context).value_or(*stored.text);
  if (text == *stored.text && stored.type == kProtobuf && IsSerialized(draft.text, *stored.text)) {
    const auto bytes = registry_.Serialized(stored, context);
    if (bytes.ok()) text = Base64Encode(*bytes);
  }
  return Dump(RegisteredJson(version, std::move(text)));
}

absl::StatusOr<SchemaVersion> Call::VersionAt() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const auto version, VersionOf(3));
  return registry_.GetVersion(subject, version, DeletedOf() != Deleted::kExclude);
}

Call::Result Call::GetVersion() {
  TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version, VersionAt());
  return Show(version);
}

Call::Result Call::GetVersionText() {
  TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version, VersionAt());
  return TextOf(*version.schema, ContextOf(version.subject));
}

Call::Result Call::ListReferencedBy() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const auto version, VersionOf(3));
  TOCSIN_ASSIGN_OR_RETURN(const Page page, PageOf());
  TOCSIN_ASSIGN_OR_RETURN(auto ids, registry_.ReferencedBy(subject, version, DeletedOf()));
  std::erase_if(ids, [&](SchemaId id) { return !CheckReadable(id, subject).ok(); });
  Json list = Json::array();
  for (const SchemaId id : Cut(std::move(ids), page)) list.push_back(id.value());
  return Dump(list);
}

Call::Result Call::DeleteVersion() {
  const bool permanent = Flag("permanent");
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, WritableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const auto version, VersionOf(3));
  if (permanent) {
    TOCSIN_RETURN_IF_ERROR(
        RequireRole(auth::Role::ROLE_SCHEMA_ADMIN, "deleting a version permanently"));
  }
  const auto deleted = registry_.DeleteVersion(actor_, subject, version, permanent);
  if (deleted.ok()) return Dump(Json(*deleted));
  return WithoutHiddenImporters(access_, principal_, registry_, subject, deleted.status());
}

Call::Result Call::ChangeTags() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, WritableSubject(1));
  TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version, VersionAt());
  TOCSIN_ASSIGN_OR_RETURN(const Json body, Body());
  TOCSIN_ASSIGN_OR_RETURN(TagRequest request, ReadTagRequest(body));
  const StoredSchema& before = *version.schema;
  TOCSIN_RETURN_IF_ERROR(CheckImports(subject, before.references));
  Draft draft{before.type, *before.text, before.references,      before.metadata, before.rule_set,
              {},          {},           std::move(request.tags)};
  if (request.metadata) draft.metadata = *std::move(request.metadata);
  if (request.rule_set) draft.rule_set = *std::move(request.rule_set);
  if (request.rules_to_merge || !request.rules_to_remove.empty()) {
    TOCSIN_RETURN_IF_ERROR(CheckRuleSet(request.rules_to_merge.value_or("")));
    TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion latest, registry_.GetVersion(subject, {}, false));
    draft.rule_set =
        WithoutRules(MergeRuleSets(latest.schema->rule_set, request.rules_to_merge.value_or("")),
                     request.rules_to_remove);
  }
  if (request.new_version) {
    draft.version = request.new_version;
    draft.metadata = MergeMetadata(
        draft.metadata,
        Dump(Json{{"properties", {{kVersionProperty, std::to_string(*request.new_version)}}}}));
  } else if (!request.metadata) {
    draft.metadata = WithoutVersion(draft.metadata);
  }
  const auto tagged = registry_.Register(actor_, subject, draft, {});
  if (!tagged.ok()) return AboutNewVersion(tagged.status());
  std::string text =
      TextOf(*tagged->schema, ContextOf(tagged->subject)).value_or(*tagged->schema->text);
  return Dump(RegisteredJson(*tagged, std::move(text)));
}

Call::Result Call::FindByMetadata() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(1));
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (const auto& [name, value] : request_.query) {
    if (name == "key") keys.push_back(value);
    if (name == "value") values.push_back(value);
  }
  if (keys.empty() || keys.size() != values.size()) {
    return MakeError(ErrorCode::kUnprocessable,
                     Concat("give pairs of the parameters key and value, as many of the one as of "
                            "the other: there are ",
                            keys.size(), " and ", values.size()));
  }
  std::map<std::string, std::string> properties;
  for (std::size_t i = 0; i < keys.size(); ++i) properties[keys[i]] = values[i];
  TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version,
                          registry_.LatestWithMetadata(subject, properties, Flag("deleted")));
  return Show(version);
}

// --- compatibility ----------------------------------------------------------------------------

Call::Result Call::AnswerCheck(const absl::StatusOr<CompatibilityVerdict>& verdict) {
  const bool verbose = Flag("verbose");
  if (verdict.ok()) return Dump(VerdictJson(*verdict, verbose));
  if (!verbose || CodeOf(verdict.status()) != ErrorCode::kInvalidSchema) return verdict.status();
  return Dump(
      Json{{"is_compatible", false}, {"messages", Json::array({Message(verdict.status())})}});
}

Call::Result Call::CheckSubject() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(2));
  const auto draft = ReadBodyDraft(subject);
  if (!draft.ok()) return AnswerCheck(draft.status());
  return AnswerCheck(
      registry_.Check(subject, *draft, Registry::Against::kWhatTheLevelDemands, Flag("normalize")));
}

Call::Result Call::CheckVersion() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string subject, ReadableSubject(2));
  TOCSIN_ASSIGN_OR_RETURN(const auto version, VersionOf(4));
  const auto draft = ReadBodyDraft(subject);
  if (!draft.ok()) return AnswerCheck(draft.status());
  if (!version) {
    return AnswerCheck(
        registry_.Check(subject, *draft, Registry::Against::kLatest, Flag("normalize")));
  }
  auto verdict = registry_.CheckVersion(subject, *draft, *version, Flag("normalize"));
  // Who names a version is told about the version, also where there is no subject.
  if (!verdict.ok() && CodeOf(verdict.status()) == ErrorCode::kSubjectNotFound) {
    return NoVersion(subject, *version);
  }
  return AnswerCheck(verdict);
}

}  // namespace tocsin::registry
