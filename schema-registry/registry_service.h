// The gRPC face of the registry. Access is checked below it, by rpc::Server.
#pragma once

#include "schema-registry/registry.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::registry {

namespace v1 = tocsin::schema::v1;

// Thread-safe. Blocks as Registry's methods do.
class RegistryService final : public v1::SchemaRegistryService::Service {
 public:
  // `registry` must outlive the service.
  explicit RegistryService(Registry& registry) : registry_(registry) {}

  grpc::Status RegisterSchema(grpc::ServerContext* context,
                              const v1::RegisterSchemaRequest* request,
                              v1::RegisterSchemaResponse* response) override;
  grpc::Status GetSchema(grpc::ServerContext* context, const v1::GetSchemaRequest* request,
                         v1::GetSchemaResponse* response) override;
  grpc::Status GetVersion(grpc::ServerContext* context, const v1::GetVersionRequest* request,
                          v1::GetVersionResponse* response) override;
  grpc::Status LookupSchema(grpc::ServerContext* context, const v1::LookupSchemaRequest* request,
                            v1::LookupSchemaResponse* response) override;
  grpc::Status ListSubjects(grpc::ServerContext* context, const v1::ListSubjectsRequest* request,
                            v1::ListSubjectsResponse* response) override;
  grpc::Status ListVersions(grpc::ServerContext* context, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override;
  grpc::Status CheckCompatibility(grpc::ServerContext* context,
                                  const v1::CheckCompatibilityRequest* request,
                                  v1::CheckCompatibilityResponse* response) override;

 private:
  Registry& registry_;
};

}  // namespace tocsin::registry
