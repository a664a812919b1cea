// The answers behind gRPC server reflection, without gRPC: shared by rpc::Server (v1 and v1alpha)
// and the gateway's edge. The two versions have the same bytes on the wire and differ in the
// package's name only, so one core over v1 messages serves both.
#pragma once

#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.pb.h"

namespace google::protobuf {
class DescriptorPool;
class FileDescriptor;
}  // namespace google::protobuf

namespace tocsin::rpc {

// Immutable: thread-safe. Only `services`, the files that define them and what these import can be
// seen; the pool may hold more (messages of other processes' configuration), which is nobody's
// business here.
class Reflection {
 public:
  // The pool must outlive this. A service that the pool does not know is left out.
  Reflection(const google::protobuf::DescriptorPool& pool, std::vector<std::string> services);

  // Never fails: an error is an answer of its own (NOT_FOUND, INVALID_ARGUMENT).
  grpc::reflection::v1::ServerReflectionResponse Answer(
      const grpc::reflection::v1::ServerReflectionRequest& request) const;

  const std::vector<std::string>& services() const { return services_; }

 private:
  void AddFile(const google::protobuf::FileDescriptor* file,
               grpc::reflection::v1::ServerReflectionResponse& response) const;

  const google::protobuf::DescriptorPool& pool_;
  std::vector<std::string> services_;
  // Sorted.
  std::vector<const google::protobuf::FileDescriptor*> visible_;
};

}  // namespace tocsin::rpc
