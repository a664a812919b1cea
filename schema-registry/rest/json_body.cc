#include "schema-registry/rest/json_body.h"

#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "schema-registry/rest/json_answer.h"

namespace tocsin::registry {
namespace {

constexpr int kMaxDepth = 32;
// An ordered object looks a name up by walking, so its size is bounded before it is built.
constexpr std::size_t kMaxNames = 1'000;

absl::Status BadBody(std::string_view why) {
  return MakeError(ErrorCode::kBadRequest, Concat("the body is not a JSON object", why));
}

absl::Status Wrong(std::string_view what) { return MakeError(ErrorCode::kUnprocessable, what); }

// Watches the parser: what is refused is not built.
class BodyGuard {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (!fault_.empty()) return false;
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        if (depth >= kMaxDepth) return Refuse(Concat("it is nested deeper than ", kMaxDepth));
        names_.emplace_back();
        return true;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        if (!names_.empty()) names_.pop_back();
        return true;
      case Json::parse_event_t::key: {
        const auto& name = parsed.get_ref<const std::string&>();
        if (names_.empty()) return true;
        if (names_.back().size() >= kMaxNames) {
          return Refuse(Concat("an object in it has more than ", kMaxNames, " names"));
        }
        if (!names_.back().insert(name).second) {
          return Refuse(Concat("the name \"", Shorten(name, 40), "\" is twice in one object"));
        }
        return true;
      }
      default:
        return true;
    }
  }
  const std::string& fault() const { return fault_; }

 private:
  bool Refuse(std::string fault) {
    fault_ = std::move(fault);
    return false;
  }

  std::vector<std::set<std::string>> names_;
  std::string fault_;
};

absl::StatusOr<std::string> TextField(const Json& object, const char* name) {
  const Json* value = Given(object, name);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return Wrong(Concat("\"", name, "\" is not a text"));
  return value->get<std::string>();
}

absl::StatusOr<std::optional<std::string>> ObjectField(const Json& object, const char* name) {
  const Json* value = Given(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return Wrong(Concat("\"", name, "\" is not an object"));
  return Dump(*value);
}

absl::StatusOr<std::optional<bool>> FlagField(const Json& object, const char* name) {
  const Json* value = Given(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return Wrong(Concat("\"", name, "\" is not true or false"));
  return value->get<bool>();
}

absl::StatusOr<std::optional<std::string>> OptionalTextField(const Json& object, const char* name) {
  if (Given(object, name) == nullptr) return std::nullopt;
  return TextField(object, name);
}

absl::StatusOr<std::vector<Reference>> ReadReferences(const Json& list) {
  if (!list.is_array()) return Wrong("\"references\" is not a list");
  std::vector<Reference> references;
  for (const Json& entry : list) {
    if (!entry.is_object()) return Wrong("a reference is not an object");
    const Json* name = Given(entry, "name");
    const Json* subject = Given(entry, "subject");
    const Json* version = Given(entry, "version");
    std::optional<std::int32_t> number;
    if (version != nullptr) number = Integer(*version);
    if (name == nullptr || !name->is_string() || subject == nullptr || !subject->is_string() ||
        number.value_or(-2) < -1) {
      return Wrong("a reference needs \"name\" and \"subject\" (texts) and \"version\" (a number)");
    }
    references.push_back({name->get<std::string>(), subject->get<std::string>(), *number});
  }
  return references;
}

constexpr std::size_t kMaxTags = 1'000;

absl::StatusOr<std::vector<schema::EntityTags>> ReadTags(const Json& body, const char* name) {
  std::vector<schema::EntityTags> list;
  const Json* given = Given(body, name);
  if (given == nullptr) return list;
  const absl::Status wrong =
      Wrong(Concat("\"", name,
                   "\" is not a list of tags: each is {\"schemaEntity\": {\"entityPath\": "
                   "\"Message.field\", \"entityType\": \"sr_field\" or \"sr_record\"}, \"tags\": "
                   "[\"PII\"]}"));
  const absl::Status too_many = Wrong(
      Concat("\"", name, "\" has more than ", kMaxTags, " tags; send them in several requests"));
  if (!given->is_array()) return wrong;
  std::size_t count = 0;
  for (const Json& entry : *given) {
    if (!entry.is_object()) return wrong;
    const Json* entity = Given(entry, "schemaEntity");
    const Json* tags = Given(entry, "tags");
    if (entity == nullptr || !entity->is_object() || tags == nullptr || !tags->is_array()) {
      return wrong;
    }
    TOCSIN_ASSIGN_OR_RETURN(std::string path, TextField(*entity, "entityPath"));
    TOCSIN_ASSIGN_OR_RETURN(const std::string type, TextField(*entity, "entityType"));
    const bool is_record = AsciiLower(type) == "sr_record";
    if (!is_record && AsciiLower(type) != "sr_field") return wrong;
    if (list.size() >= kMaxTags) return too_many;
    schema::EntityTags& to = list.emplace_back();
    to.kind = is_record ? schema::EntityTags::Kind::kMessage : schema::EntityTags::Kind::kField;
    to.path = std::move(path);
    for (const Json& tag : *tags) {
      if (!tag.is_string()) return wrong;
      if (++count > kMaxTags) return too_many;
      to.tags.push_back(tag.get<std::string>());
    }
  }
  return list;
}

absl::StatusOr<std::vector<std::string>> ReadNames(const Json& body, const char* name) {
  std::vector<std::string> names;
  const Json* given = Given(body, name);
  if (given == nullptr) return names;
  if (!given->is_array()) return Wrong(Concat("\"", name, "\" is not a list of names"));
  for (const Json& each : *given) {
    if (!each.is_string()) return Wrong(Concat("\"", name, "\" is not a list of names"));
    names.push_back(each.get<std::string>());
  }
  return names;
}

}  // namespace

absl::StatusOr<Json> ParseBody(std::string_view body) {
  BodyGuard guard;
  Json json = Json::parse(
      body,
      [&guard](int depth, Json::parse_event_t event, Json& parsed) {
        return guard(depth, event, parsed);
      },
      /*allow_exceptions=*/false);
  if (!guard.fault().empty()) return BadBody(Concat(" that is taken here: ", guard.fault()));
  if (!json.is_object()) return BadBody("");
  return json;
}

const Json* Given(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int32_t> Integer(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  constexpr auto kLast = std::numeric_limits<std::int32_t>::max();
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{kLast}) {
    return std::nullopt;
  }
  const auto number = value.get<std::int64_t>();
  if (number < std::numeric_limits<std::int32_t>::min() || number > kLast) return std::nullopt;
  return static_cast<std::int32_t>(number);
}

absl::StatusOr<Draft> ReadDraft(const Json& body) {
  Draft draft;
  const Json* schema = Given(body, "schema");
  if (schema == nullptr || !schema->is_string() || schema->get_ref<const std::string&>().empty()) {
    return MakeError(ErrorCode::kInvalidSchema,
                     "the body has no \"schema\", a text with the .proto file");
  }
  draft.text = schema->get<std::string>();
  TOCSIN_ASSIGN_OR_RETURN(draft.type, TextField(body, "schemaType"));
  if (draft.type.empty()) draft.type = kAvro;
  if (const Json* references = Given(body, "references")) {
    TOCSIN_ASSIGN_OR_RETURN(draft.references, ReadReferences(*references));
  }
  TOCSIN_ASSIGN_OR_RETURN(const auto metadata, ObjectField(body, "metadata"));
  draft.metadata = metadata.value_or("");
  TOCSIN_ASSIGN_OR_RETURN(const auto rule_set, ObjectField(body, "ruleSet"));
  draft.rule_set = rule_set.value_or("");
  // Clients that leave the number to the registry send 0 or -1 as well as nothing.
  if (const Json* id = Given(body, "id")) {
    const auto number = Integer(*id);
    if (!number || *number < -1) {
      return Wrong("\"id\" is not the id of a schema: a number from 1 to 2147483647");
    }
    if (*number > 0) draft.id = SchemaId(*number);
  }
  if (const Json* version = Given(body, "version")) {
    const auto number = Integer(*version);
    if (!number || *number < -1) {
      return MakeError(ErrorCode::kInvalidVersion,
                       "\"version\" is not a version: a number from 1 to 2147483647");
    }
    if (*number > 0) draft.version = *number;
  }
  TOCSIN_ASSIGN_OR_RETURN(draft.tags.add, ReadTags(body, "schemaTagsToAdd"));
  TOCSIN_ASSIGN_OR_RETURN(draft.tags.remove, ReadTags(body, "schemaTagsToRemove"));
  TOCSIN_ASSIGN_OR_RETURN(const auto propagate, FlagField(body, "propagateSchemaTags"));
  if (propagate.value_or(false)) {
    return MakeError(ErrorCode::kNotPermitted,
                     "this registry does not copy the tags of the version before; leave "
                     "\"propagateSchemaTags\" out, and name the tags in \"schemaTagsToAdd\"");
  }
  return draft;
}

absl::StatusOr<TagRequest> ReadTagRequest(const Json& body) {
  TagRequest request;
  TOCSIN_ASSIGN_OR_RETURN(request.tags.add, ReadTags(body, "tagsToAdd"));
  TOCSIN_ASSIGN_OR_RETURN(request.tags.remove, ReadTags(body, "tagsToRemove"));
  TOCSIN_ASSIGN_OR_RETURN(request.metadata, ObjectField(body, "metadata"));
  TOCSIN_ASSIGN_OR_RETURN(request.rule_set, ObjectField(body, "ruleSet"));
  TOCSIN_ASSIGN_OR_RETURN(request.rules_to_merge, ObjectField(body, "rulesToMerge"));
  TOCSIN_ASSIGN_OR_RETURN(request.rules_to_remove, ReadNames(body, "rulesToRemove"));
  if (request.rule_set && (request.rules_to_merge || !request.rules_to_remove.empty())) {
    return MakeError(ErrorCode::kInvalidRuleSet,
                     "give either \"ruleSet\" or \"rulesToMerge\" and \"rulesToRemove\"");
  }
  if (const Json* version = Given(body, "newVersion")) {
    const auto number = Integer(*version);
    if (!number || *number < -1) {
      return MakeError(ErrorCode::kInvalidVersion,
                       "\"newVersion\" is not a version: a number from 1 to 2147483647");
    }
    if (*number > 0) request.new_version = *number;
  }
  return request;
}

absl::StatusOr<SubjectConfig> ReadConfig(const Json& body) {
  SubjectConfig config;
  if (const Json* name = Given(body, "compatibility")) {
    if (!name->is_string()) {
      return MakeError(ErrorCode::kInvalidLevel, "\"compatibility\" is not a text");
    }
    // In any case, as Confluent's registry takes them.
    auto level = schema::ParseLevel(AsciiUpper(name->get_ref<const std::string&>()));
    if (!level.ok()) {
      level = schema::ParseLevel(name->get_ref<const std::string&>());
      return MakeError(ErrorCode::kInvalidLevel, Message(level.status()));
    }
    config.level = *level;
  }
  TOCSIN_ASSIGN_OR_RETURN(config.normalize, FlagField(body, "normalize"));
  TOCSIN_ASSIGN_OR_RETURN(config.validate_fields, FlagField(body, "validateFields"));
  TOCSIN_ASSIGN_OR_RETURN(config.alias, OptionalTextField(body, "alias"));
  TOCSIN_ASSIGN_OR_RETURN(config.compatibility_group,
                          OptionalTextField(body, "compatibilityGroup"));
  TOCSIN_ASSIGN_OR_RETURN(config.compatibility_policy,
                          OptionalTextField(body, "compatibilityPolicy"));
  for (const auto& [name, value] :
       {std::pair("compatibilityGroup", &config.compatibility_group),
        std::pair("compatibilityPolicy", &config.compatibility_policy)}) {
    if (*value && (*value)->empty()) {
      return MakeError(ErrorCode::kUnprocessable,
                       Concat(name, " is empty: leave it out where nothing is to be set"));
    }
  }
  TOCSIN_ASSIGN_OR_RETURN(config.default_metadata, ObjectField(body, "defaultMetadata"));
  TOCSIN_ASSIGN_OR_RETURN(config.override_metadata, ObjectField(body, "overrideMetadata"));
  TOCSIN_ASSIGN_OR_RETURN(config.default_rule_set, ObjectField(body, "defaultRuleSet"));
  TOCSIN_ASSIGN_OR_RETURN(config.override_rule_set, ObjectField(body, "overrideRuleSet"));
  if (config == SubjectConfig{}) {
    return MakeError(ErrorCode::kInvalidLevel,
                     "the body sets nothing: give at least \"compatibility\", for example "
                     "{\"compatibility\": \"BACKWARD\"}");
  }
  return config;
}

}  // namespace tocsin::registry
