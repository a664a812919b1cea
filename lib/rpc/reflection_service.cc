#include "lib/rpc/reflection_service.h"

namespace tocsin::rpc {

grpc::Status ReflectionService::ServerReflectionInfo(
    grpc::ServerContext* /*context*/,
    grpc::ServerReaderWriter<grpc::reflection::v1::ServerReflectionResponse,
                             grpc::reflection::v1::ServerReflectionRequest>* stream) {
  grpc::reflection::v1::ServerReflectionRequest request;
  while (stream->Read(&request)) {
    if (!stream->Write(reflection_.Answer(request))) break;
  }
  return grpc::Status::OK;
}

grpc::Status ReflectionAlphaService::ServerReflectionInfo(
    grpc::ServerContext* /*context*/,
    grpc::ServerReaderWriter<grpc::reflection::v1alpha::ServerReflectionResponse,
                             grpc::reflection::v1alpha::ServerReflectionRequest>* stream) {
  grpc::reflection::v1alpha::ServerReflectionRequest request;
  while (stream->Read(&request)) {
    // The two versions have one wire form.
    grpc::reflection::v1::ServerReflectionRequest same;
    same.ParseFromString(request.SerializeAsString());
    grpc::reflection::v1alpha::ServerReflectionResponse response;
    response.ParseFromString(reflection_.Answer(same).SerializeAsString());
    if (!stream->Write(response)) break;
  }
  return grpc::Status::OK;
}

}  // namespace tocsin::rpc
