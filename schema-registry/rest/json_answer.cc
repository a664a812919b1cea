#include "schema-registry/rest/json_answer.h"

#include <chrono>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::registry {
namespace {

// A text that was JSON when it came in.
void AddObject(std::string_view text, const char* name, Json& json) {
  if (text.empty()) return;
  Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_object()) json[name] = std::move(object);
}
void AddOptionalObject(const std::optional<std::string>& text, const char* name, Json& json) {
  if (text) AddObject(*text, name, json);
}

template <typename Value>
void Add(const std::optional<Value>& value, const char* name, Json& json) {
  if (value) json[name] = *value;
}

void AddTimes(const SchemaVersion& version, Json& json) {
  json["ts"] =
      std::chrono::duration_cast<std::chrono::milliseconds>(version.registered.time_since_epoch())
          .count();
  if (!version.registered_by.empty()) json["registeredBy"] = version.registered_by;
  json["deleted"] = version.deleted;
}

// Within the double quotes of a message.
std::string Quoted(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted;
}

std::string PlaceText(const schema::Place& place) {
  return Concat(place.file.empty() ? "" : Concat(place.file, ":"), place.line, ":", place.column);
}

Json PlaceJson(const schema::Place& place) {
  Json json = Json::object();
  if (!place.file.empty()) json["file"] = place.file;
  json["line"] = place.line;
  json["column"] = place.column;
  return json;
}

std::string AdditionalInfo(const schema::Finding& finding) {
  std::vector<std::string> parts;
  if (finding.newer) parts.push_back(Concat("at ", PlaceText(*finding.newer)));
  if (finding.older) parts.push_back(Concat("earlier at ", PlaceText(*finding.older)));
  if (!finding.consequence.empty()) parts.push_back(finding.consequence);
  if (!finding.repair.empty()) parts.push_back(Concat("to mend it: ", finding.repair));
  return Join(parts, "; ");
}

std::string MessageOf(const schema::Finding& finding) {
  std::string message =
      Concat("{errorType:\"", schema::KindName(finding.kind), "\", description:\"",
             Quoted(finding.path), ": ", Quoted(finding.description), "\"");
  const std::string info = AdditionalInfo(finding);
  if (!info.empty()) message += Concat(", additionalInfo:\"", Quoted(info), "\"");
  return message + "}";
}

Json FindingJson(const schema::Finding& finding) {
  Json json = {{"errorType", schema::KindName(finding.kind)},
               {"path", finding.path},
               {"description", finding.description}};
  if (finding.older) json["older"] = PlaceJson(*finding.older);
  if (finding.newer) json["newer"] = PlaceJson(*finding.newer);
  if (!finding.consequence.empty()) json["consequence"] = finding.consequence;
  if (!finding.repair.empty()) json["repair"] = finding.repair;
  return json;
}

}  // namespace

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void AddSchema(const StoredSchema& schema, std::string text, const std::vector<Reference>& shown,
               Json& json) {
  json["guid"] = schema::FormatGuid(schema.guid);
  if (schema.type != kAvro) json["schemaType"] = schema.type;
  if (!shown.empty()) {
    Json list = Json::array();
    for (const Reference& reference : shown) {
      list.push_back({{"name", reference.name},
                      {"subject", reference.subject},
                      {"version", reference.version}});
    }
    json["references"] = std::move(list);
  }
  AddObject(schema.metadata, "metadata", json);
  AddObject(schema.rule_set, "ruleSet", json);
  json["schema"] = std::move(text);
}

Json VersionJson(const SchemaVersion& version, std::string text,
                 const std::vector<Reference>& shown) {
  Json json = {{"subject", version.subject},
               {"version", version.version},
               {"id", version.schema->id.value()}};
  AddSchema(*version.schema, std::move(text), shown, json);
  AddTimes(version, json);
  return json;
}

Json RegisteredJson(const SchemaVersion& version, std::string text) {
  Json json = {{"id", version.schema->id.value()},
               {"version", version.version},
               {"subject", version.subject}};
  AddSchema(*version.schema, std::move(text), version.schema->references, json);
  AddTimes(version, json);
  return json;
}

Json ConfigJson(const SubjectConfig& config, const char* level_name) {
  Json json = Json::object();
  Add(config.alias, "alias", json);
  Add(config.normalize, "normalize", json);
  Add(config.validate_fields, "validateFields", json);
  if (config.level) json[level_name] = schema::LevelName(*config.level);
  Add(config.compatibility_policy, "compatibilityPolicy", json);
  Add(config.compatibility_group, "compatibilityGroup", json);
  AddOptionalObject(config.default_metadata, "defaultMetadata", json);
  AddOptionalObject(config.override_metadata, "overrideMetadata", json);
  AddOptionalObject(config.default_rule_set, "defaultRuleSet", json);
  AddOptionalObject(config.override_rule_set, "overrideRuleSet", json);
  return json;
}

Json VerdictJson(const CompatibilityVerdict& verdict, bool verbose) {
  Json json = {{"is_compatible", verdict.compatible()}};
  if (!verbose || verdict.compatible()) return json;
  Json messages = Json::array();
  Json findings = Json::array();
  for (const schema::Finding& finding : verdict.findings) {
    messages.push_back(MessageOf(finding));
    findings.push_back(FindingJson(finding));
  }
  if (verdict.left_out > 0) {
    messages.push_back(Concat("{description:\"and ", verdict.left_out,
                              verdict.left_out == 1 ? " more finding" : " more findings",
                              ", which are not told; mend these first\"}"));
    json["findingsLeftOut"] = verdict.left_out;
  }
  messages.push_back(Concat("{oldSchemaVersion: ", verdict.against.value_or(0), "}"));
  messages.push_back(Concat("{compatibility: '", schema::LevelName(verdict.level), "'}"));
  json["messages"] = std::move(messages);
  json["findings"] = std::move(findings);
  return json;
}

}  // namespace tocsin::registry
