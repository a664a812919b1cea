// One call, whatever the wire spoke: what the adapters of gRPC and gRPC-Web give to those who serve
// it, in this process or behind it in the mesh.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "lib/base/clock.h"
#include "lib/http/message.h"
#include "lib/telemetry/trace.h"

namespace tocsin::gateway {

// What is known when a call begins. Never changes.
struct CallInfo {
  // "tocsin.ingest.v1.IngestService/Publish"
  std::string method;
  bool client_streaming = false;
  bool server_streaming = false;
  auth::Principal principal;
  // As it came: "Bearer …"; empty for open methods.
  std::string authorization;
  // Of this call's server span.
  telemetry::TraceContext trace;
  // Unset: the client waits for ever.
  std::optional<SteadyTime> deadline;
  // Address of the client.
  std::string peer;
};

// Threads: every method from any thread, none blocks; callbacks come on the I/O thread of the
// client's connection, one at a time, never within a call of a method, and must not block.
// After the end (Finish, or the client went away) methods have no effect, but Read and
// WhenWritable still call back.
class Call {
 public:
  virtual ~Call() = default;
  virtual const CallInfo& info() const = 0;

  // The next message; nothing at the end. One call at a time. For a method that takes one message
  // it comes only when the client has sent exactly one. An error (CANCELLED: the client went away;
  // others: the request is faulty) has already ended the call.
  virtual void Read(std::function<void(absl::StatusOr<std::optional<http::Slice>>)> done) = 0;

  // Once, before the first Write, which else sends empty ones.
  virtual void SendHeaders(http::Headers headers) = 0;
  // One message, given in parts. Bytes wait here until the client takes them: a writer of many
  // waits for WhenWritable.
  virtual void Write(std::vector<http::Slice> message) = 0;
  virtual void WhenWritable(std::function<void()> done) = 0;
  // The first one counts.
  virtual void Finish(absl::Status status, http::Headers trailers = {}) = 0;

  // Called once when the call ends before Finish: the client cancelled or vanished, its deadline
  // passed, or its request was faulty. At once when that was before. One listener.
  virtual void OnCancelled(std::function<void()> listener) = 0;
  // On the I/O thread, later.
  virtual void Post(std::function<void()> task) = 0;
};

// Serves calls of one or more methods. Thread-safe; must not block.
class CallHandler {
 public:
  virtual ~CallHandler() = default;
  virtual void Handle(std::shared_ptr<Call> call) = 0;
};

}  // namespace tocsin::gateway
