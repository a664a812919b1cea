#include "cli/schema/confluent_records.h"

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/output.h"
#include "lib/schema/wire_format.h"

namespace tocsin::cli {
namespace {

// In the order in which Confluent's registry writes its fields: compaction compares bytes.
using OrderedJson = nlohmann::ordered_json;

std::string Dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

OrderedJson Object(const google::protobuf::Struct& object) {
  auto parsed = OrderedJson::parse(Json(object, false), nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? OrderedJson::object() : parsed;
}

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j > bytes.size() ? '=' : kLetters[group >> (18 - 6 * j) & 63];
    }
  }
  return out;
}

std::string SettingKey(std::string_view type, const std::string& subject) {
  OrderedJson key;
  key["keytype"] = type;
  key["subject"] = subject.empty() ? OrderedJson() : OrderedJson(subject);
  key["magic"] = 0;
  return Dump(key);
}

std::string_view LevelText(schema::v1::Compatibility level) {
  if (level == schema::v1::COMPATIBILITY_STRICT) level = schema::v1::COMPATIBILITY_FULL;
  if (level == schema::v1::COMPATIBILITY_STRICT_TRANSITIVE) {
    level = schema::v1::COMPATIBILITY_FULL_TRANSITIVE;
  }
  return std::string_view(schema::v1::Compatibility_Name(level))
      .substr(std::string_view("COMPATIBILITY_").size());
}

}  // namespace

ConfluentRecord SchemaRecord(const schema::v1::Schema& schema) {
  OrderedJson key;
  key["keytype"] = "SCHEMA";
  key["subject"] = schema.subject();
  key["version"] = schema.version();
  key["magic"] = 1;
  OrderedJson value;
  value["subject"] = schema.subject();
  value["version"] = schema.version();
  value["id"] = schema.id();
  if (const auto guid = schema::ParseGuid(schema.guid()); guid.ok()) {
    value["md5"] = Base64({reinterpret_cast<const char*>(guid->data()), guid->size()});
  }
  if (schema.type() != "AVRO") value["schemaType"] = schema.type();
  for (const auto& reference : schema.references()) {
    OrderedJson each;
    each["name"] = reference.name();
    each["subject"] = reference.subject();
    each["version"] = reference.version();
    value["references"].push_back(std::move(each));
  }
  if (schema.has_metadata()) value["metadata"] = Object(schema.metadata());
  if (schema.has_rule_set()) value["ruleSet"] = Object(schema.rule_set());
  value["schema"] = schema.text();
  value["deleted"] = schema.deleted();
  return {Dump(key), Dump(value)};
}

ConfluentRecord ConfigRecord(const std::string& subject, const schema::v1::Config& config) {
  OrderedJson value = OrderedJson::object();
  if (!subject.empty()) value["subject"] = subject;
  if (config.has_alias()) value["alias"] = config.alias();
  if (config.has_normalize()) value["normalize"] = config.normalize();
  if (config.has_validate_fields()) value["validateFields"] = config.validate_fields();
  if (config.compatibility() != schema::v1::COMPATIBILITY_UNSPECIFIED) {
    value["compatibilityLevel"] = LevelText(config.compatibility());
  }
  if (config.has_compatibility_policy()) {
    value["compatibilityPolicy"] = config.compatibility_policy();
  }
  if (config.has_compatibility_group()) value["compatibilityGroup"] = config.compatibility_group();
  if (config.has_default_metadata()) value["defaultMetadata"] = Object(config.default_metadata());
  if (config.has_override_metadata()) {
    value["overrideMetadata"] = Object(config.override_metadata());
  }
  if (config.has_default_rule_set()) value["defaultRuleSet"] = Object(config.default_rule_set());
  if (config.has_override_rule_set()) {
    value["overrideRuleSet"] = Object(config.override_rule_set());
  }
  return {SettingKey("CONFIG", subject), Dump(value)};
}

ConfluentRecord ModeRecord(const std::string& subject, schema::v1::Mode mode) {
  OrderedJson value = OrderedJson::object();
  if (!subject.empty()) value["subject"] = subject;
  value["mode"] =
      std::string_view(schema::v1::Mode_Name(mode)).substr(std::string_view("MODE_").size());
  return {SettingKey("MODE", subject), Dump(value)};
}

}  // namespace tocsin::cli
