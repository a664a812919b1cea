// The words of the registry: what a schema under a subject is, and its errors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/schema/wire_format.h"

namespace tocsin::registry {

using schema::SchemaId;

// As in REST: "PROTOBUF", "AVRO", "JSON". Only the first can be registered; a topic that was filled
// by another registry may hold the others, which are kept and handed out as they are.
inline constexpr std::string_view kProtobuf = "PROTOBUF";
inline constexpr std::string_view kAvro = "AVRO";

// An import: `name` is the path in the import statement.
struct Reference {
  std::string name;
  std::string subject;
  // -1 in a draft: the latest.
  std::int32_t version = 0;
  friend auto operator<=>(const Reference&, const Reference&) = default;
};

// A schema as a client brings it.
struct Draft {
  std::string type{kProtobuf};
  // .proto text, or a serialized FileDescriptorProto in base64 (what the Python client sends).
  std::string text;
  std::vector<Reference> references;
};

// A schema that has an id. Immutable.
struct StoredSchema {
  SchemaId id;
  std::string type;
  std::string text;
  std::vector<Reference> references;
  // Equal for schemas that mean the same; see ContentKey in registry_state.h.
  std::string content_key;
};

// A schema under a subject.
struct SchemaVersion {
  std::string subject;
  std::int32_t version = 0;
  bool deleted = false;
  WallTime registered{};
  std::shared_ptr<const StoredSchema> schema;
};

// A schema that another one imports, and under which name.
struct Import {
  std::string name;
  std::string subject;
  std::int32_t version = 0;
  std::shared_ptr<const StoredSchema> schema;
};

// Error codes of Confluent's REST interface. The first three digits are the HTTP status.
enum class ErrorCode : int {
  kBadRequest = 400,
  kUnauthorized = 401,
  kForbidden = 403,
  kNotFound = 404,
  kMethodNotAllowed = 405,
  kNotAcceptable = 406,
  kIncompatible = 409,
  kUnsupportedMediaType = 415,
  kUnprocessable = 422,
  kSubjectNotFound = 40401,
  kVersionNotFound = 40402,
  kSchemaNotFound = 40403,
  kNoSubjectConfig = 40408,
  kNoSubjectMode = 40409,
  kInvalidSchema = 42201,
  kInvalidVersion = 42202,
  kInvalidLevel = 42203,
  kNotPermitted = 42205,
  kInvalidSubject = 42208,
  kTooLarge = 42209,
  kStore = 50001,
  kTimeout = 50002,
  kCollision = 50301,
};

// An absl::Status that carries the code to the REST interface; gRPC sees the absl code that fits.
absl::Status MakeError(ErrorCode code, std::string_view message);
// kStore for a status that carries none (kTimeout for DEADLINE_EXCEEDED).
ErrorCode CodeOf(const absl::Status& status);
int HttpStatusOf(ErrorCode code);

}  // namespace tocsin::registry
