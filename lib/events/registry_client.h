// What processes ask of the schema registry.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
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

struct FetchedSchema {
  schema::SchemaId id;
  // Where it was asked for by subject; else empty and 0.
  std::string subject;
  std::int32_t version = 0;
  std::string text;
  // Everything that it imports, directly or not.
  std::vector<schema::SourceFile> imports;
};

// An import that is registered under a subject of its own.
struct SchemaReference {
  std::string name;
  std::string subject;
  std::int32_t version = 0;
};

struct RegisteredVersion {
  schema::SchemaId id;
  std::int32_t version = 0;
};

// Thread-safe. Each call blocks for at most the client's timeout. UNAVAILABLE / DEADLINE_EXCEEDED:
// the registry does not answer; retry. PERMISSION_DENIED: this process lacks schema.read or
// schema.write.
class RegistryClient {
 public:
  virtual ~RegistryClient() = default;

  // NOT_FOUND: no such id.
  virtual absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) = 0;
  // NOT_FOUND: no such subject.
  virtual absl::StatusOr<FetchedSchema> Latest(std::string_view subject) = 0;
  // Idempotent: the same text under the same subject gives the same version. FAILED_PRECONDITION
  // lists why the schema does not follow the last one; INVALID_ARGUMENT: it does not parse.
  virtual absl::StatusOr<RegisteredVersion> Register(
      std::string_view subject, std::string_view text,
      const std::vector<SchemaReference>& references) = 0;
};

// Over tocsin.schema.v1.SchemaRegistryService; acts under this process's certificate name.
std::unique_ptr<RegistryClient> MakeRegistryClient(
    const std::shared_ptr<grpc::ChannelInterface>& channel,
    std::chrono::milliseconds timeout = std::chrono::seconds(3));

}  // namespace tocsin::events
