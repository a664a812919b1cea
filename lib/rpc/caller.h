// Who calls, for how long, and in which trace: what a handler may ask of its call.
//
//   grpc::Status Resolve(grpc::ServerContext* context, …) {
//     const rpc::Caller caller(*context);
//     audit.By(caller.principal().name);
//     rpc::ClientContext call(caller, std::chrono::seconds(2));   // passes all of it on
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "lib/auth/roles.h"
#include "lib/telemetry/trace.h"

namespace grpc {
class ServerContextBase;
}  // namespace grpc

namespace tocsin::rpc {

// A plain value, good beyond the call. Thread-safe to read.
class Caller {
 public:
  // Of a call that came through rpc::Server. A context from elsewhere (a test's own server) gives a
  // caller without a name and without roles.
  explicit Caller(const grpc::ServerContextBase& context);

  // The name and roles of the token, or of the peer's certificate where there is no token. Access
  // by the method's option has been checked before the handler began.
  const auth::Principal& principal() const { return principal_; }
  // As it came, for passing on; empty where the peer acts under its certificate.
  const std::string& token() const { return token_; }
  // The call's deadline; a unary call that came without one gets the server's default (30 s from
  // its arrival). time_point::max() for a stream without one.
  std::chrono::system_clock::time_point deadline() const { return deadline_; }
  // Until the deadline, at least zero; milliseconds::max() without one.
  std::chrono::milliseconds TimeLeft() const;
  // Of this call's server span.
  const telemetry::TraceContext& trace() const { return trace_; }

 private:
  auth::Principal principal_;
  std::string token_;
  std::chrono::system_clock::time_point deadline_;
  telemetry::TraceContext trace_;
};

}  // namespace tocsin::rpc
