// Ends a call from outside its handler: a handler of the synchronous API that waits in Read for a
// client that sends nothing can be reached in no other way that tells the client why.
#pragma once

#include "absl/status/status.h"

namespace grpc {
class ServerContext;
}  // namespace grpc

namespace tocsin::rpc {

// From any thread, without blocking. The client gets `status` (not OK) as if the handler had
// returned it; Read and Write of the handler return false, IsCancelled is true, and what the
// handler returns is told to nobody. Without effect where a status has been sent. The caller sees
// to it that the handler has not returned yet: the context must be alive.
void EndCall(grpc::ServerContext& context, const absl::Status& status);

}  // namespace tocsin::rpc
