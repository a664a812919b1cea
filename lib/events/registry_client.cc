#include "lib/events/registry_client.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::events {
namespace {
namespace pb = tocsin::schema::v1;

template <typename Response>
absl::StatusOr<FetchedSchema> Fetched(const Response& response) {
  if (response.imports_size() != response.import_paths_size()) {
    return Internal("the registry's answer names another number of imports than it holds");
  }
  FetchedSchema fetched;
  fetched.id = schema::SchemaId(response.schema().id());
  fetched.subject = response.schema().subject();
  fetched.version = response.schema().version();
  fetched.text = response.schema().text();
  for (int i = 0; i < response.imports_size(); ++i) {
    fetched.imports.push_back({response.import_paths(i), response.imports(i).text()});
  }
  return fetched;
}

class GrpcRegistryClient final : public RegistryClient {
 public:
  GrpcRegistryClient(const std::shared_ptr<grpc::ChannelInterface>& channel,
                     std::chrono::milliseconds timeout)
      : stub_(pb::SchemaRegistryService::NewStub(channel)), timeout_(timeout) {}

  absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) override {
    pb::GetSchemaRequest request;
    request.set_id(id.value());
    pb::GetSchemaResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->GetSchema(&context, request, &response)));
    return Fetched(response);
  }

  absl::StatusOr<FetchedSchema> Latest(std::string_view subject) override {
    pb::GetVersionRequest request;
    request.set_subject(std::string(subject));
    pb::GetVersionResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->GetVersion(&context, request, &response)));
    return Fetched(response);
  }

  absl::StatusOr<RegisteredVersion> Register(
      std::string_view subject, std::string_view text,
      const std::vector<SchemaReference>& references) override {
    pb::RegisterSchemaRequest request;
    request.set_subject(std::string(subject));
    request.set_text(std::string(text));
    for (const SchemaReference& reference : references) {
      pb::Reference& added = *request.add_references();
      added.set_name(reference.name);
      added.set_subject(reference.subject);
      added.set_version(reference.version);
    }
    pb::RegisterSchemaResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->RegisterSchema(&context, request, &response)));
    return RegisteredVersion{schema::SchemaId(response.schema().id()), response.schema().version()};
  }

 private:
  const std::unique_ptr<pb::SchemaRegistryService::Stub> stub_;
  const std::chrono::milliseconds timeout_;
};

}  // namespace

std::unique_ptr<RegistryClient> MakeRegistryClient(
    const std::shared_ptr<grpc::ChannelInterface>& channel, std::chrono::milliseconds timeout) {
  return std::make_unique<GrpcRegistryClient>(channel, timeout);
}

}  // namespace tocsin::events
