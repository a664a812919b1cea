#include "lib/rpc/end_call.h"

#include <grpc/grpc.h>
#include <grpcpp/server_context.h>

#include <string>

#include "lib/rpc/status.h"

namespace tocsin::rpc {

void EndCall(grpc::ServerContext& context, const absl::Status& status) {
  // ServerContext::TryCancel is this with a status of its own. The text is copied.
  const grpc::Status converted = ToGrpc(status);
  grpc_call_cancel_with_status(context.c_call(),
                               static_cast<grpc_status_code>(converted.error_code()),
                               converted.error_message().c_str(), nullptr);
}

}  // namespace tocsin::rpc
