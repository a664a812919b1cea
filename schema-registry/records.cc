#include "schema-registry/records.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/base/hex.h"
#include "lib/base/status.h"

namespace tocsin::registry {
namespace {

using Json = ::nlohmann::ordered_json;

// What Confluent's registry writes where it serves one tenant, as this one always does.
constexpr std::string_view kTenant = "default";

struct KeyTypeFacts {
  KeyType type;
  std::string_view name;
  int magic;
};
constexpr std::array kKeyTypes = {
    KeyTypeFacts{KeyType::kSchema, "SCHEMA", 1},
    KeyTypeFacts{KeyType::kConfig, "CONFIG", 0},
    KeyTypeFacts{KeyType::kMode, "MODE", 0},
    KeyTypeFacts{KeyType::kDeleteSubject, "DELETE_SUBJECT", 0},
    KeyTypeFacts{KeyType::kClearSubject, "CLEAR_SUBJECT", 0},
    KeyTypeFacts{KeyType::kNoop, "NOOP", 0},
    KeyTypeFacts{KeyType::kContext, "CONTEXT", 0},
};

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<Json> ParseObject(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgument("not a JSON object");
  return json;
}

std::optional<std::string> Text(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<bool> Flag(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_boolean()) return std::nullopt;
  return found->get<bool>();
}

// An object as compact text; nullopt where there is none.
std::optional<std::string> Object(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_object()) return std::nullopt;
  return Dump(*found);
}

template <typename Number>
std::optional<Number> Integer(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  if (found->is_number_unsigned() &&
      found->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return std::nullopt;
  }
  const std::int64_t value = found->get<std::int64_t>();
  if (value < std::numeric_limits<Number>::min() || value > std::numeric_limits<Number>::max()) {
    return std::nullopt;
  }
  return static_cast<Number>(value);
}

// Texts that were JSON when they came in.
void SetObject(Json& json, const char* name, std::string_view text) {
  if (text.empty()) return;
  Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_object()) json[name] = std::move(object);
}
void SetOptionalObject(Json& json, const char* name, const std::optional<std::string>& text) {
  if (text) SetObject(json, name, *text);
}
template <typename Value>
void Set(Json& json, const char* name, const std::optional<Value>& value) {
  if (value) json[name] = *value;
}

}  // namespace

std::string EncodeKey(const RecordKey& key) {
  Json json;
  int magic = 0;
  for (const KeyTypeFacts& facts : kKeyTypes) {
    if (facts.type != key.type) continue;
    json["keytype"] = facts.name;
    magic = facts.magic;
  }
  if (key.type == KeyType::kContext) {
    json["tenant"] = kTenant;
    json["context"] = key.context;
  } else if (key.type != KeyType::kNoop) {
    json["subject"] = key.subject ? Json(*key.subject) : Json();
  }
  if (key.type == KeyType::kSchema) json["version"] = key.version;
  json["magic"] = magic;
  if (key.sequence) {
    json["seq"] = key.sequence->offset;
    json["node"] = key.sequence->node;
    json["attempt"] = key.sequence->attempt;
    if (key.sequence->follows) json["follows"] = true;
  }
  return Dump(json);
}

absl::StatusOr<RecordKey> DecodeKey(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  const std::optional<std::string> type = Text(json, "keytype");
  if (!type) return InvalidArgument("the key has no keytype");
  RecordKey key;
  for (const KeyTypeFacts& facts : kKeyTypes) {
    if (facts.name == *type) key.type = facts.type;
  }
  key.subject = Text(json, "subject");
  if (key.type == KeyType::kSchema) {
    const std::optional<std::int32_t> version = Integer<std::int32_t>(json, "version");
    if (!key.subject || !version || *version < 1) {
      return InvalidArgument("the key of a schema has no subject or no version");
    }
    key.version = *version;
  }
  if (key.type == KeyType::kContext) {
    key.context = Text(json, "context").value_or("");
    if (key.context.empty()) return InvalidArgument("the key of a context does not name it");
  }
  if (json.contains("seq")) {
    const auto offset = Integer<std::int64_t>(json, "seq");
    if (!offset) return InvalidArgument("seq is not a number");
    key.sequence = Sequence{*offset, Integer<std::int64_t>(json, "node").value_or(0),
                            Integer<std::int64_t>(json, "attempt").value_or(0),
                            Flag(json, "follows").value_or(false)};
  }
  return key;
}

std::string EncodeSchemaValue(const SchemaValue& value) {
  Json json;
  json["subject"] = value.subject;
  json["version"] = value.version;
  json["id"] = value.id.value();
  if (!value.gone()) {
    json["md5"] =
        Base64Encode({reinterpret_cast<const char*>(value.guid.data()), value.guid.size()});
  }
  // As in REST, Avro is what is meant where none is named.
  if (value.type != kAvro) json["schemaType"] = value.type;
  if (!value.references.empty()) {
    Json list = Json::array();
    for (const Reference& reference : value.references) {
      list.push_back({{"name", reference.name},
                      {"subject", reference.subject},
                      {"version", reference.version}});
    }
    json["references"] = std::move(list);
  }
  SetObject(json, "metadata", value.metadata);
  SetObject(json, "ruleSet", value.rule_set);
  json["schema"] = value.text;
  json["deleted"] = value.deleted;
  return Dump(json);
}

absl::StatusOr<SchemaValue> DecodeSchemaValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  SchemaValue value;
  auto subject = Text(json, "subject");
  const auto version = Integer<std::int32_t>(json, "version");
  const auto id = Integer<std::int32_t>(json, "id");
  auto schema = Text(json, "schema");
  if (!subject || !version || !id || !schema || *version < 1 || *id < 1) {
    return InvalidArgument("the value of a schema lacks subject, version, id or schema");
  }
  value.subject = *std::move(subject);
  value.version = *version;
  value.id = SchemaId(*id);
  value.text = *std::move(schema);
  value.type = Text(json, "schemaType").value_or(std::string(kAvro));
  value.deleted = Flag(json, "deleted").value_or(false);
  value.metadata = Object(json, "metadata").value_or("");
  value.rule_set = Object(json, "ruleSet").value_or("");
  if (const auto list = json.find("references"); list != json.end() && list->is_array()) {
    for (const Json& entry : *list) {
      if (!entry.is_object()) return InvalidArgument("a reference is not an object");
      const auto name = Text(entry, "name");
      const auto of = Text(entry, "subject");
      const auto at = Integer<std::int32_t>(entry, "version");
      if (!name || !of || !at) return InvalidArgument("a reference lacks name, subject or version");
      value.references.push_back({*name, *of, *at});
    }
  }
  return value;
}

std::string EncodeConfigValue(const std::optional<std::string>& subject,
                              const SubjectConfig& config) {
  Json json = Json::object();
  Set(json, "subject", subject);
  Set(json, "alias", config.alias);
  Set(json, "normalize", config.normalize);
  Set(json, "validateFields", config.validate_fields);
  if (config.level) json["compatibilityLevel"] = schema::LevelName(*config.level);
  Set(json, "compatibilityPolicy", config.compatibility_policy);
  Set(json, "compatibilityGroup", config.compatibility_group);
  SetOptionalObject(json, "defaultMetadata", config.default_metadata);
  SetOptionalObject(json, "overrideMetadata", config.override_metadata);
  SetOptionalObject(json, "defaultRuleSet", config.default_rule_set);
  SetOptionalObject(json, "overrideRuleSet", config.override_rule_set);
  return Dump(json);
}

absl::StatusOr<SubjectConfig> DecodeConfigValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  SubjectConfig config;
  if (const auto name = Text(json, "compatibilityLevel")) {
    TOCSIN_ASSIGN_OR_RETURN(config.level, schema::ParseLevel(*name));
  }
  config.alias = Text(json, "alias");
  config.normalize = Flag(json, "normalize");
  config.validate_fields = Flag(json, "validateFields");
  config.compatibility_policy = Text(json, "compatibilityPolicy");
  config.compatibility_group = Text(json, "compatibilityGroup");
  config.default_metadata = Object(json, "defaultMetadata");
  config.override_metadata = Object(json, "overrideMetadata");
  config.default_rule_set = Object(json, "defaultRuleSet");
  config.override_rule_set = Object(json, "overrideRuleSet");
  return config;
}

std::string EncodeModeValue(const std::optional<std::string>& subject, std::optional<Mode> mode) {
  Json json = Json::object();
  Set(json, "subject", subject);
  if (mode) json["mode"] = ModeName(*mode);
  return Dump(json);
}

absl::StatusOr<std::optional<Mode>> DecodeModeValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  const auto name = Text(json, "mode");
  if (!name) return std::optional<Mode>();
  TOCSIN_ASSIGN_OR_RETURN(const Mode mode, ParseMode(*name));
  return std::optional<Mode>(mode);
}

std::string EncodeDeleteSubjectValue(std::string_view subject, std::int32_t version) {
  Json json;
  json["subject"] = subject;
  json["version"] = version;
  return Dump(json);
}

absl::StatusOr<std::int32_t> DecodeDeleteSubjectValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  const auto version = Integer<std::int32_t>(json, "version");
  if (!version) return InvalidArgument("the deletion of a subject has no version");
  return *version;
}

std::string EncodeContextValue(std::string_view context) {
  Json json;
  json["tenant"] = kTenant;
  if (!context.empty()) json["context"] = context;
  return Dump(json);
}

absl::StatusOr<std::string> DecodeContextValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  return Text(json, "context").value_or("");
}

}  // namespace tocsin::registry
