// The words of the registry: what a schema under a subject is, and its errors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/schema_tags.h"
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

// The context of whoever names none.
inline constexpr std::string_view kDefaultContext = ".";

// Subjects are named as clients write them: "orders-value" in the default context,
// ":.eu:orders-value" in the context ".eu". One subject has one name: ":.:orders-value" is written
// "orders-value".
struct SubjectName {
  // ".", ".eu"
  std::string context{kDefaultContext};
  // May be empty: the context itself, for its configuration and mode.
  std::string subject;
  friend auto operator<=>(const SubjectName&, const SubjectName&) = default;
};
// kInvalidSubject: an unfinished context, control characters, not UTF-8, over 512 bytes.
absl::StatusOr<SubjectName> ParseSubject(std::string_view name);
// The one name of a subject.
std::string FormatSubject(const SubjectName& name);

// A schema as a client brings it.
struct Draft {
  std::string type{kProtobuf};
  // .proto text, or a serialized FileDescriptorProto in base64 (what the Python client sends).
  std::string text;
  std::vector<Reference> references;
  // JSON objects as compact text with their fields as they came; empty: none.
  std::string metadata;
  std::string rule_set;
  // Chosen by the client: mode IMPORT only (else kNotPermitted).
  std::optional<SchemaId> id;
  std::optional<std::int32_t> version;
  // Written into the text before anything is made of it.
  schema::TagChanges tags = {};
};

// A schema that has an id. Immutable.
struct StoredSchema {
  SchemaId id;
  std::string type;
  // Shared by all schemas with this text.
  std::shared_ptr<const std::string> text;
  std::vector<Reference> references;
  std::string metadata;
  std::string rule_set;
  schema::SchemaGuid guid{};
  // Equal for schemas that mean the same; see ContentKey in schema_compiler.h.
  std::string content_key;
};

// A schema under a subject.
struct SchemaVersion {
  std::string subject;
  std::int32_t version = 0;
  bool deleted = false;
  WallTime registered{};
  // Empty where it is not known (another registry wrote it).
  std::string registered_by;
  std::shared_ptr<const StoredSchema> schema;
};

// Who acts.
struct Actor {
  std::string name;
  // Address of the client.
  std::string origin;
};

// What PUT /config takes and GET /config gives. Absent: not set.
struct SubjectConfig {
  std::optional<schema::CompatibilityLevel> level;
  std::optional<bool> normalize;
  std::optional<bool> validate_fields;
  std::optional<std::string> alias;
  // A metadata property: only versions with the same value are compared.
  std::optional<std::string> compatibility_group;
  std::optional<std::string> compatibility_policy;
  // JSON objects as compact text.
  std::optional<std::string> default_metadata;
  std::optional<std::string> override_metadata;
  std::optional<std::string> default_rule_set;
  std::optional<std::string> override_rule_set;
  friend bool operator==(const SubjectConfig&, const SubjectConfig&) = default;
};

enum class Mode { kReadWrite, kReadOnly, kReadOnlyOverride, kImport, kForward };
// "READWRITE"
std::string_view ModeName(Mode mode);
// kInvalidMode lists them.
absl::StatusOr<Mode> ParseMode(std::string_view name);

// Which of the soft-deleted a list shows.
enum class Deleted { kExclude, kInclude, kOnly };

// A part of a list. A negative limit is none.
struct Page {
  std::int64_t offset = 0;
  std::int64_t limit = -1;
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
  kRequestTimeout = 408,
  kIncompatible = 409,
  kUnsupportedMediaType = 415,
  kUnprocessable = 422,
  kBusy = 503,
  kSubjectNotFound = 40401,
  kVersionNotFound = 40402,
  kSchemaNotFound = 40403,
  kSubjectSoftDeleted = 40404,
  kSubjectNotSoftDeleted = 40405,
  kVersionSoftDeleted = 40406,
  kVersionNotSoftDeleted = 40407,
  kNoSubjectConfig = 40408,
  kNoSubjectMode = 40409,
  kInvalidSchema = 42201,
  kInvalidVersion = 42202,
  kInvalidLevel = 42203,
  kInvalidMode = 42204,
  kNotPermitted = 42205,
  kReferenceExists = 42206,
  kIdMismatch = 42207,
  kInvalidSubject = 42208,
  kTooLarge = 42209,
  kInvalidRuleSet = 42210,
  kContextNotEmpty = 42211,
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
