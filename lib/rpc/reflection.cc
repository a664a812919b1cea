#include "lib/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/text.h"

namespace tocsin::rpc {
namespace {

using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

void SetError(absl::StatusCode code, std::string message, ServerReflectionResponse& response) {
  auto* error = response.mutable_error_response();
  error->set_error_code(static_cast<int>(code));
  error->set_error_message(std::move(message));
}

// The file, then everything that it imports, each once.
void Collect(const FileDescriptor* file, std::set<const FileDescriptor*>& seen,
             std::vector<const FileDescriptor*>& out) {
  if (!seen.insert(file).second) return;
  out.push_back(file);
  for (int i = 0; i < file->dependency_count(); ++i) Collect(file->dependency(i), seen, out);
}

}  // namespace

Reflection::Reflection(const google::protobuf::DescriptorPool& pool,
                       std::vector<std::string> services)
    : pool_(pool) {
  std::sort(services.begin(), services.end());
  std::set<const FileDescriptor*> seen;
  for (std::string& name : services) {
    const auto* service = pool.FindServiceByName(name);
    if (service == nullptr) continue;
    Collect(service->file(), seen, visible_);
    services_.push_back(std::move(name));
  }
  std::sort(visible_.begin(), visible_.end());
}

void Reflection::AddFile(const FileDescriptor* file, ServerReflectionResponse& response) const {
  std::set<const FileDescriptor*> seen;
  std::vector<const FileDescriptor*> files;
  Collect(file, seen, files);
  for (const FileDescriptor* each : files) {
    google::protobuf::FileDescriptorProto proto;
    each->CopyTo(&proto);
    // Names in JSON are part of what tools want to know, and CopyTo leaves them out.
    each->CopyJsonNameTo(&proto);
    proto.SerializeToString(
        response.mutable_file_descriptor_response()->add_file_descriptor_proto());
  }
}

ServerReflectionResponse Reflection::Answer(const ServerReflectionRequest& request) const {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const auto visible = [this](const FileDescriptor* file) {
    return file != nullptr && std::binary_search(visible_.begin(), visible_.end(), file);
  };
  const auto add = [&](const FileDescriptor* file, std::string missing) {
    if (visible(file)) {
      AddFile(file, response);
    } else {
      SetError(absl::StatusCode::kNotFound, std::move(missing), response);
    }
  };
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      response.mutable_list_services_response();
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case ServerReflectionRequest::kFileByFilename:
      add(pool_.FindFileByName(request.file_by_filename()),
          Concat("no file ", request.file_by_filename()));
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      add(pool_.FindFileContainingSymbol(request.file_containing_symbol()),
          Concat("no symbol ", request.file_containing_symbol()));
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const auto* type = pool_.FindMessageTypeByName(wanted.containing_type());
      const auto* extension =
          type == nullptr ? nullptr : pool_.FindExtensionByNumber(type, wanted.extension_number());
      add(extension == nullptr ? nullptr : extension->file(),
          Concat("no extension ", wanted.extension_number(), " of ", wanted.containing_type()));
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const auto* type = pool_.FindMessageTypeByName(name);
      if (type == nullptr || !visible(type->file())) {
        SetError(absl::StatusCode::kNotFound, Concat("no message ", name), response);
        break;
      }
      auto* numbers = response.mutable_all_extension_numbers_response();
      numbers->set_base_type_name(name);
      std::vector<const google::protobuf::FieldDescriptor*> extensions;
      pool_.FindAllExtensions(type, &extensions);
      for (const auto* extension : extensions) {
        if (visible(extension->file())) numbers->add_extension_number(extension->number());
      }
      std::sort(numbers->mutable_extension_number()->begin(),
                numbers->mutable_extension_number()->end());
      break;
    }
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      SetError(absl::StatusCode::kInvalidArgument, "the request asks for nothing", response);
      break;
  }
  return response;
}

}  // namespace tocsin::rpc
