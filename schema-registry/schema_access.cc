#include "schema-registry/schema_access.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

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

absl::Status Refused(const auth::Principal& principal, std::string_view what) {
  return MakeError(
      ErrorCode::kForbidden,
      Concat("'", principal.name, "' may read none of the subjects that have ", what,
             ": subject_access in the registry's configuration names who may; ask whoever keeps "
             "that to add you"));
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
  return Refused(principal, Concat("schema ", schema.id.value()));
}

absl::StatusOr<std::vector<ContextId>> ReadableIds(const SubjectAccess& access,
                                                   const auth::Principal& principal,
                                                   Registry& registry, std::vector<ContextId> ids) {
  if (!access.restricts_reading()) return ids;
  std::vector<ContextId> readable;
  for (ContextId& each : ids) {
    TOCSIN_ASSIGN_OR_RETURN(const bool may,
                            Readable(access, principal, registry, each.context, each.id));
    if (may) readable.push_back(std::move(each));
  }
  if (readable.empty()) return Refused(principal, "this schema");
  return readable;
}

}  // namespace tocsin::registry
