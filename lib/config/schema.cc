#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "lib/base/text.h"
#include "lib/config/config.h"
#include "lib/config/fields.h"

namespace tocsin::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using Json = nlohmann::ordered_json;

template <typename Integer>
Json IntegerSchema(const FieldDescriptor& field) {
  Json number = {{"type", "integer"},
                 {"minimum", std::numeric_limits<Integer>::min()},
                 {"maximum", std::numeric_limits<Integer>::max()}};
  if (!IsSize(field)) return number;
  return {{"anyOf",
           {number, {{"type", "string"}, {"pattern", "^[0-9]+ ?(B|KB|MB|GB|KiB|MiB|GiB|TiB)?$"}}}}};
}

class SchemaBuilder {
 public:
  Json Build(const Descriptor& root) {
    Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                   {"title", root.full_name()},
                   {"$ref", Reference(root)}};
    // Each description may meet further messages; a message is described once, so recursive types
    // end.
    Json definitions = Json::object();
    while (!open_.empty()) {
      const Descriptor* type = open_.back();
      open_.pop_back();
      definitions[type->full_name()] = Describe(*type);
    }
    schema["$defs"] = std::move(definitions);
    return schema;
  }

 private:
  std::string Reference(const Descriptor& type) {
    if (known_.insert(&type).second) open_.push_back(&type);
    return Concat("#/$defs/", type.full_name());
  }

  Json Describe(const Descriptor& type) {
    Json properties = Json::object();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      Json schema = Field(field);
      std::string dashed = field.name();
      std::replace(dashed.begin(), dashed.end(), '_', '-');
      if (dashed != field.name()) properties[dashed] = schema;
      properties[field.name()] = std::move(schema);
    }
    return {{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
  }

  Json Field(const FieldDescriptor& field) {
    if (field.is_map()) {
      return {{"type", "object"},
              {"additionalProperties", Element(*field.message_type()->map_value())}};
    }
    if (!field.is_repeated()) return Element(field);
    Json list = {{"type", "array"}, {"items", Element(field)}};
    if (!IsScalar(field)) return list;
    return {{"anyOf", {list, Element(field)}}};
  }

  Json Element(const FieldDescriptor& field) {
    if (IsDuration(field)) {
      return {{"type", "string"}, {"pattern", "^[0-9]+(us|ms|s|m|h|d)$"}};
    }
    if (IsTimestamp(field)) return {{"type", "string"}, {"format", "date-time"}};
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return IntegerSchema<std::int32_t>(field);
      case FieldDescriptor::CPPTYPE_INT64:
        return IntegerSchema<std::int64_t>(field);
      case FieldDescriptor::CPPTYPE_UINT32:
        return IntegerSchema<std::uint32_t>(field);
      case FieldDescriptor::CPPTYPE_UINT64:
        return IntegerSchema<std::uint64_t>(field);
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT:
        return {{"type", "number"}};
      case FieldDescriptor::CPPTYPE_BOOL:
        return {{"type", "boolean"}};
      case FieldDescriptor::CPPTYPE_ENUM:
        return {{"enum", EnumWords(*field.enum_type())}};
      case FieldDescriptor::CPPTYPE_STRING:
        if (field.type() == FieldDescriptor::TYPE_BYTES) {
          return {{"type", "string"}, {"contentEncoding", "base64"}};
        }
        return {{"type", "string"}};
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return {{"$ref", Reference(*field.message_type())}};
    }
    return Json::object();
  }

  std::set<const Descriptor*> known_;
  std::vector<const Descriptor*> open_;
};

}  // namespace

std::string Schema(const Descriptor& descriptor) {
  try {
    return SchemaBuilder().Build(descriptor).dump(2) + "\n";
  } catch (const std::exception& error) {
    // Only text that is not UTF-8 could bring us here, and names in a descriptor are ASCII.
    return Concat("{\"$comment\": \"the schema cannot be written: ", error.what(), "\"}\n");
  }
}

}  // namespace tocsin::config
