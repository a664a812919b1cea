// The registry: answers from the state that the topic adds up to, and writes to the topic without a
// leader.
//
// A write is decided on the state at offset n and goes out with n in its key; it counts, here and
// on every replica, only if it lands at n. Whoever lost reads what was in the way and decides anew.
// So ids and versions are never given twice, whichever replicas write at the same time, and every
// decision (compatibility too) holds for exactly the state that the record found.
//
// What never changes (the schema of an id) is answered from memory. Whatever can change, and
// whatever is missing, is answered after reading to the end of the topic: every replica sees what
// any replica has acknowledged. While the topic cannot be read, what is there is still answered, as
// of the last time it could; what is not there is UNAVAILABLE and never "not found".
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/schema/compatibility.h"
#include "schema-registry/audit_limit.h"
#include "schema-registry/change_history.h"
#include "schema-registry/compile_turns.h"
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
  // Compiled schemas are kept in memory up to so many bytes (see SchemaCompiler).
  std::size_t max_compiled_bytes = std::size_t{32} << 20;
  CompileTurnsOptions turns;
  // Called, if given, after large schemas were compiled or compared: memory is free again. By many
  // threads; must not block.
  std::function<void()> memory_freed = {};
  // Keys of ours that are of no use any more get a tombstone after so long: those that this process
  // wrote, and those of processes that may be gone. At most so many per second.
  std::chrono::milliseconds tombstone_own_after{30'000};
  std::chrono::milliseconds tombstone_others_after{600'000};
  std::size_t tombstones_per_second = 200;
  // Changes kept for ChangesAfter.
  std::size_t max_changes = 100'000;
};

// What a compatibility check says.
struct CompatibilityVerdict {
  schema::CompatibilityLevel level{};
  std::vector<schema::Finding> findings;
  // The version that the findings are about.
  std::optional<std::int32_t> against;
  // Findings beyond those, which are not told.
  std::size_t left_out = 0;

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
  std::string prefix = {};
  // The prefix is then of the name within each context.
  bool all_contexts = false;
  Deleted deleted = Deleted::kExclude;
};

// A GUID under one of its ids.
struct ContextId {
  std::string context;
  SchemaId id;
};

// Thread-safe, but for Start and Stop. Errors carry a code (CodeOf). UNAVAILABLE /
// DEADLINE_EXCEEDED: the topic does not answer, retry. ABORTED: other writers were first all the
// time, retry. kBusy: too many schemas are being compiled, retry. Access is checked above this
// class; every write, made or refused, is told to the audit log by this class, and what was refused
// above it by TellDenied.
class Registry {
 public:
  // All references must outlive the registry. Nothing is read before Start.
  Registry(RegistryLog& log, AuditLog& audit, const Clock& clock, RegistryOptions options);
  // Calls Stop.
  ~Registry();

  // Tells the audit log of what the caller had no right to; `action` is the name of the method
  // alone, `target` as in AuditEntry. Within AuditLimit; what goes beyond is counted in
  // tocsin_schema_registry_denials_not_audited_total, and the next entry says how many they were.
  void TellDenied(const Actor& actor, std::string_view action, std::string target,
                  const absl::Status& refusal);

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

  struct Size {
    // With the deleted ones.
    std::size_t subjects = 0;
    std::size_t schemas = 0;
    // Of the texts that are kept, each once.
    std::size_t text_bytes = 0;
    // Keys that wait for their tombstone.
    std::size_t superseded = 0;
  };
  Size size() const;

  // Attempts of ours that lost their race, since the start.
  std::int64_t collisions() const { return collisions_.load(std::memory_order_relaxed); }
  // Records of the topic that were not understood, since the start.
  std::int64_t malformed() const { return malformed_.load(std::memory_order_relaxed); }

 private:
  // A subject of a request: aliases followed.
  struct Target {
    SubjectName parsed;
    std::string name;
  };
  // All that a decision needs, taken at one offset.
  struct Past {
    SchemaVersion version;
    std::vector<Import> imports;
  };
  struct Snapshot {
    Target target;
    SubjectConfig config;
    Mode mode{};
    // Of the state; the decision holds for as long as they stay.
    std::uint64_t subject_changes = 0;
    std::uint64_t config_changes = 0;
    std::uint64_t deletions = 0;
    std::vector<Reference> references;
    std::vector<Import> imports;
    // Versions, oldest first: those that are not deleted, and those that are.
    std::vector<Past> history;
    std::vector<Past> deleted;
  };
  // What a write brings to a batch (registry_commit.cc).
  struct PlannedRecord {
    RecordKey key;
    // The one or the other.
    std::optional<SchemaValue> schema;
    std::string value;
    RecordNotes notes;
  };
  struct Batch {
    std::vector<PlannedRecord> records;
    std::size_t bytes = 0;
    std::set<std::string> subjects;
    std::set<std::pair<std::string, std::string>> contents;
    std::map<std::string, std::int32_t> next_ids;
  };
  enum class Planned {
    kAdded,
    // The state is another one than that of the decision.
    kStale,
    // Not together with what is in the batch already.
    kLater,
  };
  // Called with the lock, on the state that the records will find.
  using Plan = std::function<Planned(const RegistryState& state, Batch& batch)>;
  struct PendingWrite {
    Plan plan;
    bool alone = false;
    SteadyTime deadline{};
    bool taken = false;
    std::optional<absl::Status> outcome;
    CondVar done;
  };
  struct Probe {
    std::uint64_t number = 0;
    absl::Status status;
    std::int64_t end = 0;
  };

  // --- reading the log (registry.cc)
  void Read();
  void Apply(const LogRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetStatus(absl::Status status);
  // Reads up to what is the end of the topic now; all who wait at one time share the question.
  absl::Status CatchUp(SteadyTime deadline);
  absl::Status WaitFor(std::int64_t position, SteadyTime deadline);
  // Catches up; when that fails, says OK all the same if the state was once whole and `found` is
  // true in it.
  template <typename Found>
  absl::Status Refresh(const Found& found);
  // Finds out what the schemas mean that came without a key.
  void LearnContents();
  std::chrono::milliseconds Left(SteadyTime deadline) const;
  absl::Status TooSlow(std::string_view what) const;

  // --- writing (registry_commit.cc)
  void Commits();
  // OK: the records of the plan count, and the state has them. ABORTED: they do not; decide anew.
  // `alone`: in a batch of its own.
  absl::Status Commit(Plan plan, bool alone, SteadyTime deadline);
  std::vector<std::shared_ptr<PendingWrite>> NextWrites();
  void CommitBatch(const std::vector<std::shared_ptr<PendingWrite>>& writes);
  void Finish(const std::vector<std::shared_ptr<PendingWrite>>& writes,
              const absl::Status& outcome);
  void PlanHousekeeping(const RegistryState& state, Batch& batch) const;

  // --- decisions (registry_writes.cc, registry_checks.cc)
  static absl::StatusOr<Target> Resolve(const RegistryState& state, std::string_view subject);
  absl::StatusOr<Snapshot> Take(std::string_view subject, const Draft& draft);
  absl::StatusOr<CompatibilityVerdict> Judge(const Snapshot& snapshot,
                                             const std::vector<Past>& history,
                                             schema::CompatibilityLevel level,
                                             const schema::CompiledSchema& candidate);
  // The newest version with this content.
  const Past* FindContent(const Snapshot& snapshot, const std::vector<Past>& versions,
                          const std::string& content_key, bool normalize);
  absl::StatusOr<CompiledDraft> Compile(const Snapshot& snapshot, const Draft& draft,
                                        bool normalize) const;
  // A turn to compile the draft and what is compared with it.
  absl::StatusOr<CompileTurns::Turn> TakeTurn(const Snapshot& snapshot, const Draft& draft);
  // What the check looks at: versions of the draft's compatibility group.
  static std::vector<Past> Comparable(const Snapshot& snapshot, const Draft& draft);
  // The draft with what the configuration and the version before it add.
  static Draft Complete(const Snapshot& snapshot, const Draft& draft);
  absl::StatusOr<SchemaVersion> DoRegister(const Actor& actor, std::string_view subject,
                                           const Draft& draft, RegisterOptions options,
                                           bool& changed);
  // Adds a new version to a batch, if the snapshot still holds.
  struct NewVersion {
    Snapshot snapshot;
    Draft draft;
    CompiledDraft compiled;
    std::string content_key;
    std::string actor;
  };
  static Planned PlanVersion(const NewVersion& version, const RegistryState& state, Batch& batch,
                             std::int32_t& number);
  static constexpr std::size_t kMaxRecordsOfOne = 1'000;
  static PlannedRecord ConfigRecord(const std::string& name, const SubjectConfig& config,
                                    const Actor& actor);
  static PlannedRecord ModeRecord(const std::string& name, std::optional<Mode> mode,
                                  const Actor& actor);
  // At most kMaxRecordsOfOne versions, where it is for good.
  absl::StatusOr<std::vector<std::int32_t>> DeleteSome(const Actor& actor, std::string_view subject,
                                                       bool permanent);
  // That deletes the version.
  static PlannedRecord VersionRecord(const SchemaVersion& version, bool permanent,
                                     const Actor& actor);
  // Decides again and again until the write counts, or until there is nothing to write or the
  // answer is no on a state that is as new as the log was when this began.
  struct Decision {
    // None: nothing is to be written.
    Plan plan;
    bool alone = false;
  };
  absl::Status Write(const std::function<absl::StatusOr<Decision>()>& decide);
  // For what is decided fast enough to do it under the lock: `decide` gives the records to write.
  using Records = std::vector<PlannedRecord>;
  absl::Status WriteAlone(
      const std::function<absl::StatusOr<Records>(const RegistryState&)>& decide);
  void Tell(const Actor& actor, std::string_view action, std::string target,
            const absl::Status& outcome, std::string detail = {});

  RegistryLog& log_;
  AuditLog& audit_;
  AuditLimit denials_;
  const Clock& clock_;
  const RegistryOptions options_;
  SchemaCompiler compiler_;
  CompileTurns turns_;
  std::function<void(const absl::Status&)> on_status_;

  mutable Mutex mutex_;
  CondVar changed_;
  RegistryState state_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  // The topic was once read to its end, so the state is whole, if perhaps old.
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool probing_ ABSL_GUARDED_BY(mutex_) = false;
  std::uint64_t probes_begun_ ABSL_GUARDED_BY(mutex_) = 0;
  Probe last_probe_ ABSL_GUARDED_BY(mutex_);

  Mutex queue_mutex_;
  CondVar queue_changed_;
  std::deque<std::shared_ptr<PendingWrite>> queue_ ABSL_GUARDED_BY(queue_mutex_);
  bool queue_closed_ ABSL_GUARDED_BY(queue_mutex_) = false;
  // Of the committing thread alone.
  std::int64_t attempts_ = 0;
  SteadyTime next_tombstones_{};

  std::atomic<std::int64_t> collisions_{0};
  std::atomic<std::int64_t> malformed_{0};
  std::thread reader_;
  std::thread committer_;
  std::thread learner_;
};

template <typename Found>
absl::Status Registry::Refresh(const Found& found) {
  {
    // While the topic is known not to answer, nobody waits for it.
    MutexLock lock(mutex_);
    if (loaded_ && !status_.ok() && found(state_)) return absl::OkStatus();
  }
  const absl::Status status = CatchUp(clock_.SteadyNow() + options_.read_timeout);
  if (status.ok()) return status;
  MutexLock lock(mutex_);
  return loaded_ && found(state_) ? absl::OkStatus() : status;
}

}  // namespace tocsin::registry
