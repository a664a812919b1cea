// The schemas that a process needs, fetched from the registry once and kept: by id or
// GUID for reading, by subject for writing. Goes on with what it has when the registry is away.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/events/registry_client.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_format.h"

namespace tocsin::events {

struct SubjectSchema {
  schema::SchemaId id;
  std::int32_t version = 0;
  std::shared_ptr<const schema::CompiledSchema> schema;
  // nullopt: the registry does not say it.
  std::optional<schema::SchemaGuid> guid = std::nullopt;
};

// Thread-safe.
class SchemaCache {
 public:
  virtual ~SchemaCache() = default;

  // NOT_FOUND: the registry has no such id (remembered for a short time). UNAVAILABLE /
  // DEADLINE_EXCEEDED: the registry does not answer and the id is not known here; retry. Blocks the
  // first time only, for one call to the registry, or two where another thread asks for the same
  // just now; an id never changes its meaning. Ids are those of the default context.
  virtual absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> ById(
      schema::SchemaId id) = 0;

  // As ById, for the schema of any context whose content has this GUID.
  virtual absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> ByGuid(
      const schema::SchemaGuid& guid) = 0;

  // The latest version of a subject, as of at most `latest_lifetime` ago; older where the registry
  // does not answer. NOT_FOUND: no such subject. Otherwise as above.
  virtual absl::StatusOr<SubjectSchema> Latest(std::string_view subject) = 0;

  // The last call to the registry came through, or none was needed yet: for readiness.
  virtual bool registry_answers() const = 0;
};

struct SchemaCacheOptions {
  std::chrono::milliseconds latest_lifetime{5'000};
  // How long "there is none" is believed.
  std::chrono::milliseconds negative_lifetime{1'000};
  // How long the registry is left alone after it did not answer, for what is known here already.
  std::chrono::milliseconds retry_after{1'000};
  // Of each: ids, GUIDs, subjects.
  std::size_t max_entries = 10'000;
};

// `client` and `clock` must outlive the cache.
std::unique_ptr<SchemaCache> MakeSchemaCache(RegistryClient& client, const Clock& clock,
                                             SchemaCacheOptions options = {});

}  // namespace tocsin::events
