#include "lib/events/schema_cache.h"

#include <atomic>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/loading_cache.h"

namespace tocsin::events {
namespace {

using SchemaPtr = std::shared_ptr<const schema::CompiledSchema>;

// Ids of other contexts (":.eu:orders-value") are other ids.
bool IsInDefaultContext(std::string_view subject) { return !subject.starts_with(":."); }

absl::StatusOr<SchemaPtr> Compile(const FetchedSchema& fetched) {
  auto compiled = schema::CompiledSchema::Compile({"schema.proto", fetched.text}, fetched.imports);
  if (compiled.ok()) return compiled;
  return Internal(
      Concat("the registry gave a schema that does not compile: ", Message(compiled.status())));
}

class CachingSchemas final : public SchemaCache {
 public:
  CachingSchemas(RegistryClient& client, const Clock& clock, SchemaCacheOptions options)
      : client_(client),
        by_id_(clock, Keep(options, std::nullopt)),
        by_guid_(clock, Keep(options, std::nullopt)),
        by_subject_(clock, Keep(options, options.latest_lifetime)) {}

  absl::StatusOr<SchemaPtr> ById(schema::SchemaId id) override {
    return by_id_.Get(id, [&]() -> absl::StatusOr<SchemaPtr> {
      const auto fetched = Noted(client_.ById(id));
      auto compiled = fetched.ok() ? Compile(*fetched) : fetched.status();
      if (compiled.ok()) return compiled;
      return Annotate(compiled.status(), Concat("schema ", id.value()));
    });
  }

  absl::StatusOr<SchemaPtr> ByGuid(const schema::SchemaGuid& guid) override {
    return by_guid_.Get(guid, [&]() -> absl::StatusOr<SchemaPtr> {
      const auto fetched = Noted(client_.ByGuid(guid));
      auto compiled = fetched.ok() ? Compiled(*fetched) : fetched.status();
      if (compiled.ok()) return compiled;
      return Annotate(compiled.status(), Concat("schema ", schema::FormatGuid(guid)));
    });
  }

  absl::StatusOr<SubjectSchema> Latest(std::string_view subject) override {
    return by_subject_.Get(std::string(subject), [&]() -> absl::StatusOr<SubjectSchema> {
      const auto fetched = Noted(client_.Latest(subject));
      auto compiled = !fetched.ok()                 ? fetched.status()
                      : IsInDefaultContext(subject) ? Compiled(*fetched)
                                                    : Compile(*fetched);
      if (!compiled.ok()) return Annotate(compiled.status(), Concat("schema of ", subject));
      return SubjectSchema{fetched->id, fetched->version, *std::move(compiled), fetched->guid};
    });
  }

  bool registry_answers() const override { return answers_; }

 private:
  static LoadingCacheOptions Keep(const SchemaCacheOptions& options,
                                  std::optional<std::chrono::milliseconds> lifetime) {
    return {.lifetime = lifetime,
            .negative_lifetime = options.negative_lifetime,
            .retry_after = options.retry_after,
            .max_entries = options.max_entries};
  }

  absl::StatusOr<FetchedSchema> Noted(absl::StatusOr<FetchedSchema> fetched) {
    answers_ = !IsAway(fetched.status());
    return fetched;
  }

  // With an id of the default context, or 0: compiled once for all that lead to it.
  absl::StatusOr<SchemaPtr> Compiled(const FetchedSchema& fetched) {
    if (fetched.id.value() == 0) return Compile(fetched);
    if (auto known = by_id_.Peek(fetched.id)) return *std::move(known);
    TOCSIN_ASSIGN_OR_RETURN(SchemaPtr compiled, Compile(fetched));
    by_id_.Put(fetched.id, compiled);
    return compiled;
  }

  RegistryClient& client_;
  LoadingCache<schema::SchemaId, SchemaPtr> by_id_;
  LoadingCache<schema::SchemaGuid, SchemaPtr> by_guid_;
  LoadingCache<std::string, SubjectSchema> by_subject_;
  std::atomic<bool> answers_ = true;
};

}  // namespace

std::unique_ptr<SchemaCache> MakeSchemaCache(RegistryClient& client, const Clock& clock,
                                             SchemaCacheOptions options) {
  return std::make_unique<CachingSchemas>(client, clock, options);
}

}  // namespace tocsin::events
