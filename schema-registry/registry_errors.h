// Sentences that several parts of the registry say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "lib/base/text.h"
#include "lib/schema/guid.h"
#include "schema-registry/model.h"

namespace tocsin::registry {

inline absl::Status NoSubject(std::string_view subject) {
  return MakeError(ErrorCode::kSubjectNotFound, Concat("subject '", subject, "' does not exist"));
}

inline absl::Status NoVersion(std::string_view subject, std::int32_t version) {
  return MakeError(ErrorCode::kVersionNotFound,
                   Concat("subject '", subject, "' has no version ", version));
}

inline absl::Status NoSchema(SchemaId id) {
  return MakeError(ErrorCode::kSchemaNotFound, Concat("no schema has the id ", id.value()));
}

inline absl::Status NoSchema(const schema::SchemaGuid& guid) {
  return MakeError(ErrorCode::kSchemaNotFound,
                   Concat("no schema has the GUID ", schema::FormatGuid(guid)));
}

}  // namespace tocsin::registry
