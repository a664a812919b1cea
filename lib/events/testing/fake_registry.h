// A schema registry in memory, for the unit tests of whoever reads or writes events.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/events/registry_client.h"

namespace tocsin::events::testing {

// Thread-safe. Takes any text; checks neither compatibility nor that it compiles; normalizes
// nothing.
class FakeRegistry final : public RegistryClient {
 public:
  absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) override;
  absl::StatusOr<FetchedSchema> ByGuid(const schema::SchemaGuid& guid) override;
  absl::StatusOr<FetchedSchema> Latest(std::string_view subject) override;
  using RegistryClient::Register;
  absl::StatusOr<RegisteredVersion> Register(std::string_view subject,
                                             const SchemaDraft& draft) override;
  absl::StatusOr<RegisteredVersion> Lookup(std::string_view subject,
                                           const SchemaDraft& draft) override;

  // Every call fails with this status until it is set to OK again.
  void FailWith(absl::Status status);
  // Register fails with this status until it is set to OK again.
  void RefuseWith(absl::Status status);
  // As a registry that knows nothing of GUIDs answers.
  void HideGuids();
  // Calls since the start, failed ones counted.
  int calls() const;
  // In the order registered.
  std::vector<std::string> subjects() const;
  // What came last to Register or Lookup.
  SchemaDraft last_draft() const;

 private:
  struct Version {
    schema::SchemaId id;
    std::string text;
    std::vector<SchemaReference> references;
    std::optional<schema::SchemaGuid> guid;
  };
  std::optional<RegisteredVersion> Find(std::string_view subject, const SchemaDraft& draft) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<FetchedSchema> Fetch(const std::string& subject, std::size_t version) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddImports(const Version& version, FetchedSchema& fetched) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  bool hides_guids_ ABSL_GUARDED_BY(mutex_) = false;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  SchemaDraft last_draft_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<Version>> versions_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> order_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, schema::SchemaId> ids_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::events::testing
