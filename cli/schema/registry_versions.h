// Schemas of the running registry, compiled with what they import.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "lib/schema/compiled_schema.h"
#include "tocsin/schema/v1/registry.pb.h"

namespace tocsin::cli {

struct RegistryVersion {
  schema::v1::Schema schema;
  std::shared_ptr<const schema::CompiledSchema> compiled;
  // "orders-value version 3"
  std::string name() const;
};

// 0 is the latest. FAILED_PRECONDITION: it is not Protobuf.
absl::StatusOr<RegistryVersion> FetchVersion(const Session& session, const std::string& subject,
                                             std::int32_t version);
// Those that are not deleted, oldest first. NOT_FOUND: no such subject.
absl::StatusOr<std::vector<std::int32_t>> FetchVersionNumbers(const Session& session,
                                                              const std::string& subject);
// Of every subject whose name begins so, all pages.
absl::StatusOr<std::vector<schema::v1::Schema>> FetchSchemas(
    const Session& session, schema::v1::ListSchemasRequest request);

}  // namespace tocsin::cli
