#include "schema-registry/schema_access.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "schema-registry/registry_errors.h"

namespace tocsin::registry {
namespace {

absl::StatusOr<bool> Readable(const SubjectAccess& access, const auth::Principal& principal,
                              Registry& registry, const std::string& context, SchemaId id) {
  const auto uses = registry.UsesOf(id, Concat(":", context, ":"), Deleted::kInclude);
  if (!uses.ok()) {
    if (absl::IsNotFound(uses.status())) return false;
    return uses.status();
  }
  return std::any_of(uses->begin(), uses->end(), [&](const SchemaVersion& use) {
    return access.MayRead(principal, use.subject).ok();
  });
}

// Does the version import one of that subject?
bool Imports(const SchemaVersion& version, std::string_view subject) {
  const auto wanted = ParseSubject(subject);
  const auto& references = version.schema->references;
  return std::any_of(references.begin(), references.end(), [&](const Reference& reference) {
    const auto name = ParseSubject(reference.subject);
    return wanted.ok() && name.ok() && name->subject == wanted->subject;
  });
}

}  // namespace

absl::Status MayReadSchema(const SubjectAccess& access, const auth::Principal& principal,
                           Registry& registry, const StoredSchema& schema) {
  if (!access.restricts_reading()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const auto contexts, registry.Contexts(""));
  for (const std::string& context : contexts) {
    // The same id is another schema in another context.
    if (registry.FindSchema(schema.id, context).get() != &schema) continue;
    TOCSIN_ASSIGN_OR_RETURN(const bool readable,
                            Readable(access, principal, registry, context, schema.id));
    if (readable) return absl::OkStatus();
  }
  return NoSchema(schema.id);
}

absl::StatusOr<std::vector<ContextId>> ReadableIds(const SubjectAccess& access,
                                                   const auth::Principal& principal,
                                                   Registry& registry,
                                                   const schema::SchemaGuid& guid,
                                                   std::vector<ContextId> ids) {
  if (!access.restricts_reading()) return ids;
  std::vector<ContextId> readable;
  for (ContextId& each : ids) {
    TOCSIN_ASSIGN_OR_RETURN(const bool may,
                            Readable(access, principal, registry, each.context, each.id));
    if (may) readable.push_back(std::move(each));
  }
  if (readable.empty()) return NoSchema(guid);
  return readable;
}

absl::Status WithoutHiddenImporters(const SubjectAccess& access, const auth::Principal& principal,
                                    Registry& registry, std::string_view subject,
                                    const absl::Status& refused) {
  if (!access.restricts_reading() || CodeOf(refused) != ErrorCode::kReferenceExists) return refused;
  constexpr std::size_t kMostNamed = 10;
  std::set<SchemaId> importers;
  if (const auto versions = registry.Versions(subject, Deleted::kInclude); versions.ok()) {
    for (const std::int32_t version : *versions) {
      const auto ids = registry.ReferencedBy(subject, version, Deleted::kInclude);
      if (ids.ok()) importers.insert(ids->begin(), ids->end());
    }
  }
  std::vector<std::string> named;
  std::size_t others = 0;
  for (const SchemaId id : importers) {
    const auto uses = registry.UsesOf(id, subject, Deleted::kInclude);
    const SchemaVersion* shown = nullptr;
    for (std::size_t i = 0; uses.ok() && i < uses->size() && shown == nullptr; ++i) {
      const SchemaVersion& use = (*uses)[i];
      if (Imports(use, subject) && access.MayRead(principal, use.subject).ok()) shown = &use;
    }
    if (shown == nullptr) {
      ++others;
    } else if (named.size() < kMostNamed) {
      named.push_back(Concat(id.value(), " (", shown->subject, " version ", shown->version, ")"));
    }
  }
  std::string who = named.empty() ? "" : Concat("the schemas with the ids ", Join(named, ", "));
  // Importers in other contexts are found by nobody but the registry itself.
  if (named.empty() || others > 0) {
    who += Concat(named.empty() ? "" : " and by ",
                  named.empty() && others == 0 ? "some" : Concat(others),
                  named.empty() ? " that you may not read" : " more that you may not read");
  }
  return MakeError(ErrorCode::kReferenceExists,
                   Concat("subject '", subject, "' is imported by ", who, ": delete those first"));
}

}  // namespace tocsin::registry
