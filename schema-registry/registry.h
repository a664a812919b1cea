// The registry: answers from the state that the topic adds up to, and writes to the topic without a
// leader.
//
// A write is decided on the state at offset n and goes out with n in its key; it counts, here and
// on every replica, only if it lands at n. Whoever lost reads what was in the way and decides anew.
// So ids and versions are never given twice, whichever replicas write at the same time, and every
// decision (compatibility too) holds for exactly the state that the record found.
//
// What never changes (a schema by its id, a version that exists) is answered from memory. Whatever
// can change, and whatever is missing, is answered after reading to the end of the topic: every
// replica sees what any replica has acknowledged. While the topic cannot be read, what is there is
// still answered, as of the last time it could; what is not there is UNAVAILABLE and never "not
// found".
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/schema/compatibility.h"
#include "schema-registry/io.h"
#include "schema-registry/model.h"
#include "schema-registry/registry_state.h"
#include "schema-registry/schema_compiler.h"

namespace tocsin::registry {

struct RegistryOptions {
  // Tells this process's records from those of others; draw it at random.
  std::int64_t node = 0;
  // A write is given up after this long, collisions included.
  std::chrono::milliseconds write_timeout{10'000};
  // A read waits this long for the end of the topic.
  std::chrono::milliseconds read_timeout{2'000};
  schema::CompileLimits limits;
  // Compiled schemas kept in memory.
  std::size_t max_compiled = 1'000;
};

// What a compatibility check says.
struct CompatibilityVerdict {
  schema::CompatibilityLevel level{};
  std::vector<schema::Finding> findings;
  // The version that the findings are about.
  std::optional<std::int32_t> against;

  bool compatible() const { return findings.empty(); }
};

// Every level at once.
struct FullVerdict {
  // In force for the subject.
  schema::CompatibilityLevel level{};
  // All but NONE, in the order of the enum.
  std::vector<CompatibilityVerdict> levels;
  // The version that already has this schema.
  std::optional<std::int32_t> registered_as;
};

// A schema with everything it imports.
struct WithImports {
  std::shared_ptr<const StoredSchema> schema;
  std::vector<Import> imports;
};

struct RegisterOptions {
  // Store and compare the normal form (schema::NormalizedText). Also where the subject's
  // configuration says so.
  bool normalize = false;
  // Without any check of compatibility.
  bool force = false;
};

struct LookupOptions {
  bool normalize = false;
  // Soft-deleted versions too.
  bool deleted = false;
};

struct SubjectFilter {
  // Of the name within its context; with a context (":.eu:ord") it selects that context.
  std::string prefix;
  // The prefix is then of the name within each context.
  bool all_contexts = false;
  Deleted deleted = Deleted::kExclude;
};

// A GUID under one of its ids.
struct ContextId {
  std::string context;
  SchemaId id;
};

// One change that counted.
struct Change {
  enum class Kind { kRegistered, kDeleted, kPermanentlyDeleted, kConfig, kMode, kContext };
  // The offset of its record + 1.
  std::int64_t revision = 0;
  Kind kind = Kind::kRegistered;
  // nullopt: everything (global configuration or mode).
  std::optional<std::string> subject;
  // 0: the whole subject.
  std::int32_t version = 0;
  SchemaId id;
  std::string actor;
  WallTime time{};
};

// Thread-safe, but for Start and Stop. Errors carry a code (CodeOf). UNAVAILABLE /
// DEADLINE_EXCEEDED: the topic does not answer, retry. ABORTED: other writers were first all the
// time, retry. Access is checked above this class; every write, made or refused, is told to the
// audit log by this class.
class Registry {
 public:
  // All references must outlive the registry. Nothing is read before Start.
  Registry(RegistryLog& log, AuditLog& audit, const Clock& clock, RegistryOptions options);
  // Calls Stop.
  ~Registry();

  // Begins to read. `on_status` is called from the reading thread whenever Ready() changes between
  // OK and an error, or its code does.
  void Start(std::function<void(const absl::Status&)> on_status = {});
  // Ends reading; waiting calls return UNAVAILABLE. At most about half a second.
  void Stop();

  // OK: the topic was read to its end and answers. UNAVAILABLE while loading or cut off;
  // FAILED_PRECONDITION: the topic was deleted or cut under us, only a restart helps.
  absl::Status Ready() const;

  // --- writes -----------------------------------------------------------------------------------
  // `subject` is a client's name for it (ParseSubject). Writes of many threads share round trips to
  // the log. Mode READONLY: kNotPermitted.

  // The version of the subject with this content: the one that exists, or a new one. kIncompatible
  // lists the findings; kInvalidSchema, kTooLarge, kNotPermitted, kIdMismatch.
  absl::StatusOr<SchemaVersion> Register(const Actor& actor, std::string_view subject,
                                         const Draft& draft, RegisterOptions options = {});
  // The versions deleted. kSubjectNotFound, kSubjectSoftDeleted, kSubjectNotSoftDeleted,
  // kReferenceExists.
  absl::StatusOr<std::vector<std::int32_t>> DeleteSubject(const Actor& actor,
                                                          std::string_view subject, bool permanent);
  // version nullopt: the latest. kVersionNotFound, kVersionSoftDeleted, kVersionNotSoftDeleted,
  // kReferenceExists.
  absl::StatusOr<std::int32_t> DeleteVersion(const Actor& actor, std::string_view subject,
                                             std::optional<std::int32_t> version, bool permanent);
  // nullopt: everything; ":.eu:": the context. What is absent in `config` stays as it was.
  absl::StatusOr<SubjectConfig> SetConfig(const Actor& actor,
                                          std::optional<std::string_view> subject,
                                          const SubjectConfig& config);
  // Gives what was set. kNoSubjectConfig.
  absl::StatusOr<SubjectConfig> DeleteConfig(const Actor& actor,
                                             std::optional<std::string_view> subject);
  // kNotPermitted: to IMPORT with schemas there, unless `force`.
  absl::StatusOr<Mode> SetMode(const Actor& actor, std::optional<std::string_view> subject,
                               Mode mode, bool force);
  // kNoSubjectMode. `recursive`: of all subjects in the context too.
  absl::StatusOr<Mode> DeleteMode(const Actor& actor, std::optional<std::string_view> subject,
                                  bool recursive);
  // kContextNotEmpty.
  absl::Status DeleteContext(const Actor& actor, std::string_view context);

  // --- reads ------------------------------------------------------------------------------------
  // `subject` says the context (empty: the default one; an id that is not there is looked for where
  // that subject is). kSchemaNotFound. Memory only where the id is known.
  absl::StatusOr<WithImports> GetSchema(SchemaId id, std::string_view subject = {});
  // The same from memory alone, for the fast path; nullptr: not known here, ask GetSchema.
  std::shared_ptr<const StoredSchema> FindSchema(SchemaId id, std::string_view context) const;
  // The highest id that was ever given in the context; 0: none.
  absl::StatusOr<SchemaId> MaxId(std::string_view context);
  // kSchemaNotFound.
  absl::StatusOr<std::shared_ptr<const StoredSchema>> GetByGuid(const schema::SchemaGuid& guid);
  absl::StatusOr<std::vector<ContextId>> IdsOfGuid(const schema::SchemaGuid& guid);
  // version nullopt: the latest. kSubjectNotFound, kVersionNotFound.
  absl::StatusOr<SchemaVersion> GetVersion(std::string_view subject,
                                           std::optional<std::int32_t> version,
                                           bool deleted = false);
  // The newest whose metadata has all these properties. kSubjectNotFound, kSchemaNotFound.
  absl::StatusOr<SchemaVersion> LatestWithMetadata(
      std::string_view subject, const std::map<std::string, std::string>& properties, bool deleted);
  absl::StatusOr<std::vector<Import>> ImportsOf(const StoredSchema& schema,
                                                std::string_view context);
  // kSubjectNotFound, kSchemaNotFound, kInvalidSchema.
  absl::StatusOr<SchemaVersion> Lookup(std::string_view subject, const Draft& draft,
                                       LookupOptions options = {});
  absl::StatusOr<std::vector<std::string>> Subjects(const SubjectFilter& filter, Page page = {});
  absl::StatusOr<std::vector<SchemaVersion>> Schemas(const SubjectFilter& filter, bool latest_only,
                                                     Page page = {});
  // kSubjectNotFound.
  absl::StatusOr<std::vector<std::int32_t>> Versions(std::string_view subject,
                                                     Deleted deleted = Deleted::kExclude,
                                                     Page page = {});
  // kSchemaNotFound. `subject` says the context.
  absl::StatusOr<std::vector<SchemaVersion>> UsesOf(SchemaId id, std::string_view subject,
                                                    Deleted deleted, Page page = {});
  // Ids of the schemas that import this version. kSubjectNotFound, kVersionNotFound.
  absl::StatusOr<std::vector<SchemaId>> ReferencedBy(std::string_view subject,
                                                     std::optional<std::int32_t> version,
                                                     Deleted deleted, Page page = {});
  absl::StatusOr<std::vector<std::string>> Contexts(std::string_view prefix, Page page = {});

  enum class Against {
    // What registering would check, by the subject's level.
    kWhatTheLevelDemands,
    // The latest version alone.
    kLatest,
  };
  // A subject that does not exist is compatible with everything.
  absl::StatusOr<CompatibilityVerdict> Check(std::string_view subject, const Draft& draft,
                                             Against against, bool normalize = false);
  // kVersionNotFound, kSubjectNotFound.
  absl::StatusOr<CompatibilityVerdict> CheckVersion(std::string_view subject, const Draft& draft,
                                                    std::int32_t version, bool normalize = false);
  absl::StatusOr<FullVerdict> CheckAll(std::string_view subject, const Draft& draft,
                                       bool normalize = false);

  // nullopt: everything. kNoSubjectConfig when the subject has none of its own and `or_default` is
  // false; else that of its context, else the global one, else BACKWARD.
  absl::StatusOr<SubjectConfig> GetConfig(std::optional<std::string_view> subject, bool or_default);
  // kNoSubjectMode, likewise; else READWRITE.
  absl::StatusOr<Mode> GetMode(std::optional<std::string_view> subject, bool or_default);

  // The .proto text as the descriptor that it compiles to (a serialized FileDescriptorProto).
  absl::StatusOr<std::string> Serialized(const StoredSchema& schema, std::string_view context,
                                         bool ignore_extensions = false);
  // Of the Kafka cluster: the scope of the ids.
  std::string cluster_id() const;

  // --- changes ----------------------------------------------------------------------------------
  // Those after `revision` (0: from the beginning), at most `max`; waits up to `timeout` for the
  // first, then gives none. OUT_OF_RANGE: some of them were compacted away.
  absl::StatusOr<std::vector<Change>> ChangesAfter(std::int64_t revision, std::size_t max,
                                                   std::chrono::milliseconds timeout);
  // Everything up to here was applied.
  std::int64_t revision() const;

  // Attempts of ours that lost their race, since the start.
  std::int64_t collisions() const { return collisions_.load(std::memory_order_relaxed); }
  // Records of the topic that were not understood, since the start.
  std::int64_t malformed() const { return malformed_.load(std::memory_order_relaxed); }

 private:
  // All that a decision needs, taken at one offset.
  struct Snapshot {
    std::int64_t position = 0;
    SchemaId next_id;
    std::int32_t next_version = 0;
    schema::CompatibilityLevel level{};
    std::vector<Reference> references;
    std::vector<Import> imports;
    struct Past {
      SchemaVersion version;
      std::vector<Import> imports;
    };
    // Versions that are not deleted, oldest first.
    std::vector<Past> history;
  };

  void Read();
  void SetStatus(absl::Status status);
  // Reads up to what is the end of the topic now.
  absl::Status CatchUp(SteadyTime deadline);
  absl::Status WaitFor(std::int64_t position, SteadyTime deadline);
  // Catches up; when that fails and `found` is true in the state as it is, says OK all the same.
  template <typename Found>
  absl::Status Refresh(const Found& found);
  absl::StatusOr<Snapshot> Take(const std::string& subject, const Draft& draft);
  absl::StatusOr<CompatibilityVerdict> Judge(const std::vector<Snapshot::Past>& history,
                                             schema::CompatibilityLevel level,
                                             const schema::CompiledSchema& candidate);
  // Appends and says whether the record counts.
  absl::StatusOr<bool> Append(const struct RecordKey& key, std::string value, SteadyTime deadline);
  std::chrono::milliseconds Left(SteadyTime deadline) const;
  absl::Status TooSlow(std::string_view what) const;

  RegistryLog& log_;
  const Clock& clock_;
  const RegistryOptions options_;
  SchemaCompiler compiler_;
  std::function<void(const absl::Status&)> on_status_;

  mutable Mutex mutex_;
  CondVar changed_;
  RegistryState state_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  // The topic was once read to its end, so the state is whole, if perhaps old.
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  // Our own writers take turns, so that they only ever race with other processes.
  Mutex writing_;
  std::int64_t attempts_ ABSL_GUARDED_BY(writing_) = 0;
  std::atomic<std::int64_t> collisions_{0};
  std::thread reader_;
};

}  // namespace tocsin::registry
