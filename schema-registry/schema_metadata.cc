#include "schema-registry/schema_metadata.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/model.h"

namespace tocsin::registry {
namespace {

using Json = ::nlohmann::ordered_json;

constexpr std::size_t kMaxBytes = std::size_t{256} << 10;
constexpr int kMaxDepth = 8;
constexpr std::array kRuleLists = {"migrationRules", "domainRules", "encodingRules"};
// In the order in which they are hashed.
constexpr std::array kRuleTexts = {"name", "doc", "kind", "mode", "type"};

Json Parse(std::string_view text) {
  if (text.empty()) return Json();
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

std::string Dump(const Json& json) {
  if (!json.is_object() || json.empty()) return "";
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json* Find(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool AllTexts(const Json& list) {
  return std::all_of(list.begin(), list.end(), [](const Json& each) { return each.is_string(); });
}
bool IsTextList(const Json& json) { return json.is_array() && AllTexts(json); }
bool IsTextMap(const Json& json) { return json.is_object() && AllTexts(json); }

std::string NameOf(const Json& rule) {
  const Json* name = Find(rule, "name");
  return name != nullptr && name->is_string() ? name->get<std::string>() : "";
}

bool IsRuleName(std::string_view name) {
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  if (name.empty() || !(letter(name.front()) || name.front() == '_')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  });
}

// Fields of `newer` over those of `older`.
Json MergeFields(const Json* older, const Json* newer) {
  Json merged = older != nullptr && older->is_object() ? *older : Json::object();
  if (newer != nullptr && newer->is_object()) {
    for (const auto& [name, value] : newer->items()) merged[name] = value;
  }
  return merged;
}

Json Union(const Json* older, const Json* newer) {
  std::set<std::string> all;
  for (const Json* list : {older, newer}) {
    if (list == nullptr || !list->is_array()) continue;
    for (const Json& each : *list) {
      if (each.is_string()) all.insert(each.get<std::string>());
    }
  }
  return Json(all);
}

Json MergeRules(const Json* older, const Json* newer) {
  Json merged = Json::array();
  std::set<std::string> renewed;
  if (newer != nullptr && newer->is_array()) {
    for (const Json& rule : *newer) renewed.insert(NameOf(rule));
  }
  for (const Json* list : {older, newer}) {
    if (list == nullptr || !list->is_array()) continue;
    for (const Json& rule : *list) {
      if (list == newer || !renewed.contains(NameOf(rule))) merged.push_back(rule);
    }
  }
  return merged;
}

// What neither side says is left out.
void SetIfAny(Json& json, const char* name, Json value) {
  if (!value.empty()) json[name] = std::move(value);
}

void AppendText(const Json& rule, const char* name, std::string& out) {
  const Json* text = Find(rule, name);
  if (text != nullptr && text->is_string()) out += text->get_ref<const std::string&>();
}

std::set<std::string> Sorted(const Json* list) {
  std::set<std::string> sorted;
  if (list == nullptr || !list->is_array()) return sorted;
  for (const Json& each : *list) {
    if (each.is_string()) sorted.insert(each.get<std::string>());
  }
  return sorted;
}

std::map<std::string, std::string> SortedMap(const Json* object) {
  std::map<std::string, std::string> sorted;
  if (object == nullptr || !object->is_object()) return sorted;
  for (const auto& [name, value] : object->items()) {
    if (value.is_string()) sorted[name] = value.get<std::string>();
  }
  return sorted;
}

absl::Status CheckRule(const Json& rule, const char* list, std::set<std::string>& names) {
  const auto refuse = [&](std::string_view what) {
    return MakeError(ErrorCode::kInvalidRuleSet, Concat("ruleSet.", list, ": ", what));
  };
  if (!rule.is_object()) return refuse("a rule is not an object");
  const std::string name = NameOf(rule);
  if (!IsRuleName(name)) {
    return refuse(Concat("'", Shorten(name, 40),
                         "' is not the name of a rule: begin with a letter or '_', go on with "
                         "letters, digits, '_' and '-'"));
  }
  if (!names.insert(name).second) return refuse(Concat("two rules are named '", name, "'"));
  const Json* type = Find(rule, "type");
  if (type == nullptr || !type->is_string()) {
    return refuse(Concat("the rule '", name, "' has no type"));
  }
  const Json* tags = Find(rule, "tags");
  const Json* params = Find(rule, "params");
  if ((tags != nullptr && !IsTextList(*tags)) || (params != nullptr && !IsTextMap(*params))) {
    return refuse(
        Concat("the rule '", name, "': tags must be a list of texts, params an object of texts"));
  }
  return absl::OkStatus();
}

// Nesting by counting brackets, so that nothing deep is ever built.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') quoted = true;
    if ((c == '{' || c == '[') && ++depth > kMaxDepth) return true;
    if (c == '}' || c == ']') --depth;
  }
  return false;
}

absl::StatusOr<Json> ParseBounded(std::string_view text, std::string_view what, ErrorCode code) {
  if (text.size() > kMaxBytes) {
    return MakeError(ErrorCode::kTooLarge, Concat(what, " has ", text.size(),
                                                  " bytes, more than the limit of ", kMaxBytes));
  }
  if (TooDeep(text)) {
    return MakeError(code, Concat(what, " is nested deeper than ", kMaxDepth, " levels"));
  }
  Json json = Parse(text);
  if (!json.is_object()) return MakeError(code, Concat(what, " is not a JSON object"));
  return json;
}

}  // namespace

absl::Status CheckMetadata(std::string_view metadata) {
  if (metadata.empty()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const Json json,
                          ParseBounded(metadata, "metadata", ErrorCode::kInvalidSchema));
  const Json* tags = Find(json, "tags");
  const Json* properties = Find(json, "properties");
  const Json* sensitive = Find(json, "sensitive");
  if (tags != nullptr &&
      !(tags->is_object() && std::all_of(tags->begin(), tags->end(), IsTextList))) {
    return MakeError(ErrorCode::kInvalidSchema, "metadata.tags is not an object of lists of texts");
  }
  if (properties != nullptr && !IsTextMap(*properties)) {
    return MakeError(ErrorCode::kInvalidSchema, "metadata.properties is not an object of texts");
  }
  if (sensitive != nullptr && !IsTextList(*sensitive)) {
    return MakeError(ErrorCode::kInvalidSchema, "metadata.sensitive is not a list of texts");
  }
  return absl::OkStatus();
}

absl::Status CheckRuleSet(std::string_view rule_set) {
  if (rule_set.empty()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const Json json,
                          ParseBounded(rule_set, "ruleSet", ErrorCode::kInvalidRuleSet));
  for (const char* list : kRuleLists) {
    const Json* rules = Find(json, list);
    if (rules == nullptr) continue;
    if (!rules->is_array()) {
      return MakeError(ErrorCode::kInvalidRuleSet, Concat("ruleSet.", list, " is not a list"));
    }
    std::set<std::string> names;
    for (const Json& rule : *rules) TOCSIN_RETURN_IF_ERROR(CheckRule(rule, list, names));
  }
  return absl::OkStatus();
}

std::string MergeMetadata(std::string_view older, std::string_view newer) {
  if (older.empty() || newer.empty()) return std::string(older.empty() ? newer : older);
  const Json before = Parse(older);
  const Json after = Parse(newer);
  Json merged = MergeFields(&before, &after);
  for (const char* name : {"tags", "properties", "sensitive"}) merged.erase(name);
  SetIfAny(merged, "tags", MergeFields(Find(before, "tags"), Find(after, "tags")));
  SetIfAny(merged, "properties",
           MergeFields(Find(before, "properties"), Find(after, "properties")));
  SetIfAny(merged, "sensitive", Union(Find(before, "sensitive"), Find(after, "sensitive")));
  return Dump(merged);
}

std::string MergeRuleSets(std::string_view older, std::string_view newer) {
  if (older.empty() || newer.empty()) return std::string(older.empty() ? newer : older);
  const Json before = Parse(older);
  const Json after = Parse(newer);
  Json merged = MergeFields(&before, &after);
  for (const char* list : kRuleLists) {
    merged.erase(list);
    SetIfAny(merged, list, MergeRules(Find(before, list), Find(after, list)));
  }
  return Dump(merged);
}

std::string WithoutRules(std::string_view rule_set, const std::vector<std::string>& names) {
  Json json = Parse(rule_set);
  for (const char* list : kRuleLists) {
    const Json* rules = Find(json, list);
    if (rules == nullptr || !rules->is_array()) continue;
    Json kept = Json::array();
    for (const Json& rule : *rules) {
      if (std::find(names.begin(), names.end(), NameOf(rule)) == names.end()) kept.push_back(rule);
    }
    json.erase(list);
    SetIfAny(json, list, std::move(kept));
  }
  std::string text = Dump(json);
  return text.empty() ? "{}" : text;
}

std::map<std::string, std::string> PropertiesOf(std::string_view metadata) {
  const Json json = Parse(metadata);
  return SortedMap(Find(json, "properties"));
}

std::string CanonicalJson(std::string_view text) {
  if (text.empty()) return "";
  const auto json = ::nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty()) return "";
  return json.dump(-1, ' ', false, ::nlohmann::json::error_handler_t::replace);
}

std::string HashedMetadata(std::string_view metadata) {
  const Json json = Parse(metadata);
  std::string out;
  std::map<std::string, std::set<std::string>> tags;
  if (const Json* object = Find(json, "tags"); object != nullptr && object->is_object()) {
    for (const auto& [name, list] : object->items()) tags[name] = Sorted(&list);
  }
  for (const auto& [name, values] : tags) {
    out += name;
    for (const std::string& value : values) out += value;
  }
  for (const auto& [name, value] : SortedMap(Find(json, "properties"))) out += name + value;
  for (const std::string& name : Sorted(Find(json, "sensitive"))) out += name;
  return out;
}

std::string HashedRuleSet(std::string_view rule_set) {
  const Json json = Parse(rule_set);
  std::string out;
  for (const char* list : kRuleLists) {
    const Json* rules = Find(json, list);
    if (rules == nullptr || !rules->is_array()) continue;
    for (const Json& rule : *rules) {
      for (const char* name : kRuleTexts) {
        const std::string_view field = name;
        // Where they are not given, these are what is meant.
        if (field == "kind" && Find(rule, name) == nullptr) out += "TRANSFORM";
        if (field == "mode" && Find(rule, name) == nullptr) out += "WRITEREAD";
        AppendText(rule, name, out);
      }
      for (const std::string& tag : Sorted(Find(rule, "tags"))) out += tag;
      for (const auto& [name, value] : SortedMap(Find(rule, "params"))) out += name + value;
      for (const char* name : {"expr", "onSuccess", "onFailure"}) AppendText(rule, name, out);
      const Json* disabled = Find(rule, "disabled");
      if (disabled != nullptr && disabled->is_boolean() && disabled->get<bool>()) out += '\x01';
    }
  }
  return out;
}

}  // namespace tocsin::registry
