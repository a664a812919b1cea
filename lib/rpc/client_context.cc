#include "lib/rpc/client_context.h"

#include <algorithm>

#include "lib/base/text.h"

namespace tocsin::rpc {
namespace {

void AddToken(grpc::ClientContext& context, std::string_view token) {
  if (!token.empty()) context.AddMetadata("authorization", Concat("Bearer ", token));
}

void AddTrace(grpc::ClientContext& context, const telemetry::TraceContext& parent) {
  if (!parent.valid()) return;
  // The channel's interceptor takes it as the parent of the client's span and writes that instead.
  context.AddMetadata("traceparent", parent.ToTraceparent());
  if (!parent.tracestate().empty()) context.AddMetadata("tracestate", parent.tracestate());
}

}  // namespace

ClientContext::ClientContext(std::chrono::milliseconds timeout) {
  set_deadline(std::chrono::system_clock::now() + timeout);
}

ClientContext::ClientContext(const Caller& caller, std::chrono::milliseconds timeout) {
  set_deadline(std::min(caller.deadline(), std::chrono::system_clock::now() + timeout));
  AddToken(*this, caller.token());
  AddTrace(*this, caller.trace());
}

void ClientContext::SetToken(std::string_view token) { AddToken(*this, token); }

void ClientContext::SetParent(const telemetry::TraceContext& parent) { AddTrace(*this, parent); }

bool ServerSaid(const grpc::ClientContext& context) {
  // gRPC offers nothing better: the words that it puts before every status that came over the wire.
  return context.debug_error_string().find("Error received from peer") != std::string::npos;
}

StreamContext::StreamContext(std::string_view token) { AddToken(*this, token); }

}  // namespace tocsin::rpc
