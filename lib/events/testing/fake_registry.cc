#include "lib/events/testing/fake_registry.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/schema/guid.h"

namespace tocsin::events::testing {

absl::StatusOr<FetchedSchema> FakeRegistry::ById(schema::SchemaId id) {
  MutexLock lock(mutex_);
  ++calls_;
  if (!failure_.ok()) return failure_;
  for (const auto& [subject, versions] : versions_) {
    for (std::size_t i = 0; i < versions.size(); ++i) {
      if (versions[i].id == id) return Fetch(subject, i);
    }
  }
  return NotFound("no such schema id (fake)");
}

absl::StatusOr<FetchedSchema> FakeRegistry::Latest(std::string_view subject) {
  MutexLock lock(mutex_);
  ++calls_;
  if (!failure_.ok()) return failure_;
  const auto found = versions_.find(std::string(subject));
  if (found == versions_.end()) return NotFound("no such subject (fake)");
  return Fetch(found->first, found->second.size() - 1);
}

absl::StatusOr<FetchedSchema> FakeRegistry::ByGuid(const schema::SchemaGuid& guid) {
  MutexLock lock(mutex_);
  ++calls_;
  if (!failure_.ok()) return failure_;
  for (const auto& [subject, versions] : versions_) {
    for (std::size_t i = 0; i < versions.size(); ++i) {
      if (versions[i].guid == guid) return Fetch(subject, i);
    }
  }
  return NotFound("no such GUID (fake)");
}

absl::StatusOr<RegisteredVersion> FakeRegistry::Register(std::string_view subject,
                                                         const SchemaDraft& draft) {
  MutexLock lock(mutex_);
  ++calls_;
  last_draft_ = draft;
  if (!failure_.ok()) return failure_;
  if (!refusal_.ok()) return refusal_;
  if (const auto known = Find(subject, draft)) return *known;
  auto& versions = versions_[std::string(subject)];
  if (versions.empty()) order_.emplace_back(subject);
  const auto next = schema::SchemaId(static_cast<std::int32_t>(ids_.size()) + 1);
  const schema::SchemaId id = ids_.try_emplace(draft.text, next).first->second;
  std::optional<schema::SchemaGuid> guid;
  if (!hides_guids_) {
    std::vector<schema::GuidReference> references;
    for (const SchemaReference& reference : draft.references) {
      references.push_back({reference.name, reference.subject, reference.version});
    }
    guid = schema::GuidOf(draft.text, references);
  }
  versions.push_back({id, draft.text, draft.references, guid});
  return RegisteredVersion{id, static_cast<std::int32_t>(versions.size()), guid};
}

absl::StatusOr<RegisteredVersion> FakeRegistry::Lookup(std::string_view subject,
                                                       const SchemaDraft& draft) {
  MutexLock lock(mutex_);
  ++calls_;
  last_draft_ = draft;
  if (!failure_.ok()) return failure_;
  if (const auto known = Find(subject, draft)) return *known;
  return NotFound("no such schema under the subject (fake)");
}

std::optional<RegisteredVersion> FakeRegistry::Find(std::string_view subject,
                                                    const SchemaDraft& draft) const {
  const auto found = versions_.find(std::string(subject));
  if (found == versions_.end()) return std::nullopt;
  const auto& versions = found->second;
  const auto known = std::find_if(versions.begin(), versions.end(), [&](const Version& version) {
    return version.text == draft.text;
  });
  if (known == versions.end()) return std::nullopt;
  return RegisteredVersion{known->id, static_cast<std::int32_t>(known - versions.begin()) + 1,
                           known->guid};
}

void FakeRegistry::FailWith(absl::Status status) {
  MutexLock lock(mutex_);
  failure_ = std::move(status);
}

void FakeRegistry::RefuseWith(absl::Status status) {
  MutexLock lock(mutex_);
  refusal_ = std::move(status);
}

void FakeRegistry::HideGuids() {
  MutexLock lock(mutex_);
  hides_guids_ = true;
}

SchemaDraft FakeRegistry::last_draft() const {
  MutexLock lock(mutex_);
  return last_draft_;
}

int FakeRegistry::calls() const {
  MutexLock lock(mutex_);
  return calls_;
}

std::vector<std::string> FakeRegistry::subjects() const {
  MutexLock lock(mutex_);
  return order_;
}

absl::StatusOr<FetchedSchema> FakeRegistry::Fetch(const std::string& subject,
                                                  std::size_t version) const {
  const Version& found = versions_.at(subject)[version];
  FetchedSchema fetched;
  fetched.id = found.id;
  fetched.subject = subject;
  fetched.version = static_cast<std::int32_t>(version) + 1;
  fetched.text = found.text;
  fetched.guid = found.guid;
  fetched.references = found.references;
  AddImports(found, fetched);
  return fetched;
}

void FakeRegistry::AddImports(const Version& version, FetchedSchema& fetched) const {
  for (const SchemaReference& reference : version.references) {
    const auto& versions = versions_.at(reference.subject);
    const Version& imported = versions.at(static_cast<std::size_t>(reference.version) - 1);
    fetched.imports.push_back({reference.name, imported.text});
    AddImports(imported, fetched);
  }
}

}  // namespace tocsin::events::testing
