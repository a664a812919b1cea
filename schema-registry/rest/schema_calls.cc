// /schemas: by id, by GUID, and the list of all.
#include <algorithm>
#include <iterator>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/rest/call.h"

namespace tocsin::registry {
namespace {

constexpr std::int64_t kMaxListed = 1'000;
// Texts in one list; it ends after the schema with which they are as long.
constexpr std::size_t kMaxListedBytes = std::size_t{4} << 20;

bool HasRuleOfType(std::string_view rule_set, std::string_view type) {
  const Json rules = Json::parse(rule_set, nullptr, /*allow_exceptions=*/false);
  if (!rules.is_object()) return false;
  for (const auto& [name, list] : rules.items()) {
    if (!list.is_array()) continue;
    for (const Json& rule : list) {
      if (!rule.is_object()) continue;
      const auto found = rule.find("type");
      if (found != rule.end() && found->is_string() &&
          found->get_ref<const std::string&>() == type) {
        return true;
      }
    }
  }
  return false;
}

// Of a context that holds it; `likely` first.
std::string ContextWith(Registry& registry, const StoredSchema& schema, std::string likely) {
  if (registry.FindSchema(schema.id, likely).get() == &schema) return likely;
  const auto contexts = registry.Contexts("");
  if (!contexts.ok()) return likely;
  for (const std::string& context : *contexts) {
    if (registry.FindSchema(schema.id, context).get() == &schema) return context;
  }
  return likely;
}

}  // namespace

Call::Result Call::ListTypes() { return Dump(Json::array({kProtobuf})); }

Call::Result Call::ListSchemas() {
  TOCSIN_ASSIGN_OR_RETURN(Page page, PageOf());
  if (page.limit < 0 || page.limit > kMaxListed) page.limit = kMaxListed;
  const std::string_view rule_type = request_.Parameter("ruleType").value_or("");
  const bool latest_only = Flag("latestOnly");
  // What is left out here is left out before the list is cut.
  const bool filtered = !rule_type.empty() || access_.restricts_reading();
  TOCSIN_ASSIGN_OR_RETURN(auto versions,
                          registry_.Schemas(FilterOf(), latest_only, filtered ? Page{} : page));
  if (filtered) {
    std::erase_if(versions, [&](const SchemaVersion& version) {
      return !MayRead(version.subject) ||
             (!rule_type.empty() && !HasRuleOfType(version.schema->rule_set, rule_type));
    });
    versions = Cut(std::move(versions), page);
  }
  // Written as it grows: as one value of JSON it would take a multiple of that.
  std::string list = "[";
  std::size_t bytes = 0;
  for (const SchemaVersion& version : versions) {
    if (bytes >= kMaxListedBytes) break;
    const std::string context = ContextOf(version.subject);
    auto text = TextOf(*version.schema, context);
    // One that does not compile any more must not hide the others.
    if (!text.ok()) text = *version.schema->text;
    bytes += text->size() + version.schema->metadata.size() + version.schema->rule_set.size();
    if (list.size() > 1) list += ',';
    list += Dump(VersionJson(version, *std::move(text), ReferencesOf(*version.schema, context)));
  }
  list += ']';
  return list;
}

Call::Result Call::GetSchema() {
  TOCSIN_ASSIGN_OR_RETURN(const SchemaId id, IdOf(2));
  const std::string subject = Qualified(request_.Parameter("subject").value_or(""));
  TOCSIN_ASSIGN_OR_RETURN(const WithImports found, registry_.GetSchema(id, subject));
  TOCSIN_RETURN_IF_ERROR(CheckReadable(id, subject));
  const std::string context = ContextWith(registry_, *found.schema, ContextOf(subject));
  TOCSIN_ASSIGN_OR_RETURN(std::string text, TextOf(*found.schema, context));
  const std::vector<Reference> references = ReferencesOf(*found.schema, context);
  Json json = Json::object();
  if (Flag("fetchMaxId")) {
    TOCSIN_ASSIGN_OR_RETURN(const SchemaId max, registry_.MaxId(context));
    json["maxId"] = max.value();
    AddSchema(*found.schema, std::move(text), references, json);
    return Dump(json);
  }
  AddSchema(*found.schema, std::move(text), references, json);
  auto answer = std::make_shared<const std::string>(Dump(json));
  if (references == found.schema->references) {
    const TextFormat format = ParseTextFormat(request_.Parameter("format").value_or(""));
    answers_.Keep({context, id, format}, found.schema, answer);
  }
  return *answer;
}

Call::Result Call::GetSchemaText() {
  TOCSIN_ASSIGN_OR_RETURN(const SchemaId id, IdOf(2));
  const std::string subject = Qualified(request_.Parameter("subject").value_or(""));
  TOCSIN_ASSIGN_OR_RETURN(const WithImports found, registry_.GetSchema(id, subject));
  TOCSIN_RETURN_IF_ERROR(CheckReadable(id, subject));
  return TextOf(*found.schema, ContextWith(registry_, *found.schema, ContextOf(subject)));
}

absl::StatusOr<std::vector<SchemaVersion>> Call::Uses() {
  TOCSIN_ASSIGN_OR_RETURN(const SchemaId id, IdOf(2));
  const std::string subject = Qualified(request_.Parameter("subject").value_or(""));
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName wanted, ParseSubject(subject));
  TOCSIN_RETURN_IF_ERROR(CheckReadable(id, subject));
  TOCSIN_ASSIGN_OR_RETURN(auto uses, registry_.UsesOf(id, subject, DeletedOf()));
  const std::string name = FormatSubject(wanted);
  std::erase_if(uses, [&](const SchemaVersion& use) {
    return (!wanted.subject.empty() && use.subject != name) || !MayRead(use.subject);
  });
  return uses;
}

Call::Result Call::ListSchemaSubjects() {
  TOCSIN_ASSIGN_OR_RETURN(const auto uses, Uses());
  TOCSIN_ASSIGN_OR_RETURN(const Page page, PageOf());
  std::vector<std::string> subjects;
  for (const SchemaVersion& use : uses) {
    if (subjects.empty() || subjects.back() != use.subject) subjects.push_back(use.subject);
  }
  return Dump(Cut(std::move(subjects), page));
}

Call::Result Call::ListSchemaVersions() {
  TOCSIN_ASSIGN_OR_RETURN(auto uses, Uses());
  TOCSIN_ASSIGN_OR_RETURN(const Page page, PageOf());
  Json list = Json::array();
  for (const SchemaVersion& use : Cut(std::move(uses), page)) {
    list.push_back({{"subject", use.subject}, {"version", use.version}});
  }
  return Dump(list);
}

Call::Result Call::GetSchemaByGuid() {
  TOCSIN_ASSIGN_OR_RETURN(const schema::SchemaGuid guid, GuidOf(2));
  TOCSIN_ASSIGN_OR_RETURN(const auto ids, registry_.IdsOfGuid(guid));
  for (const ContextId& place : ids) {
    const std::string scope = FormatSubject({place.context, ""});
    if (!CheckReadable(place.id, scope).ok()) continue;
    TOCSIN_ASSIGN_OR_RETURN(const WithImports found, registry_.GetSchema(place.id, scope));
    TOCSIN_ASSIGN_OR_RETURN(std::string text, TextOf(*found.schema, place.context));
    Json json = Json::object();
    AddSchema(*found.schema, std::move(text), ReferencesOf(*found.schema, place.context), json);
    return Dump(json);
  }
  return NoSchema(guid);
}

Call::Result Call::ListGuidIds() {
  TOCSIN_ASSIGN_OR_RETURN(const schema::SchemaGuid guid, GuidOf(2));
  TOCSIN_ASSIGN_OR_RETURN(const auto ids, registry_.IdsOfGuid(guid));
  Json list = Json::array();
  for (const ContextId& place : ids) {
    if (!CheckReadable(place.id, FormatSubject({place.context, ""})).ok()) continue;
    list.push_back({{"context", place.context}, {"id", place.id.value()}});
  }
  if (list.empty()) return NoSchema(guid);
  return Dump(list);
}

}  // namespace tocsin::registry
