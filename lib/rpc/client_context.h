// A grpc::ClientContext that cannot be used without a deadline.
//
//   rpc::ClientContext context(std::chrono::seconds(2));
//   const absl::Status status = rpc::FromGrpc(stub->GetSchema(&context, request, &response));
//
// The client's span and `traceparent` are added by the channel (channel.h). One object per call, as
// with gRPC's own.
#pragma once

#include <grpcpp/client_context.h>

#include <chrono>
#include <string_view>

#include "lib/rpc/caller.h"
#include "lib/telemetry/trace.h"

namespace tocsin::rpc {

class ClientContext : public grpc::ClientContext {
 public:
  // The process acts under its own certificate; the parent is the thread's current span.
  explicit ClientContext(std::chrono::milliseconds timeout);
  // On behalf of a caller: with its token, in its trace, and for at most what is left of its time.
  ClientContext(const Caller& caller, std::chrono::milliseconds timeout);

  void SetToken(std::string_view token);
  // Instead of the thread's current span. Once.
  void SetParent(const telemetry::TraceContext& parent);
};

// For streams that are meant to stay open: no deadline. Ends by TryCancel or by the server.
class StreamContext : public grpc::ClientContext {
 public:
  StreamContext() = default;
  explicit StreamContext(std::string_view token);
};

// Of a call that has ended in an error: a server said so, rather than this side of the connection
// (nobody is there, the connection was lost, the deadline passed here).
bool ServerSaid(const grpc::ClientContext& context);

}  // namespace tocsin::rpc
