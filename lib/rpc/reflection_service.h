// grpc.reflection.v1 and v1alpha over one Reflection. For the files of this folder.
#pragma once

#include <grpcpp/server_context.h>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "lib/rpc/reflection.h"

namespace tocsin::rpc {

class ReflectionService final : public grpc::reflection::v1::ServerReflection::Service {
 public:
  explicit ReflectionService(const Reflection& reflection) : reflection_(reflection) {}
  grpc::Status ServerReflectionInfo(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<grpc::reflection::v1::ServerReflectionResponse,
                               grpc::reflection::v1::ServerReflectionRequest>* stream) override;

 private:
  const Reflection& reflection_;
};

class ReflectionAlphaService final : public grpc::reflection::v1alpha::ServerReflection::Service {
 public:
  explicit ReflectionAlphaService(const Reflection& reflection) : reflection_(reflection) {}
  grpc::Status ServerReflectionInfo(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<grpc::reflection::v1alpha::ServerReflectionResponse,
                               grpc::reflection::v1alpha::ServerReflectionRequest>* stream)
      override;

 private:
  const Reflection& reflection_;
};

}  // namespace tocsin::rpc
