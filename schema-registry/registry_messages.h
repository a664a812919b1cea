// The words of the registry (model.h) as those of its gRPC contract, and back. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "schema-registry/change_history.h"
#include "schema-registry/model.h"
#include "schema-registry/registry.h"
#include "tocsin/schema/v1/registry.pb.h"

namespace tocsin::registry {

namespace v1 = tocsin::schema::v1;

Draft DraftOf(const v1::RegisterSchemaRequest& request);
Draft DraftOf(const v1::LookupSchemaRequest& request);
Draft DraftOf(const v1::CheckCompatibilityRequest& request);
Draft DraftOf(const v1::CheckRequest& request);

void Fill(const StoredSchema& schema, v1::Schema& out);
void Fill(const SchemaVersion& version, v1::Schema& out);
void Fill(const schema::Finding& finding, v1::Finding& out);
void Fill(const SubjectConfig& config, v1::Config& out);
void Fill(const Change& change, v1::Change& out);

v1::Compatibility LevelOf(schema::CompatibilityLevel level);
// kInvalidLevel: a number that stands for none (UNSPECIFIED too).
absl::StatusOr<schema::CompatibilityLevel> LevelOf(v1::Compatibility level);
v1::Mode ModeOf(Mode mode);
// kInvalidMode, likewise.
absl::StatusOr<Mode> ModeOf(v1::Mode mode);
Deleted DeletedOf(v1::Deleted deleted);
// kInvalidLevel.
absl::StatusOr<SubjectConfig> ConfigOf(const v1::Config& config);

}  // namespace tocsin::registry
