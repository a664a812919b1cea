// Configuration and modes.
#include "schema-registry/registry_messages.h"
#include "schema-registry/registry_service_rights.h"

namespace tocsin::registry {

grpc::Status RegistryService::GetConfig(grpc::ServerContext* context,
                                        const v1::GetConfigRequest* request,
                                        v1::GetConfigResponse* response) {
  TOCSIN_GRPC_RETURN_IF_ERROR(
      Rights(*this, *context, "GetConfig", request->subject()).MayRead(request->subject()));
  const auto config = registry_.GetConfig(SubjectOrAll(request->subject()), request->or_default());
  if (!config.ok()) return rpc::ToGrpc(config.status());
  Fill(*config, *response->mutable_config());
  return grpc::Status::OK;
}

grpc::Status RegistryService::SetConfig(grpc::ServerContext* context,
                                        const v1::SetConfigRequest* request,
                                        v1::SetConfigResponse* response) {
  const Rights rights(*this, *context, "SetConfig", request->subject());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MaySet(request->subject()));
  const auto config = ConfigOf(request->config());
  if (!config.ok()) return rpc::ToGrpc(config.status());
  if (config->alias && !config->alias->empty()) {
    // Else an alias would lead round the rules for the subject behind it.
    TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(NameBeside(request->subject(), *config->alias)));
  }
  const auto set = registry_.SetConfig(rights.actor(), SubjectOrAll(request->subject()), *config);
  if (!set.ok()) return rpc::ToGrpc(set.status());
  Fill(*set, *response->mutable_config());
  return grpc::Status::OK;
}

grpc::Status RegistryService::DeleteConfig(grpc::ServerContext* context,
                                           const v1::DeleteConfigRequest* request,
                                           v1::DeleteConfigResponse* response) {
  const Rights rights(*this, *context, "DeleteConfig", request->subject());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MaySet(request->subject()));
  const auto was = registry_.DeleteConfig(rights.actor(), SubjectOrAll(request->subject()));
  if (!was.ok()) return rpc::ToGrpc(was.status());
  Fill(*was, *response->mutable_config());
  return grpc::Status::OK;
}

grpc::Status RegistryService::GetMode(grpc::ServerContext* context,
                                      const v1::GetModeRequest* request,
                                      v1::GetModeResponse* response) {
  TOCSIN_GRPC_RETURN_IF_ERROR(
      Rights(*this, *context, "GetMode", request->subject()).MayRead(request->subject()));
  const auto mode = registry_.GetMode(SubjectOrAll(request->subject()), request->or_default());
  if (!mode.ok()) return rpc::ToGrpc(mode.status());
  response->set_mode(ModeOf(*mode));
  return grpc::Status::OK;
}

grpc::Status RegistryService::SetMode(grpc::ServerContext* context,
                                      const v1::SetModeRequest* request,
                                      v1::SetModeResponse* response) {
  const Rights rights(*this, *context, "SetMode", request->subject());
  const auto mode = ModeOf(request->mode());
  if (!mode.ok()) return rpc::ToGrpc(mode.status());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(request->subject()));
  const auto set =
      registry_.SetMode(rights.actor(), SubjectOrAll(request->subject()), *mode, request->force());
  if (!set.ok()) return rpc::ToGrpc(set.status());
  response->set_mode(ModeOf(*set));
  return grpc::Status::OK;
}

grpc::Status RegistryService::DeleteMode(grpc::ServerContext* context,
                                         const v1::DeleteModeRequest* request,
                                         v1::DeleteModeResponse* response) {
  const Rights rights(*this, *context, "DeleteMode", request->subject());
  TOCSIN_GRPC_RETURN_IF_ERROR(rights.MayWrite(request->subject()));
  const auto was =
      registry_.DeleteMode(rights.actor(), SubjectOrAll(request->subject()), request->recursive());
  if (!was.ok()) return rpc::ToGrpc(was.status());
  response->set_mode(ModeOf(*was));
  return grpc::Status::OK;
}

}  // namespace tocsin::registry
