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

// A schema with everything it imports.
struct WithImports {
  std::shared_ptr<const StoredSchema> schema;
  std::vector<Import> imports;
};

// Thread-safe, but for Start and Stop. Errors carry a code (CodeOf). UNAVAILABLE /
// DEADLINE_EXCEEDED: the topic does not answer, retry. ABORTED: other writers were first all the
// time, retry.
class Registry {
 public:
  // `log` and `clock` must outlive the registry. Nothing is read before Start.
  Registry(RegistryLog& log, const Clock& clock, RegistryOptions options);
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
  // The version of the subject with this content: the one that exists, or a new one. kIncompatible
  // lists the findings.
  absl::StatusOr<SchemaVersion> Register(const std::string& subject, const Draft& draft);
  // `subject` nullopt: of all subjects that have no level of their own.
  absl::Status SetLevel(const std::optional<std::string>& subject,
                        schema::CompatibilityLevel level);

  // --- reads ------------------------------------------------------------------------------------
  // kSchemaNotFound.
  absl::StatusOr<WithImports> GetSchema(SchemaId id);
  // version nullopt: the latest. kSubjectNotFound, kVersionNotFound.
  absl::StatusOr<SchemaVersion> GetVersion(const std::string& subject,
                                           std::optional<std::int32_t> version);
  absl::StatusOr<std::vector<Import>> ImportsOf(const StoredSchema& schema);
  // kSubjectNotFound, kSchemaNotFound, kInvalidSchema.
  absl::StatusOr<SchemaVersion> Lookup(const std::string& subject, const Draft& draft);
  absl::StatusOr<std::vector<std::string>> Subjects(std::string_view prefix, bool deleted);
  // kSubjectNotFound.
  absl::StatusOr<std::vector<std::int32_t>> Versions(const std::string& subject);
  // kSchemaNotFound.
  absl::StatusOr<std::vector<SchemaVersion>> UsesOf(SchemaId id, bool deleted);

  enum class Against {
    // What registering would check, by the subject's level.
    kWhatTheLevelDemands,
    // The latest version alone.
    kLatest,
  };
  // A subject that does not exist is compatible with everything.
  absl::StatusOr<CompatibilityVerdict> Check(const std::string& subject, const Draft& draft,
                                             Against against);
  // kVersionNotFound, kSubjectNotFound.
  absl::StatusOr<CompatibilityVerdict> CheckVersion(const std::string& subject, const Draft& draft,
                                                    std::int32_t version);

  // kNoSubjectConfig when the subject has no level of its own and `or_global` is false.
  absl::StatusOr<schema::CompatibilityLevel> SubjectLevel(const std::string& subject,
                                                          bool or_global);
  absl::StatusOr<schema::CompatibilityLevel> GlobalLevel();

  // The .proto text as the descriptor that it compiles to (a serialized FileDescriptorProto).
  absl::StatusOr<std::string> Serialized(const StoredSchema& schema);

  // Attempts of ours that lost their race, since the start.
  std::int64_t collisions() const { return collisions_.load(std::memory_order_relaxed); }

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
