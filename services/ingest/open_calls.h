// The calls that are under way, so that a stop of the process ends each of them with a reason.
//
//   OpenCalls::Call call(calls_, *context);
//   while (call.Read(*reader, &request)) …
//   if (call.given_up()) return rpc::ToGrpc(Stopping());
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "lib/base/stop_signal.h"
#include "lib/rpc/end_call.h"
#include "lib/rpc/unreadable.h"

namespace tocsin::ingest {

// What the caller is told: what has no receipt is to be sent again.
absl::Status Stopping();

// Thread-safe. Must outlive its calls.
class OpenCalls {
 public:
  class Call;

  OpenCalls() = default;
  // Gives up what is left.
  ~OpenCalls();
  OpenCalls(const OpenCalls&) = delete;
  OpenCalls& operator=(const OpenCalls&) = delete;

  // Gives every call up that has not ended after `grace`; later ones at once. Does not block.
  void Stop(std::chrono::nanoseconds grace);
  bool stopping() const { return stopping_.stopped(); }

 private:
  void GiveUpAll();

  StopSignal stopping_;
  // The grace need not be waited for any more.
  StopSignal over_;
  Mutex mutex_;
  std::set<Call*> calls_ ABSL_GUARDED_BY(mutex_);
  bool given_up_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Lives on the stack of a handler.
class OpenCalls::Call {
 public:
  // `wake` ends the handler's waits, so that it asks given_up; called from another thread.
  Call(OpenCalls& calls, grpc::ServerContext& context, std::function<void()> wake);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Stopping, and the grace is over: the handler is to return Stopping() at once.
  bool given_up() const;
  // Ends the call for its client while the handler is in Read or Write; they return false.
  void End(const absl::Status& status) { rpc::EndCall(context_, status); }

  // As rpc::ReadMessage, and false as soon as the call is given up.
  template <typename Reader, typename Request>
  bool Read(Reader& reader, Request* request) {
    if (!BeginRead()) return false;
    const bool read = rpc::ReadMessage(reader, context_, request);
    EndRead();
    return read;
  }

 private:
  friend class OpenCalls;
  bool BeginRead();
  void EndRead();
  void GiveUp();

  OpenCalls& calls_;
  grpc::ServerContext& context_;
  const std::function<void()> wake_;
  mutable Mutex mutex_;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool given_up_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tocsin::ingest
