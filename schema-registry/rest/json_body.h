// The JSON that clients send. Internal to rest/. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "schema-registry/model.h"

namespace tocsin::registry {

// Keeps fields in the order in which they came.
using Json = ::nlohmann::ordered_json;

// The body as an object. kBadRequest: it is none, or is nested deeper than 32, or says a name twice
// in one object, or has more than 1,000 names in one, which nothing here asks for.
absl::StatusOr<Json> ParseBody(std::string_view body);

// The value of a field; nullptr where it is absent or null.
const Json* Given(const Json& object, const char* name);

// nullopt: no whole number, or outside of the type's range.
std::optional<std::int32_t> Integer(const Json& value);

// A schema as the bodies of POST …/versions, POST /subjects/{s} and POST /compatibility bring it.
// kInvalidSchema: none in it; kUnprocessable, kInvalidVersion: a field of the wrong kind.
absl::StatusOr<Draft> ReadDraft(const Json& body);

// What POST …/versions/{v}/tags brings.
struct TagRequest {
  schema::TagChanges tags;
  // JSON objects, as in Draft; nullopt: as they are.
  std::optional<std::string> metadata;
  std::optional<std::string> rule_set;
  std::optional<std::string> rules_to_merge;
  std::vector<std::string> rules_to_remove;
  std::optional<std::int32_t> new_version;
};
// kUnprocessable, kInvalidVersion: a field of the wrong kind; kInvalidRuleSet: rules as a whole and
// one by one.
absl::StatusOr<TagRequest> ReadTagRequest(const Json& body);

// What PUT /config brings. kInvalidLevel; kUnprocessable: a field of the wrong kind, or nothing.
absl::StatusOr<SubjectConfig> ReadConfig(const Json& body);

}  // namespace tocsin::registry
