// The gRPC face of the registry. The role that a method asks for is checked below it, by
// rpc::Server; what a role alone does not decide is decided here: schema.admin for what cannot be
// undone or is about everything, and the rules for subjects (subject_access.h).
#pragma once

#include <string_view>

#include "lib/auth/roles.h"
#include "lib/base/clock.h"
#include "lib/rpc/server.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_watch.h"
#include "schema-registry/subject_access.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::registry {

namespace v1 = tocsin::schema::v1;

// Thread-safe. Blocks as Registry's methods do, except Watch, which never does
// (kCallbackMethod, for rpc::Server::AddService). Must outlive the server.
class RegistryService final : public v1::SchemaRegistryService::WithCallbackMethod_Watch<
                                  v1::SchemaRegistryService::Service> {
 public:
  static constexpr std::string_view kCallbackMethod = "Watch";

  // The references must outlive the service.
  RegistryService(Registry& registry, const SubjectAccess& access, const Clock& clock,
                  WatchOptions watch = {})
      : registry_(registry), access_(access), watch_(registry, access, clock, watch) {}

  // For rpc::Server::OnDenied: what was refused below this service is in the audit log, too, in the
  // same words and within the same limit; without its target, which nobody has read.
  void TellDenied(const rpc::Denial& denial);

  // Ends the watches, so that the server can stop.
  void Drain() { watch_.Drain(); }

  // --- schemas (registry_service_schemas.cc)
  grpc::Status RegisterSchema(grpc::ServerContext* context,
                              const v1::RegisterSchemaRequest* request,
                              v1::RegisterSchemaResponse* response) override;
  grpc::Status GetSchema(grpc::ServerContext* context, const v1::GetSchemaRequest* request,
                         v1::GetSchemaResponse* response) override;
  grpc::Status GetVersion(grpc::ServerContext* context, const v1::GetVersionRequest* request,
                          v1::GetVersionResponse* response) override;
  grpc::Status LookupSchema(grpc::ServerContext* context, const v1::LookupSchemaRequest* request,
                            v1::LookupSchemaResponse* response) override;
  grpc::Status CheckCompatibility(grpc::ServerContext* context,
                                  const v1::CheckCompatibilityRequest* request,
                                  v1::CheckCompatibilityResponse* response) override;
  grpc::Status Check(grpc::ServerContext* context, const v1::CheckRequest* request,
                     v1::CheckResponse* response) override;
  grpc::Status GetSchemaByGuid(grpc::ServerContext* context,
                               const v1::GetSchemaByGuidRequest* request,
                               v1::GetSchemaByGuidResponse* response) override;
  grpc::Status ListSchemas(grpc::ServerContext* context, const v1::ListSchemasRequest* request,
                           v1::ListSchemasResponse* response) override;
  grpc::Status ListSchemaUses(grpc::ServerContext* context,
                              const v1::ListSchemaUsesRequest* request,
                              v1::ListSchemaUsesResponse* response) override;
  grpc::Status ListReferencedBy(grpc::ServerContext* context,
                                const v1::ListReferencedByRequest* request,
                                v1::ListReferencedByResponse* response) override;

  // --- subjects and contexts (registry_service_subjects.cc)
  grpc::Status ListSubjects(grpc::ServerContext* context, const v1::ListSubjectsRequest* request,
                            v1::ListSubjectsResponse* response) override;
  grpc::Status ListVersions(grpc::ServerContext* context, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override;
  grpc::Status DeleteSubject(grpc::ServerContext* context, const v1::DeleteSubjectRequest* request,
                             v1::DeleteSubjectResponse* response) override;
  grpc::Status DeleteVersion(grpc::ServerContext* context, const v1::DeleteVersionRequest* request,
                             v1::DeleteVersionResponse* response) override;
  grpc::Status ListContexts(grpc::ServerContext* context, const v1::ListContextsRequest* request,
                            v1::ListContextsResponse* response) override;
  grpc::Status DeleteContext(grpc::ServerContext* context, const v1::DeleteContextRequest* request,
                             v1::DeleteContextResponse* response) override;

  // --- configuration and modes (registry_service_settings.cc)
  grpc::Status GetConfig(grpc::ServerContext* context, const v1::GetConfigRequest* request,
                         v1::GetConfigResponse* response) override;
  grpc::Status SetConfig(grpc::ServerContext* context, const v1::SetConfigRequest* request,
                         v1::SetConfigResponse* response) override;
  grpc::Status DeleteConfig(grpc::ServerContext* context, const v1::DeleteConfigRequest* request,
                            v1::DeleteConfigResponse* response) override;
  grpc::Status GetMode(grpc::ServerContext* context, const v1::GetModeRequest* request,
                       v1::GetModeResponse* response) override;
  grpc::Status SetMode(grpc::ServerContext* context, const v1::SetModeRequest* request,
                       v1::SetModeResponse* response) override;
  grpc::Status DeleteMode(grpc::ServerContext* context, const v1::DeleteModeRequest* request,
                          v1::DeleteModeResponse* response) override;

  RegistryWatch::Reactor* Watch(grpc::CallbackServerContext* context,
                                const v1::WatchRequest* request) override;

 private:
  // Who calls, and the rights that the role of the method does not settle.
  class Rights;

  Registry& registry_;
  const SubjectAccess& access_;
  RegistryWatch watch_;
};

}  // namespace tocsin::registry
