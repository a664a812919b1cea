// What the records of the topic add up to: contexts, subjects, versions, ids, configuration, modes.
// Pure: records go in, answers come out. Every replica that has applied the same records has the
// same state, and so has one that reads what compaction left of them.
//
// Subjects are named by their one name (FormatSubject).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "schema-registry/change_history.h"
#include "schema-registry/io.h"
#include "schema-registry/model.h"
#include "schema-registry/records.h"
#include "schema-registry/superseded_keys.h"

namespace tocsin::registry {

// What became of a record.
enum class Applied {
  kCounted,
  // It did not land at the offset that its writer expected: another writer was first.
  kLostRace,
  // It says that the record with its key is of no use any more.
  kTombstone,
  // A key or value that is not understood; skipped.
  kMalformed,
};

struct StateOptions {
  // This process's number in keys.
  std::int64_t node = 0;
  std::size_t max_changes = 100'000;
  std::size_t max_superseded = 200'000;
};

// Which of the subjects a list is about.
struct SubjectSelection {
  // nullopt: every context.
  std::optional<std::string> context;
  // Of the name within the context.
  std::string prefix;
  Deleted deleted = Deleted::kExclude;
};

// Not thread-safe.
class RegistryState {
 public:
  explicit RegistryState(const StateOptions& options)
      : history_(options.max_changes), superseded_(options.node, options.max_superseded) {}

  // Records come in the order of their offsets.
  Applied Apply(const LogRecord& record);
  // The end of the log was seen at `end`: offsets before it that were not applied are gone for good
  // (compaction).
  void ReachedEnd(std::int64_t end);

  // The offset of the next record, as far as this state knows.
  std::int64_t position() const { return position_; }
  // Grow with every change of configuration, modes or contexts; with every deletion.
  std::uint64_t config_changes() const { return config_changes_; }
  std::uint64_t deletions() const { return deletions_; }
  // Grows with every change to the versions of a subject.
  std::uint64_t ChangesOf(std::string_view subject) const;

  // --- schemas ----------------------------------------------------------------------------------
  // Higher than every id that a record of this context ever named.
  SchemaId NextId(std::string_view context) const;
  std::shared_ptr<const StoredSchema> FindSchema(std::string_view context, SchemaId id) const;
  // What an id stood for whose schema was deleted for good: its content key, empty where that is
  // not known. nullopt: nothing was deleted for good under this id.
  std::optional<std::string> DeletedContent(std::string_view context, SchemaId id) const;
  // The id that this content has in the context, under whatever subject. nullptr also where it is
  // not known yet what a schema means (TakeUnknown).
  std::shared_ptr<const StoredSchema> FindContent(std::string_view context,
                                                  const std::string& content_key) const;
  std::vector<std::pair<std::string, std::shared_ptr<const StoredSchema>>> FindGuid(
      const schema::SchemaGuid& guid) const;
  // Where an id is used, in the order of subjects.
  std::vector<SchemaVersion> UsesOf(std::string_view context, SchemaId id, Deleted deleted) const;
  // The schemas that import this version: contexts and ids.
  std::vector<std::pair<std::string, SchemaId>> Referrers(std::string_view subject,
                                                          std::int32_t version,
                                                          Deleted deleted) const;
  // Their ids.
  std::vector<SchemaId> ReferencedBy(std::string_view subject, std::int32_t version,
                                     Deleted deleted) const;

  // Schemas that came without a content key, for somebody to compile; at most `max`, each once.
  struct Unknown {
    std::string context;
    std::shared_ptr<const StoredSchema> schema;
  };
  std::vector<Unknown> TakeUnknown(std::size_t max);
  bool has_unknown() const { return !unknown_.empty(); }
  void SetContentKey(std::string_view context, SchemaId id, const std::string& content_key);

  // --- subjects ---------------------------------------------------------------------------------
  // All versions in ascending order, soft-deleted ones too; empty when there is none.
  std::vector<SchemaVersion> VersionsOf(std::string_view subject) const;
  // Also a soft-deleted one.
  std::optional<SchemaVersion> FindVersion(std::string_view subject, std::int32_t version) const;
  std::optional<SchemaVersion> Latest(std::string_view subject, bool deleted = false) const;
  // The number that the next version gets.
  std::int32_t NextVersion(std::string_view subject) const;
  // Has it versions that are not deleted (`deleted`: any)?
  bool Exists(std::string_view subject, bool deleted = false) const;

  // In the order of contexts ("." first) and names.
  std::vector<std::string> Subjects(const SubjectSelection& selection) const;
  // Those with subjects or settings, "." first and always.
  std::vector<std::string> Contexts(std::string_view prefix) const;
  // Another registry made a record for the context itself.
  bool ContextNamed(std::string_view context) const;
  bool ContextKnown(std::string_view context) const;
  std::size_t subject_count() const { return subjects_.size(); }
  std::size_t schema_count() const;
  // Of all texts that are in use, each once, however many subjects and contexts have it.
  std::size_t text_bytes() const { return text_bytes_->load(std::memory_order_relaxed); }

  // --- settings ---------------------------------------------------------------------------------
  // "": everything; ":.eu:": a context. What is set for this name itself.
  std::optional<SubjectConfig> OwnConfig(std::string_view name) const;
  std::optional<Mode> OwnMode(std::string_view name) const;
  // What is in force: each field from the subject, else its context, else ":.__GLOBAL:".
  SubjectConfig ConfigInForce(std::string_view name) const;
  Mode ModeInForce(std::string_view name) const;
  // Names within a context that have a mode of their own.
  std::vector<std::string> ModesIn(std::string_view context) const;

  // --- references -------------------------------------------------------------------------------
  // A draft's references with -1 turned into the latest version. kInvalidSchema names the reference
  // that does not exist. A subject without a context is one of `context`.
  absl::StatusOr<std::vector<Reference>> ResolveReferences(
      std::string_view context, const std::vector<Reference>& references) const;
  // What they stand for, and what that imports in turn, each file once. kInvalidSchema: one that
  // does not exist, or two versions of one file.
  absl::StatusOr<std::vector<Import>> ResolveImports(
      std::string_view context, const std::vector<Reference>& references) const;

  // --- housekeeping -----------------------------------------------------------------------------
  const ChangeHistory& history() const { return history_; }
  SupersededKeys& superseded() { return superseded_; }
  const SupersededKeys& superseded() const { return superseded_; }
  // Versions that another registry deleted for good: compaction will forget them, and their ids
  // with them, unless a record of ours says so.
  struct Forgettable {
    std::string subject;
    std::int32_t version = 0;
    SchemaId id;
    std::string content_key;
  };
  std::vector<Forgettable> Forgettables(std::size_t max) const;

 private:
  // Which record says what is in a place.
  struct Holder {
    std::int64_t offset = -1;
    // nullopt: another registry's.
    std::optional<Sequence> sequence;
  };
  struct Version {
    std::shared_ptr<const StoredSchema> schema;
    bool deleted = false;
    // Deleted for good; `schema` is nullptr, its number stays taken.
    bool gone = false;
    SchemaId id;
    WallTime registered{};
    std::string registered_by;
    Holder holder;
  };
  struct Subject {
    std::map<std::int32_t, Version> versions;
    // Also of versions that are gone, so that no number is given twice.
    std::int32_t last_version = 0;
    std::uint64_t changes = 0;
    Holder deletion;
  };
  template <typename Value>
  struct Setting {
    Value value;
    Holder holder;
  };
  struct Entry {
    std::shared_ptr<const StoredSchema> schema;
    std::set<std::pair<std::string, std::int32_t>> uses;
  };
  struct Context {
    std::int32_t max_id = 0;
    std::unordered_map<SchemaId, Entry> by_id;
    std::unordered_map<std::string, SchemaId> by_content;
    // Content keys of those that were deleted for good.
    std::unordered_map<SchemaId, std::string> deleted;
  };
  using SubjectMap = std::map<std::string, Subject, std::less<>>;

  Applied ApplyTombstone(const RecordKey& key);
  Applied ApplySchema(const RecordKey& key, const LogRecord& record);
  Applied ApplyConfig(const RecordKey& key, const LogRecord& record);
  Applied ApplyMode(const RecordKey& key, const LogRecord& record);
  Applied ApplyDeleteSubject(const RecordKey& key, const LogRecord& record);
  Applied ApplyClearSubject(const RecordKey& key, const LogRecord& record);
  Applied ApplyContext(const RecordKey& key, const LogRecord& record);

  // Puts `key`'s record into a place, and what held it before among the superseded.
  void Hold(const RecordKey& key, std::int64_t offset, Holder& holder);
  std::shared_ptr<const StoredSchema> Store(const std::string& context, SchemaValue value,
                                            const RecordNotes& notes);
  void Use(const std::string& context, const std::string& subject, std::int32_t number,
           const std::shared_ptr<const StoredSchema>& schema);
  void Unuse(const std::string& context, const std::string& subject, std::int32_t number,
             const StoredSchema& schema);
  void Remove(const std::string& subject, std::int32_t number, Version& version);
  // That this is what the id stood for; empty: nobody says what it was.
  void RememberDeleted(Context& context, SchemaId id, std::string_view content_key);
  std::shared_ptr<const std::string> Intern(std::string text);
  void Tell(Change::Kind kind, const LogRecord& record, std::optional<std::string> subject,
            std::int32_t version = 0, SchemaId id = {});

  SchemaVersion Make(std::string_view subject, std::int32_t number, const Version& version) const;
  const Subject* Find(std::string_view subject) const;
  const Context* FindContext(std::string_view context) const;
  std::string Qualified(std::string_view context, std::string_view subject) const;

  std::int64_t position_ = 0;
  // The record before, for those that follow it.
  struct {
    std::int64_t offset = -1;
    std::optional<Sequence> sequence;
    bool counted = false;
  } last_;
  std::uint64_t config_changes_ = 0;
  std::uint64_t deletions_ = 0;
  std::map<std::string, Context, std::less<>> contexts_;
  SubjectMap subjects_;
  std::map<schema::SchemaGuid, std::set<std::pair<std::string, SchemaId>>> by_guid_;
  // Of texts that are in use, by their hash.
  std::unordered_multimap<std::size_t, std::weak_ptr<const std::string>> texts_;
  std::size_t sweep_texts_at_ = 1024;
  // Texts outlive the state, in the hands of readers.
  std::shared_ptr<std::atomic<std::size_t>> text_bytes_ =
      std::make_shared<std::atomic<std::size_t>>(0);
  // (subject, version) → the (context, id) that import it.
  std::map<std::pair<std::string, std::int32_t>, std::set<std::pair<std::string, SchemaId>>>
      referrers_;
  std::map<std::string, Setting<SubjectConfig>, std::less<>> configs_;
  std::map<std::string, Setting<std::optional<Mode>>, std::less<>> modes_;
  std::map<std::string, Setting<bool>, std::less<>> named_contexts_;
  std::deque<std::pair<std::string, SchemaId>> unknown_;
  std::set<std::pair<std::string, std::int32_t>> forgettable_;
  ChangeHistory history_;
  SupersededKeys superseded_;
};

// The one name of the subject in a record: names that no client could use are kept as they are.
SubjectName NameInRecord(std::string_view subject);

}  // namespace tocsin::registry
