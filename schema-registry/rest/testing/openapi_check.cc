#include "schema-registry/rest/testing/openapi_check.h"

#include <algorithm>

#include "lib/base/text.h"
#include "schema-registry/rest/openapi.h"

namespace tocsin::registry {
namespace {

using Json = OpenApiCheck::Json;

bool IsOfType(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "boolean") return value.is_boolean();
  return false;
}

}  // namespace

OpenApiCheck::OpenApiCheck() : document_(Json::parse(OpenApiDocument())) {}

std::string OpenApiCheck::PathOf(const std::vector<std::string>& segments) const {
  for (const auto& [path, methods] : document_["paths"].items()) {
    std::vector<std::string> wanted = Split(path.substr(1), '/');
    if (path == "/") wanted.clear();
    if (std::equal(wanted.begin(), wanted.end(), segments.begin(), segments.end(),
                   [](const std::string& want, const std::string& segment) {
                     return want.front() == '{' ? !segment.empty() : want == segment;
                   })) {
      return path;
    }
  }
  return "";
}

const Json* OpenApiCheck::Operation(const std::string& method,
                                    const std::vector<std::string>& segments) const {
  const std::string path = PathOf(segments);
  if (path.empty()) return nullptr;
  const Json& methods = document_["paths"][path];
  const auto found = methods.find(AsciiLower(method));
  return found == methods.end() ? nullptr : &*found;
}

std::string OpenApiCheck::Fault(const std::string& method, const std::vector<std::string>& segments,
                                int status, const std::string& body) const {
  const Json* operation = Operation(method, segments);
  Json schema = {{"$ref", "#/components/schemas/Error"}};
  if (operation != nullptr) {
    const Json& responses = (*operation)["responses"];
    const auto exact = responses.find(std::to_string(status));
    if (exact == responses.end() && status < 400) {
      return Concat("the status ", status, " is not in the document");
    }
    const Json& response = exact == responses.end() ? responses["default"] : *exact;
    if (!response.contains("content")) {
      return body.empty() ? "" : "there is a body, and the document says none";
    }
    schema = response["content"]["application/json"]["schema"];
    if (schema.contains("x-tocsin-raw")) return "";
  } else if (status < 400) {
    return "the path is not in the document";
  }
  const Json value = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return "the body is not JSON";
  return Invalid(value, schema, "$");
}

std::vector<std::string> OpenApiCheck::Undocumented(
    const std::string& method, const std::vector<std::string>& segments,
    const std::vector<std::string>& parameters) const {
  const Json* operation = Operation(method, segments);
  if (operation == nullptr) return {};
  std::vector<std::string> missing;
  for (const std::string& name : parameters) {
    const auto known = operation->value("parameters", Json::array());
    if (std::none_of(known.begin(), known.end(), [&](const Json& each) {
          return each["in"] == "query" && each["name"] == name;
        })) {
      missing.push_back(name);
    }
  }
  return missing;
}

std::string OpenApiCheck::Invalid(const Json& value, const Json& schema,
                                  const std::string& place) const {
  if (const auto reference = schema.find("$ref"); reference != schema.end()) {
    const std::string name = reference->get<std::string>().substr(1);
    return Invalid(value, document_.at(Json::json_pointer(name)), place);
  }
  const auto type = schema.find("type");
  if (type != schema.end() && !IsOfType(value, *type)) {
    return Concat(place, " is not of the type ", type->get<std::string>());
  }
  if (const auto names = schema.find("enum"); names != schema.end()) {
    if (std::find(names->begin(), names->end(), value) == names->end()) {
      return Concat(place, " is none of the values that are named");
    }
  }
  if (value.is_array() && schema.contains("items")) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      std::string fault = Invalid(value[i], schema["items"], Concat(place, "[", i, "]"));
      if (!fault.empty()) return fault;
    }
  }
  if (!value.is_object()) return "";
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) {
      return Concat(place, " lacks ", name.get<std::string>());
    }
  }
  const Json properties = schema.value("properties", Json::object());
  const auto others = schema.find("additionalProperties");
  for (const auto& [name, field] : value.items()) {
    const std::string at = Concat(place, ".", name);
    std::string fault;
    if (properties.contains(name)) {
      fault = Invalid(field, properties[name], at);
    } else if (others != schema.end() && others->is_boolean() && !others->get<bool>()) {
      fault = Concat(at, " is not in the document");
    } else if (others != schema.end() && others->is_object()) {
      fault = Invalid(field, *others, at);
    }
    if (!fault.empty()) return fault;
  }
  return "";
}

}  // namespace tocsin::registry
