// Schemas: registered, found, checked.
#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "schema-registry/registry_messages.h"
#include "schema-registry/registry_service_rights.h"
#include "schema-registry/schema_access.h"

namespace tocsin::registry {
namespace {

constexpr std::size_t kMostSchemas = 1'000;
// Of the texts in one answer; well below what a message may hold.
constexpr std::size_t kMostBytes = std::size_t{4} << 20;

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

std::string ContextOf(std::string_view subject) {
  const auto parsed = ParseSubject(subject);
  return parsed.ok() ? parsed->context : std::string(kDefaultContext);
}

// "12 orders-value": of the last one that the page had.
std::string TokenOf(const SchemaVersion& version) {
  return Concat(version.version, " ", version.subject);
}

absl::StatusOr<std::pair<std::string, std::int32_t>> ReadToken(std::string_view token) {
  const std::size_t blank = token.find(' ');
  std::int32_t version = 0;
  const auto read =
      std::from_chars(token.data(), token.data() + std::min(blank, token.size()), version);
  if (blank == std::string_view::npos || read.ec != std::errc() ||
      read.ptr != token.data() + blank) {
    return MakeError(ErrorCode::kBadRequest,
                     "page_token is not one of this registry: give next_page_token of the answer "
                     "before, or nothing");
  }
  return std::pair{std::string(token.substr(blank + 1)), version};
}

}  // namespace

grpc::Status RegistryService::RegisterSchema(grpc::ServerContext* context,
                                             const v1::RegisterSchemaRequest* request,
                                             v1::RegisterSchemaResponse* response) {
  const Rights rights(*this, *context, "RegisterSchema", request->subject());
  if (request->force()) {
    TOCSIN_GRPC_RETURN_IF_ERROR(rights.IsAdmin("RegisterSchema with force"));
  }
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(request->subject()));
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayImport(request->subject(), request->references()));
  const auto version =
      registry_.Register(rights.actor(), request->subject(), DraftOf(*request),
                         {.normalize = request->normalize(), .force = request->force()});
  if (!version.ok()) return rpc::ToGrpc(version.status());
  Fill(*version, *response->mutable_schema());
  return grpc::Status::OK;
}

grpc::Status RegistryService::GetSchema(grpc::ServerContext* context,
                                        const v1::GetSchemaRequest* request,
                                        v1::GetSchemaResponse* response) {
  const auto found = registry_.GetSchema(SchemaId(request->id()), request->subject());
  if (!found.ok()) return rpc::ToGrpc(found.status());
  TOCSIN_GRPC_RETURN_IF_ERROR(MayReadSchema(
      access_, Rights(*this, *context, "GetSchema").principal(), registry_, *found->schema));
  Fill(*found->schema, *response->mutable_schema());
  FillImports(found->imports, *response);
  return grpc::Status::OK;
}

grpc::Status RegistryService::GetSchemaByGuid(grpc::ServerContext* context,
                                              const v1::GetSchemaByGuidRequest* request,
                                              v1::GetSchemaByGuidResponse* response) {
  const auto guid = schema::ParseGuid(request->guid());
  if (!guid.ok()) return rpc::ToGrpc(guid.status());
  const auto schema = registry_.GetByGuid(*guid);
  if (!schema.ok()) return rpc::ToGrpc(schema.status());
  auto ids = registry_.IdsOfGuid(*guid);
  if (!ids.ok()) return rpc::ToGrpc(ids.status());
  const auto readable = ReadableIds(access_, Rights(*this, *context, "GetSchemaByGuid").principal(),
                                    registry_, *guid, *std::move(ids));
  if (!readable.ok()) return rpc::ToGrpc(readable.status());
  Fill(**schema, *response->mutable_schema());
  // Which id it has depends on where.
  response->mutable_schema()->set_id(readable->front().id.value());
  for (const ContextId& each : *readable) {
    v1::ContextId& to = *response->add_ids();
    to.set_context(each.context);
    to.set_id(each.id.value());
  }
  return grpc::Status::OK;
}

grpc::Status RegistryService::GetVersion(grpc::ServerContext* context,
                                         const v1::GetVersionRequest* request,
                                         v1::GetVersionResponse* response) {
  const auto number = VersionOf(request->version());
  if (!number.ok()) return rpc::ToGrpc(number.status());
  TOCSIN_GRPC_RETURN_IF_ERROR(
      Rights(*this, *context, "GetVersion", TargetOf(request->subject(), request->version()))
          .MayRead(request->subject()));
  const auto version = registry_.GetVersion(request->subject(), *number, request->deleted());
  if (!version.ok()) return rpc::ToGrpc(version.status());
  const auto imports = registry_.ImportsOf(*version->schema, ContextOf(version->subject));
  if (!imports.ok()) return rpc::ToGrpc(imports.status());
  Fill(*version, *response->mutable_schema());
  FillImports(*imports, *response);
  return grpc::Status::OK;
}

grpc::Status RegistryService::LookupSchema(grpc::ServerContext* context,
                                           const v1::LookupSchemaRequest* request,
                                           v1::LookupSchemaResponse* response) {
  const Rights rights(*this, *context, "LookupSchema", request->subject());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayRead(request->subject()));
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayImport(request->subject(), request->references()));
  const auto version =
      registry_.Lookup(request->subject(), DraftOf(*request),
                       {.normalize = request->normalize(), .deleted = request->deleted()});
  if (!version.ok()) return rpc::ToGrpc(version.status());
  Fill(*version, *response->mutable_schema());
  return grpc::Status::OK;
}

grpc::Status RegistryService::CheckCompatibility(grpc::ServerContext* context,
                                                 const v1::CheckCompatibilityRequest* request,
                                                 v1::CheckCompatibilityResponse* response) {
  const Rights rights(*this, *context, "CheckCompatibility", request->subject());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayRead(request->subject()));
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayImport(request->subject(), request->references()));
  const auto verdict = registry_.Check(request->subject(), DraftOf(*request),
                                       Registry::Against::kWhatTheLevelDemands);
  if (!verdict.ok()) return rpc::ToGrpc(verdict.status());
  response->set_compatible(verdict->compatible());
  response->set_level(LevelOf(verdict->level));
  for (const schema::Finding& finding : verdict->findings) Fill(finding, *response->add_findings());
  response->set_findings_left_out(static_cast<std::int32_t>(verdict->left_out));
  return grpc::Status::OK;
}

grpc::Status RegistryService::Check(grpc::ServerContext* context, const v1::CheckRequest* request,
                                    v1::CheckResponse* response) {
  const Rights rights(*this, *context, "Check", request->subject());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayRead(request->subject()));
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayImport(request->subject(), request->references()));
  const auto verdict =
      registry_.CheckAll(request->subject(), DraftOf(*request), request->normalize());
  if (!verdict.ok()) return rpc::ToGrpc(verdict.status());
  response->set_level(LevelOf(verdict->level));
  // NONE is not among the levels: everything goes. So does what is registered already.
  response->set_compatible(true);
  response->set_registered_as(verdict->registered_as.value_or(0));
  for (const CompatibilityVerdict& each : verdict->levels) {
    v1::LevelVerdict& to = *response->add_levels();
    to.set_level(LevelOf(each.level));
    to.set_compatible(each.compatible());
    to.set_against(each.against.value_or(0));
    for (const schema::Finding& finding : each.findings) Fill(finding, *to.add_findings());
    to.set_findings_left_out(static_cast<std::int32_t>(each.left_out));
    if (each.level == verdict->level && !verdict->registered_as) {
      response->set_compatible(each.compatible());
    }
  }
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListSchemas(grpc::ServerContext* context,
                                          const v1::ListSchemasRequest* request,
                                          v1::ListSchemasResponse* response) {
  const Rights rights(*this, *context, "ListSchemas");
  if (request->page_size() < 0) {
    return rpc::ToGrpc(InvalidArgument("page_size must be 0 (1,000) or more"));
  }
  std::pair<std::string, std::int32_t> after;
  if (!request->page_token().empty()) {
    auto token = ReadToken(request->page_token());
    if (!token.ok()) return rpc::ToGrpc(token.status());
    after = *std::move(token);
  }
  auto schemas = registry_.Schemas({.prefix = request->prefix(),
                                    .all_contexts = request->all_contexts(),
                                    .deleted = DeletedOf(request->deleted())},
                                   request->latest_only());
  if (!schemas.ok()) return rpc::ToGrpc(schemas.status());
  const auto key = [](const SchemaVersion& version) {
    return std::tie(version.subject, version.version);
  };
  std::sort(schemas->begin(), schemas->end(),
            [&](const SchemaVersion& a, const SchemaVersion& b) { return key(a) < key(b); });
  const std::size_t most =
      request->page_size() == 0
          ? kMostSchemas
          : std::min(kMostSchemas, static_cast<std::size_t>(request->page_size()));
  std::size_t bytes = 0;
  const SchemaVersion* last = nullptr;
  for (const SchemaVersion& version : *schemas) {
    if (std::tie(after.first, after.second) >= key(version)) continue;
    if (!rights.Shows(version.subject)) continue;
    bytes += version.schema->text->size() + 1'000;
    if (last != nullptr &&
        (response->schemas_size() >= static_cast<int>(most) || bytes > kMostBytes)) {
      response->set_next_page_token(TokenOf(*last));
      break;
    }
    Fill(version, *response->add_schemas());
    last = &version;
  }
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListSchemaUses(grpc::ServerContext* context,
                                             const v1::ListSchemaUsesRequest* request,
                                             v1::ListSchemaUsesResponse* response) {
  const Rights rights(*this, *context, "ListSchemaUses");
  const std::string in = request->context().empty() || request->context() == kDefaultContext
                             ? std::string()
                             : Concat(":", request->context(), ":");
  const auto uses = registry_.UsesOf(SchemaId(request->id()), in, DeletedOf(request->deleted()));
  if (!uses.ok()) return rpc::ToGrpc(uses.status());
  for (const SchemaVersion& use : *uses) {
    if (!rights.Shows(use.subject)) continue;
    v1::SubjectVersion& to = *response->add_uses();
    to.set_subject(use.subject);
    to.set_version(use.version);
  }
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListReferencedBy(grpc::ServerContext* context,
                                               const v1::ListReferencedByRequest* request,
                                               v1::ListReferencedByResponse* response) {
  const auto number = VersionOf(request->version());
  if (!number.ok()) return rpc::ToGrpc(number.status());
  TOCSIN_GRPC_RETURN_IF_ERROR(
      Rights(*this, *context, "ListReferencedBy", TargetOf(request->subject(), request->version()))
          .MayRead(request->subject()));
  const auto ids =
      registry_.ReferencedBy(request->subject(), *number, DeletedOf(request->deleted()));
  if (!ids.ok()) return rpc::ToGrpc(ids.status());
  for (const SchemaId id : *ids) response->add_ids(id.value());
  return grpc::Status::OK;
}

}  // namespace tocsin::registry
