#include "schema-registry/records.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/base/status.h"

namespace tocsin::registry {
namespace {

using Json = ::nlohmann::ordered_json;

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

}  // namespace

std::string EncodeKey(const RecordKey& key) {
  Json json;
  int magic = 0;
  for (const KeyTypeFacts& facts : kKeyTypes) {
    if (facts.type != key.type) continue;
    json["keytype"] = facts.name;
    magic = facts.magic;
  }
  if (key.type != KeyType::kNoop) json["subject"] = key.subject ? Json(*key.subject) : Json();
  if (key.type == KeyType::kSchema) json["version"] = key.version;
  json["magic"] = magic;
  if (key.sequence) {
    json["seq"] = key.sequence->offset;
    json["node"] = key.sequence->node;
    json["attempt"] = key.sequence->attempt;
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
  if (json.contains("seq")) {
    const auto offset = Integer<std::int64_t>(json, "seq");
    if (!offset) return InvalidArgument("seq is not a number");
    key.sequence = Sequence{*offset, Integer<std::int64_t>(json, "node").value_or(0),
                            Integer<std::int64_t>(json, "attempt").value_or(0)};
  }
  return key;
}

std::string EncodeSchemaValue(const SchemaValue& value) {
  Json json;
  json["subject"] = value.subject;
  json["version"] = value.version;
  json["id"] = value.id.value();
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
  json["schema"] = value.text;
  json["deleted"] = value.deleted;
  return Dump(json);
}

absl::StatusOr<SchemaValue> DecodeSchemaValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  SchemaValue value;
  const auto subject = Text(json, "subject");
  const auto version = Integer<std::int32_t>(json, "version");
  const auto id = Integer<std::int32_t>(json, "id");
  const auto schema = Text(json, "schema");
  if (!subject || !version || !id || !schema || *version < 1 || *id < 1) {
    return InvalidArgument("the value of a schema lacks subject, version, id or schema");
  }
  value.subject = *subject;
  value.version = *version;
  value.id = SchemaId(*id);
  value.text = *schema;
  value.type = Text(json, "schemaType").value_or(std::string(kAvro));
  const auto deleted = json.find("deleted");
  value.deleted = deleted != json.end() && deleted->is_boolean() && deleted->get<bool>();
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

std::string EncodeConfigValue(const std::optional<std::string>& subject, std::string_view level) {
  Json json;
  if (subject) json["subject"] = *subject;
  json["compatibilityLevel"] = level;
  return Dump(json);
}

absl::StatusOr<std::string> DecodeConfigValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  const auto level = Text(json, "compatibilityLevel");
  if (!level) return InvalidArgument("the configuration has no compatibilityLevel");
  return *level;
}

absl::StatusOr<std::int32_t> DecodeDeleteSubjectValue(std::string_view text) {
  TOCSIN_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  const auto version = Integer<std::int32_t>(json, "version");
  if (!version) return InvalidArgument("the deletion of a subject has no version");
  return *version;
}

}  // namespace tocsin::registry
