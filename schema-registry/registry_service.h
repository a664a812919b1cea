// The gRPC face of the registry. Access is checked below it, by rpc::Server.
#pragma once

#include "schema-registry/registry.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::registry {

// Thread-safe. Blocks as Registry's methods do.
class RegistryService final : public tocsin::schema::v1::SchemaRegistryService::Service {
 public:
  // `registry` must outlive the service.
  explicit RegistryService(Registry& registry) : registry_(registry) {}

  grpc::Status RegisterSchema(grpc::ServerContext* context,
                              const tocsin::schema::v1::RegisterSchemaRequest* request,
                              tocsin::schema::v1::RegisterSchemaResponse* response) override;
  grpc::Status GetSchema(grpc::ServerContext* context,
                         const tocsin::schema::v1::GetSchemaRequest* request,
                         tocsin::schema::v1::GetSchemaResponse* response) override;
  grpc::Status GetVersion(grpc::ServerContext* context,
                          const tocsin::schema::v1::GetVersionRequest* request,
                          tocsin::schema::v1::GetVersionResponse* response) override;
  grpc::Status LookupSchema(grpc::ServerContext* context,
                            const tocsin::schema::v1::LookupSchemaRequest* request,
                            tocsin::schema::v1::LookupSchemaResponse* response) override;
  grpc::Status ListSubjects(grpc::ServerContext* context,
                            const tocsin::schema::v1::ListSubjectsRequest* request,
                            tocsin::schema::v1::ListSubjectsResponse* response) override;
  grpc::Status ListVersions(grpc::ServerContext* context,
                            const tocsin::schema::v1::ListVersionsRequest* request,
                            tocsin::schema::v1::ListVersionsResponse* response) override;
  grpc::Status CheckCompatibility(
      grpc::ServerContext* context, const tocsin::schema::v1::CheckCompatibilityRequest* request,
      tocsin::schema::v1::CheckCompatibilityResponse* response) override;

 private:
  Registry& registry_;
};

}  // namespace tocsin::registry
