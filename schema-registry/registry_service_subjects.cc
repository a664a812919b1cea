// Subjects and contexts: listed and deleted.
#include <algorithm>
#include <string>

#include "schema-registry/registry_messages.h"
#include "schema-registry/registry_service_rights.h"
#include "schema-registry/schema_access.h"

namespace tocsin::registry {

grpc::Status RegistryService::ListSubjects(grpc::ServerContext* context,
                                           const v1::ListSubjectsRequest* request,
                                           v1::ListSubjectsResponse* response) {
  const Rights rights(*this, *context, "ListSubjects");
  if (request->page_size() < 0) {
    return rpc::ToGrpc(InvalidArgument("page_size must be 0 (all) or more"));
  }
  auto subjects = registry_.Subjects({.prefix = request->prefix(),
                                      .all_contexts = request->all_contexts(),
                                      .deleted = DeletedOf(request->deleted())});
  if (!subjects.ok()) return rpc::ToGrpc(subjects.status());
  std::sort(subjects->begin(), subjects->end());
  // The token is the last name of the page before: what came or went meanwhile moves nothing.
  for (const std::string& subject : *subjects) {
    if (!request->page_token().empty() && subject <= request->page_token()) continue;
    if (!rights.Shows(subject)) continue;
    if (request->page_size() > 0 && response->subjects_size() == request->page_size()) {
      response->set_next_page_token(*response->subjects().rbegin());
      break;
    }
    response->add_subjects(subject);
  }
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListVersions(grpc::ServerContext* context,
                                           const v1::ListVersionsRequest* request,
                                           v1::ListVersionsResponse* response) {
  TOCSIN_GRPC_RETURN_IF_ERROR(
      Rights(*this, *context, "ListVersions", request->subject()).MayRead(request->subject()));
  const auto versions = registry_.Versions(request->subject(), DeletedOf(request->deleted()));
  if (!versions.ok()) return rpc::ToGrpc(versions.status());
  for (const std::int32_t version : *versions) response->add_versions(version);
  return grpc::Status::OK;
}

grpc::Status RegistryService::DeleteSubject(grpc::ServerContext* context,
                                            const v1::DeleteSubjectRequest* request,
                                            v1::DeleteSubjectResponse* response) {
  const Rights rights(*this, *context, "DeleteSubject", request->subject());
  if (request->permanent()) {
    TOCSIN_GRPC_RETURN_IF_ERROR(rights.IsAdmin("DeleteSubject with permanent"));
  }
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(request->subject()));
  const auto versions =
      registry_.DeleteSubject(rights.actor(), request->subject(), request->permanent());
  if (!versions.ok()) {
    return rpc::ToGrpc(WithoutHiddenImporters(access_, rights.principal(), registry_,
                                              request->subject(), versions.status()));
  }
  for (const std::int32_t version : *versions) response->add_versions(version);
  return grpc::Status::OK;
}

grpc::Status RegistryService::DeleteVersion(grpc::ServerContext* context,
                                            const v1::DeleteVersionRequest* request,
                                            v1::DeleteVersionResponse* response) {
  const Rights rights(*this, *context, "DeleteVersion",
                      TargetOf(request->subject(), request->version()));
  const auto number = VersionOf(request->version());
  if (!number.ok()) return rpc::ToGrpc(number.status());
  if (request->permanent()) {
    TOCSIN_GRPC_RETURN_IF_ERROR(rights.IsAdmin("DeleteVersion with permanent"));
  }
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(request->subject()));
  const auto version =
      registry_.DeleteVersion(rights.actor(), request->subject(), *number, request->permanent());
  if (!version.ok()) {
    return rpc::ToGrpc(WithoutHiddenImporters(access_, rights.principal(), registry_,
                                              request->subject(), version.status()));
  }
  response->set_version(*version);
  return grpc::Status::OK;
}

grpc::Status RegistryService::ListContexts(grpc::ServerContext*,
                                           const v1::ListContextsRequest* request,
                                           v1::ListContextsResponse* response) {
  const auto contexts = registry_.Contexts(request->prefix());
  if (!contexts.ok()) return rpc::ToGrpc(contexts.status());
  for (const std::string& name : *contexts) response->add_contexts(name);
  return grpc::Status::OK;
}

grpc::Status RegistryService::DeleteContext(grpc::ServerContext* context,
                                            const v1::DeleteContextRequest* request,
                                            v1::DeleteContextResponse*) {
  const std::string& name = request->context();
  const std::string subject = name.starts_with(":") ? name : Concat(":", name, ":");
  const Rights rights(*this, *context, "DeleteContext", subject);
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(subject));
  return rpc::ToGrpc(registry_.DeleteContext(rights.actor(), name));
}

}  // namespace tocsin::registry
