// What processes ask of the schema registry.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_format.h"

namespace grpc {
class ChannelInterface;
}

namespace tocsin::events {

// The registry does not answer: what it would say is not known, and the same call may succeed
// later.
bool IsAway(const absl::Status& status);

// An import that is registered under a subject of its own.
struct SchemaReference {
  std::string name;
  std::string subject;
  std::int32_t version = 0;
};

// Ids are unique within a context of the registry; all ids here are those of the default one.
struct FetchedSchema {
  schema::SchemaId id;
  // Where it was asked for by subject; else empty and 0.
  std::string subject;
  std::int32_t version = 0;
  std::string text;
  // Everything that it imports, directly or not.
  std::vector<schema::SourceFile> imports;
  // Of the content; nullopt: the registry does not say it.
  std::optional<schema::SchemaGuid> guid = std::nullopt;
  // Of what the file imports itself.
  std::vector<SchemaReference> references = {};
};

// A schema as a client brings it.
struct SchemaDraft {
  std::string text;
  // Of each file that it imports itself; well-known types need none.
  std::vector<SchemaReference> references;
  // The normal form is stored and looked for.
  bool normalize = false;
};

struct RegisteredVersion {
  schema::SchemaId id;
  std::int32_t version = 0;
  // nullopt: the registry does not say it.
  std::optional<schema::SchemaGuid> guid = std::nullopt;
};

// Thread-safe. Each call blocks for at most the client's timeout. UNAVAILABLE / DEADLINE_EXCEEDED:
// the registry does not answer; retry. PERMISSION_DENIED: this process lacks schema.read or
// schema.write.
class RegistryClient {
 public:
  virtual ~RegistryClient() = default;

  // NOT_FOUND: no such id.
  virtual absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) = 0;
  // NOT_FOUND: no schema has this GUID, in whatever context; `id` is the one in the default context
  // where it is in that, else 0. May take twice the timeout.
  virtual absl::StatusOr<FetchedSchema> ByGuid(const schema::SchemaGuid& guid) = 0;
  // NOT_FOUND: no such subject.
  virtual absl::StatusOr<FetchedSchema> Latest(std::string_view subject) = 0;
  // Idempotent: the same schema under the same subject gives the same version. FAILED_PRECONDITION
  // lists why the schema does not follow the last one; INVALID_ARGUMENT: it does not parse.
  virtual absl::StatusOr<RegisteredVersion> Register(std::string_view subject,
                                                     const SchemaDraft& draft) = 0;
  // The version of the subject that is this schema. Changes nothing. NOT_FOUND: there is none.
  virtual absl::StatusOr<RegisteredVersion> Lookup(std::string_view subject,
                                                   const SchemaDraft& draft) = 0;

  absl::StatusOr<RegisteredVersion> Register(std::string_view subject, std::string_view text,
                                             const std::vector<SchemaReference>& references) {
    return Register(subject, SchemaDraft{std::string(text), references});
  }
};

// Over tocsin.schema.v1.SchemaRegistryService; acts under this process's certificate name.
std::unique_ptr<RegistryClient> MakeRegistryClient(
    const std::shared_ptr<grpc::ChannelInterface>& channel,
    std::chrono::milliseconds timeout = std::chrono::seconds(3));

}  // namespace tocsin::events
