#include "cli/schema/registry_versions.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "cli/calls.h"
#include "lib/base/text.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {

using schema::v1::SchemaRegistryService;

std::string RegistryVersion::name() const {
  return Concat(schema.subject(), " version ", schema.version());
}

absl::StatusOr<RegistryVersion> FetchVersion(const Session& session, const std::string& subject,
                                             std::int32_t version) {
  schema::v1::GetVersionRequest request;
  request.set_subject(subject);
  request.set_version(version);
  TOCSIN_ASSIGN_OR_RETURN(
      auto response, (Call<SchemaRegistryService, schema::v1::GetVersionResponse>(
                         session, &SchemaRegistryService::StubInterface::GetVersion, request)));
  RegistryVersion found{std::move(*response.mutable_schema()), nullptr};
  if (!found.schema.type().empty() && found.schema.type() != "PROTOBUF") {
    return FailedPrecondition(Concat(found.name(), " is of type ", found.schema.type(),
                                     ": only Protobuf schemas can be compared"));
  }
  std::vector<schema::SourceFile> imports;
  for (int i = 0; i < response.imports_size(); ++i) {
    imports.push_back({response.import_paths(i), response.imports(i).text()});
  }
  TOCSIN_ASSIGN_OR_RETURN(found.compiled, schema::CompiledSchema::Compile(
                                              {found.name(), found.schema.text()}, imports));
  return found;
}

absl::StatusOr<std::vector<std::int32_t>> FetchVersionNumbers(const Session& session,
                                                              const std::string& subject) {
  schema::v1::ListVersionsRequest request;
  request.set_subject(subject);
  TOCSIN_ASSIGN_OR_RETURN(
      const auto response,
      (Call<SchemaRegistryService, schema::v1::ListVersionsResponse>(
          session, &SchemaRegistryService::StubInterface::ListVersions, request)));
  return std::vector<std::int32_t>(response.versions().begin(), response.versions().end());
}

absl::StatusOr<std::vector<schema::v1::Schema>> FetchSchemas(
    const Session& session, schema::v1::ListSchemasRequest request) {
  std::vector<schema::v1::Schema> schemas;
  do {
    TOCSIN_ASSIGN_OR_RETURN(
        auto response, (Call<SchemaRegistryService, schema::v1::ListSchemasResponse>(
                           session, &SchemaRegistryService::StubInterface::ListSchemas, request)));
    for (auto& schema : *response.mutable_schemas()) schemas.push_back(std::move(schema));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return schemas;
}

}  // namespace tocsin::cli
