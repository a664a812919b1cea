#include "lib/events/registry_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::events {
namespace {
namespace pb = tocsin::schema::v1;

std::optional<schema::SchemaGuid> GuidOf(const pb::Schema& schema) {
  auto guid = schema::ParseGuid(schema.guid());
  return guid.ok() ? std::optional<schema::SchemaGuid>(*guid) : std::nullopt;
}

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
  fetched.guid = GuidOf(response.schema());
  for (const pb::Reference& reference : response.schema().references()) {
    fetched.references.push_back({reference.name(), reference.subject(), reference.version()});
  }
  return fetched;
}

// For RegisterSchema and LookupSchema, which take the same.
template <typename Request>
Request RequestOf(std::string_view subject, const SchemaDraft& draft) {
  Request request;
  request.set_subject(std::string(subject));
  request.set_text(draft.text);
  request.set_normalize(draft.normalize);
  for (const SchemaReference& reference : draft.references) {
    pb::Reference& added = *request.add_references();
    added.set_name(reference.name);
    added.set_subject(reference.subject);
    added.set_version(reference.version);
  }
  return request;
}

RegisteredVersion VersionOf(const pb::Schema& schema) {
  return {schema::SchemaId(schema.id()), schema.version(), GuidOf(schema)};
}

// The registry's name of the context that holds everything that names none.
constexpr std::string_view kDefaultContext = ".";

class GrpcRegistryClient final : public RegistryClient {
 public:
  GrpcRegistryClient(const std::shared_ptr<grpc::ChannelInterface>& channel,
                     std::chrono::milliseconds timeout)
      : stub_(pb::SchemaRegistryService::NewStub(channel)), timeout_(timeout) {}

  absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) override { return Get(id.value(), ""); }

  absl::StatusOr<FetchedSchema> ByGuid(const schema::SchemaGuid& guid) override {
    pb::GetSchemaByGuidRequest request;
    request.set_guid(schema::FormatGuid(guid));
    pb::GetSchemaByGuidResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->GetSchemaByGuid(&context, request, &response)));
    if (response.ids().empty()) {
      return Internal("the registry's answer to a GUID names no id");
    }
    const auto in_default =
        std::find_if(response.ids().begin(), response.ids().end(),
                     [](const pb::ContextId& id) { return id.context() == kDefaultContext; });
    const pb::ContextId& where = in_default == response.ids().end() ? response.ids(0) : *in_default;
    // Its imports come with the id only.
    const bool by_default = where.context() == kDefaultContext;
    TOCSIN_ASSIGN_OR_RETURN(
        FetchedSchema fetched,
        Get(where.id(), by_default ? std::string() : Concat(":", where.context(), ":")));
    if (!by_default) fetched.id = schema::SchemaId(0);
    fetched.guid = guid;
    return fetched;
  }

  absl::StatusOr<FetchedSchema> Latest(std::string_view subject) override {
    pb::GetVersionRequest request;
    request.set_subject(std::string(subject));
    pb::GetVersionResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->GetVersion(&context, request, &response)));
    return Fetched(response);
  }

  using RegistryClient::Register;
  absl::StatusOr<RegisteredVersion> Register(std::string_view subject,
                                             const SchemaDraft& draft) override {
    const auto request = RequestOf<pb::RegisterSchemaRequest>(subject, draft);
    pb::RegisterSchemaResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->RegisterSchema(&context, request, &response)));
    return VersionOf(response.schema());
  }

  absl::StatusOr<RegisteredVersion> Lookup(std::string_view subject,
                                           const SchemaDraft& draft) override {
    const auto request = RequestOf<pb::LookupSchemaRequest>(subject, draft);
    pb::LookupSchemaResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->LookupSchema(&context, request, &response)));
    return VersionOf(response.schema());
  }

 private:
  // `subject` says the context.
  absl::StatusOr<FetchedSchema> Get(std::int32_t id, std::string subject) {
    pb::GetSchemaRequest request;
    request.set_id(id);
    request.set_subject(std::move(subject));
    pb::GetSchemaResponse response;
    rpc::ClientContext context(timeout_);
    TOCSIN_RETURN_IF_ERROR(rpc::FromGrpc(stub_->GetSchema(&context, request, &response)));
    return Fetched(response);
  }

  const std::unique_ptr<pb::SchemaRegistryService::Stub> stub_;
  const std::chrono::milliseconds timeout_;
};

}  // namespace

bool IsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

std::unique_ptr<RegistryClient> MakeRegistryClient(
    const std::shared_ptr<grpc::ChannelInterface>& channel, std::chrono::milliseconds timeout) {
  return std::make_unique<GrpcRegistryClient>(channel, timeout);
}

}  // namespace tocsin::events
