// A schema registry in memory, for the unit tests of whoever reads or writes events.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/events/registry_client.h"

namespace tocsin::events::testing {

// Thread-safe. Takes any text; checks neither compatibility nor that it compiles.
class FakeRegistry final : public RegistryClient {
 public:
  absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) override;
  absl::StatusOr<FetchedSchema> Latest(std::string_view subject) override;
  absl::StatusOr<RegisteredVersion> Register(
      std::string_view subject, std::string_view text,
      const std::vector<SchemaReference>& references) override;

  // Every call fails with this status until it is set to OK again.
  void FailWith(absl::Status status);
  // Calls since the start, failed ones counted.
  int calls() const;
  // In the order registered.
  std::vector<std::string> subjects() const;

 private:
  struct Version {
    schema::SchemaId id;
    std::string text;
    std::vector<SchemaReference> references;
  };
  absl::StatusOr<FetchedSchema> Fetch(const std::string& subject, std::size_t version) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddImports(const Version& version, FetchedSchema& fetched) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::vector<Version>> versions_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> order_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, schema::SchemaId> ids_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::events::testing
