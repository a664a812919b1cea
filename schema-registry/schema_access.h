// May this schema be read, by its id or its GUID? A schema has no subject of its own: it may be
// read wherever one of the subjects that have it may be.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/auth/roles.h"
#include "schema-registry/registry.h"
#include "schema-registry/subject_access.h"

namespace tocsin::registry {

// Every principal may where `access` restricts no reading. kSchemaNotFound else, as if it were not
// there, also for a schema that no subject has any more. May wait for the log as Registry's reads
// do.
absl::Status MayReadSchema(const SubjectAccess& access, const auth::Principal& principal,
                           Registry& registry, const StoredSchema& schema);

// Of the ids that a GUID has, those that may be read; kSchemaNotFound: none.
absl::StatusOr<std::vector<ContextId>> ReadableIds(const SubjectAccess& access,
                                                   const auth::Principal& principal,
                                                   Registry& registry,
                                                   const schema::SchemaGuid& guid,
                                                   std::vector<ContextId> ids);

// What a deletion was refused with, for the principal's eyes: where it is kReferenceExists, and
// `access` restricts reading, the importing schemas that may not be read are counted and not named.
absl::Status WithoutHiddenImporters(const SubjectAccess& access, const auth::Principal& principal,
                                    Registry& registry, std::string_view subject,
                                    const absl::Status& refused);

}  // namespace tocsin::registry
