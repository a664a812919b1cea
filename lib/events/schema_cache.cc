#include "lib/events/schema_cache.h"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::events {
namespace {

using SchemaPtr = std::shared_ptr<const schema::CompiledSchema>;

bool IsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

class CachingSchemas final : public SchemaCache {
 public:
  CachingSchemas(RegistryClient& client, const Clock& clock, SchemaCacheOptions options)
      : client_(client), clock_(clock), options_(options) {}

  absl::StatusOr<SchemaPtr> ById(schema::SchemaId id) override {
    const std::string key = Concat("#", id.value());
    {
      MutexLock lock(mutex_);
      for (;;) {
        if (const auto found = by_id_.find(id); found != by_id_.end()) return found->second;
        if (auto refused = Refused(key)) return *std::move(refused);
        if (in_flight_.insert(key).second) break;
        landed_.Wait(mutex_);
      }
    }
    auto fetched = client_.ById(id);
    absl::StatusOr<SchemaPtr> compiled =
        fetched.ok() ? Compile(*fetched) : absl::StatusOr<SchemaPtr>(fetched.status());
    MutexLock lock(mutex_);
    Land(key, fetched.status());
    if (!compiled.ok()) {
      const absl::Status status = Annotate(compiled.status(), Concat("schema ", id.value()));
      if (!IsAway(status)) Refuse(key, status);
      return status;
    }
    Keep(by_id_, id, *compiled);
    return *std::move(compiled);
  }

  absl::StatusOr<SubjectSchema> Latest(std::string_view subject) override {
    const std::string key(subject);
    {
      MutexLock lock(mutex_);
      for (;;) {
        const auto found = by_subject_.find(key);
        const bool known = found != by_subject_.end();
        if (known && clock_.SteadyNow() < found->second.fresh_until) return found->second.schema;
        if (auto refused = Refused(key)) return *std::move(refused);
        if (in_flight_.insert(key).second) break;
        // Another thread asks just now. What is known is good enough until it has its answer.
        if (known) return found->second.schema;
        landed_.Wait(mutex_);
      }
    }
    auto fetched = client_.Latest(subject);
    absl::StatusOr<SubjectSchema> result =
        fetched.ok() ? Resolve(*fetched) : absl::StatusOr<SubjectSchema>(fetched.status());
    MutexLock lock(mutex_);
    Land(key, fetched.status());
    if (result.ok()) {
      Keep(by_subject_, key, SubjectEntry{*result, clock_.SteadyNow() + options_.latest_lifetime});
      Keep(by_id_, result->id, result->schema);
      return result;
    }
    const absl::Status status = Annotate(result.status(), Concat("schema of ", subject));
    if (IsAway(status)) {
      const auto found = by_subject_.find(key);
      if (found == by_subject_.end()) return status;
      found->second.fresh_until = clock_.SteadyNow() + options_.retry_after;
      return found->second.schema;
    }
    by_subject_.erase(key);
    Refuse(key, status);
    return status;
  }

  bool registry_answers() const override {
    MutexLock lock(mutex_);
    return answers_;
  }

 private:
  struct SubjectEntry {
    SubjectSchema schema;
    SteadyTime fresh_until;
  };
  struct Negative {
    absl::Status status;
    SteadyTime until;
  };

  static absl::StatusOr<SchemaPtr> Compile(const FetchedSchema& fetched) {
    auto compiled =
        schema::CompiledSchema::Compile({"schema.proto", fetched.text}, fetched.imports);
    if (compiled.ok()) return compiled;
    return Internal(
        Concat("the registry gave a schema that does not compile: ", Message(compiled.status())));
  }

  absl::StatusOr<SubjectSchema> Resolve(const FetchedSchema& fetched) {
    SubjectSchema result{fetched.id, fetched.version, nullptr};
    {
      MutexLock lock(mutex_);
      if (const auto found = by_id_.find(fetched.id); found != by_id_.end()) {
        result.schema = found->second;
        return result;
      }
    }
    TOCSIN_ASSIGN_OR_RETURN(result.schema, Compile(fetched));
    return result;
  }

  std::optional<absl::Status> Refused(const std::string& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = refused_.find(key);
    if (found == refused_.end()) return std::nullopt;
    if (clock_.SteadyNow() < found->second.until) return found->second.status;
    refused_.erase(found);
    return std::nullopt;
  }

  void Refuse(const std::string& key, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Keep(refused_, key, Negative{status, clock_.SteadyNow() + options_.negative_lifetime});
  }

  void Land(const std::string& key, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    answers_ = !IsAway(status);
    in_flight_.erase(key);
    landed_.NotifyAll();
  }

  // A bound against ids made up by a hostile producer; which entry goes does not matter.
  template <typename Map, typename Key, typename Value>
  void Keep(Map& map, const Key& key, Value value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (map.size() >= options_.max_entries && !map.contains(key)) map.erase(map.begin());
    map.insert_or_assign(key, std::move(value));
  }
  RegistryClient& client_;
  const Clock& clock_;
  const SchemaCacheOptions options_;

  mutable Mutex mutex_;
  CondVar landed_;
  std::map<schema::SchemaId, SchemaPtr> by_id_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, SubjectEntry> by_subject_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Negative> refused_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> in_flight_ ABSL_GUARDED_BY(mutex_);
  bool answers_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace

std::unique_ptr<SchemaCache> MakeSchemaCache(RegistryClient& client, const Clock& clock,
                                             SchemaCacheOptions options) {
  return std::make_unique<CachingSchemas>(client, clock, options);
}

}  // namespace tocsin::events
