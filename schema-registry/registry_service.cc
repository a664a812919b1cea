#include "schema-registry/registry_service.h"

#include <optional>
#include <vector>

#include "lib/base/status.h"
#include "lib/rpc/status.h"

namespace tocsin::registry {
namespace {

template <typename Request>
Draft DraftOf(const Request& request) {
  Draft draft;
  draft.text = request.text();
  for (const v1::Reference& reference : request.references()) {
    draft.references.push_back({reference.name(), reference.subject(),
                                reference.version() == 0 ? -1 : reference.version()});
  }
  return draft;
}

void Fill(const StoredSchema& schema, v1::Schema& out) {
  out.set_id(schema.id.value());
  out.set_text(*schema.text);
  for (const Reference& reference : schema.references) {
    v1::Reference& to = *out.add_references();
    to.set_name(reference.name);
    to.set_subject(reference.subject);
    to.set_version(reference.version);
  }
}

void Fill(const SchemaVersion& version, v1::Schema& out) {
  Fill(*version.schema, out);
  out.set_subject(version.subject);
  out.set_version(version.version);
}

template <typename Response>
void FillImports(const std::vector<Import>& imports, Response& response) {
  for (const Import& import : imports) {
    v1::Schema& schema = *response.add_imports();
    Fill(*import.schema, schema);
    schema.set_subject(import.subject);
    schema.set_version(import.version);
    response.add_import_paths(import.name);
  }
}

// The contract speaks of .proto texts; what another registry left in the topic is none.
absl::Status CheckType(const StoredSchema& schema) {
  if (schema.type == kProtobuf) return absl::OkStatus();
  return FailedPrecondition(Concat("schema ", schema.id.value(), " is of type ", schema.type,
                                   ", and this service speaks of Protobuf schemas only"));
}

v1::Compatibility LevelOf(schema::CompatibilityLevel level) {
  switch (level) {
    case schema::CompatibilityLevel::kNone:
      return v1::COMPATIBILITY_NONE;
    case schema::CompatibilityLevel::kBackward:
      return v1::COMPATIBILITY_BACKWARD;
    case schema::CompatibilityLevel::kBackwardTransitive:
      return v1::COMPATIBILITY_BACKWARD_TRANSITIVE;
    case schema::CompatibilityLevel::kForward:
      return v1::COMPATIBILITY_FORWARD;
    case schema::CompatibilityLevel::kForwardTransitive:
      return v1::COMPATIBILITY_FORWARD_TRANSITIVE;
    case schema::CompatibilityLevel::kFull:
      return v1::COMPATIBILITY_FULL;
    case schema::CompatibilityLevel::kFullTransitive:
      return v1::COMPATIBILITY_FULL_TRANSITIVE;
    case schema::CompatibilityLevel::kStrict:
      return v1::COMPATIBILITY_STRICT;
    case schema::CompatibilityLevel::kStrictTransitive:
      return v1::COMPATIBILITY_STRICT_TRANSITIVE;
  }
  return v1::COMPATIBILITY_UNSPECIFIED;
}

}  // namespace

grpc::Status RegistryService::RegisterSchema(grpc::ServerContext*,
                                             const v1::RegisterSchemaRequest* request,
                                             v1::RegisterSchemaResponse* response) {
  const auto version = registry_.Register(Actor{}, request->subject(), DraftOf(*request));
  if (!version.ok()) return rpc::ToGrpc(version.status());
  Fill(*version, *response->mutable_schema());
  return grpc::Status::OK;
}

grpc::Status RegistryService::GetSchema(grpc::ServerContext*, const v1::GetSchemaRequest* request,
                                        v1::GetSchemaResponse* response) {
  const auto found = registry_.GetSchema(SchemaId(request->id()));
  if (!found.ok()) return rpc::ToGrpc(found.status());
  if (const auto type = CheckType(*found->schema); !type.ok()) return rpc::ToGrpc(type);
  Fill(*found->schema, *response->mutable_schema());
  FillImports(found->imports, *response);
  return grpc::Status::OK;
}

grpc::Status RegistryService::GetVersion(grpc::ServerContext*, const v1::GetVersionRequest* request,
                                         v1::GetVersionResponse* response) {
  if (request->version() < 0) {
    return rpc::ToGrpc(MakeError(ErrorCode::kInvalidVersion,
                                 "version must be 0 (the latest) or the number of a version"));
  }
  const auto version = registry_.GetVersion(
      request->subject(),
      request->version() == 0 ? std::nullopt : std::optional<std::int32_t>(request->version()));
  if (!version.ok()) return rpc::ToGrpc(version.status());
  if (const auto type = CheckType(*version->schema); !type.ok()) return rpc::ToGrpc(type);
  const auto imports = registry_.ImportsOf(*version->schema, kDefaultContext);
  if (!imports.ok()) return rpc::ToGrpc(imports.status());
  Fill(*version, *response->mutable_schema());
  FillImports(*imports, *response);
  return grpc::Status::OK;
}

grpc::Status RegistryService::LookupSchema(grpc::ServerContext*,
                                           const v1::LookupSchemaRequest* request,
                                           v1::LookupSchemaResponse* response) {
  const auto version = registry_.Lookup(request->subject(), DraftOf(*request));
  if (!version.ok()) return rpc::ToGrpc(version.status());
  Fill(*version, *response->mutable_schema());
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListSubjects(grpc::ServerContext*,
                                           const v1::ListSubjectsRequest* request,
                                           v1::ListSubjectsResponse* response) {
  const auto subjects = registry_.Subjects({.prefix = request->prefix()});
  if (!subjects.ok()) return rpc::ToGrpc(subjects.status());
  for (const std::string& subject : *subjects) response->add_subjects(subject);
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListVersions(grpc::ServerContext*,
                                           const v1::ListVersionsRequest* request,
                                           v1::ListVersionsResponse* response) {
  const auto versions = registry_.Versions(request->subject());
  if (!versions.ok()) return rpc::ToGrpc(versions.status());
  for (const std::int32_t version : *versions) response->add_versions(version);
  return grpc::Status::OK;
}

grpc::Status RegistryService::CheckCompatibility(grpc::ServerContext*,
                                                 const v1::CheckCompatibilityRequest* request,
                                                 v1::CheckCompatibilityResponse* response) {
  const auto verdict = registry_.Check(request->subject(), DraftOf(*request),
                                       Registry::Against::kWhatTheLevelDemands);
  if (!verdict.ok()) return rpc::ToGrpc(verdict.status());
  response->set_compatible(verdict->compatible());
  response->set_level(LevelOf(verdict->level));
  for (const schema::Finding& finding : verdict->findings) {
    v1::Finding& to = *response->add_findings();
    to.set_kind(std::string(schema::KindName(finding.kind)));
    to.set_path(finding.path);
    to.set_description(finding.description);
  }
  return grpc::Status::OK;
}

}  // namespace tocsin::registry
