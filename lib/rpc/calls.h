// What the server knows of each call that runs, by its context: filled by the server's interceptor
// before the handler, read by Caller. gRPC 1.51 has no room of our own in a ServerContext.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "lib/auth/roles.h"
#include "lib/base/mutex.h"
#include "lib/telemetry/trace.h"

namespace grpc {
class ServerContextBase;
}  // namespace grpc

namespace tocsin::rpc {

struct CallFacts {
  auth::Principal principal;
  std::string token;
  std::chrono::system_clock::time_point deadline;
  telemetry::TraceContext trace;
};

// Thread-safe. One per process, since a handler is given its context and nothing of its server.
class RunningCalls {
 public:
  static RunningCalls& Get();

  // `owner` tells apart calls whose contexts had the same address one after the other.
  void Insert(const grpc::ServerContextBase* context, const void* owner, CallFacts facts);
  void Erase(const grpc::ServerContextBase* context, const void* owner);
  std::optional<CallFacts> Find(const grpc::ServerContextBase* context) const;

 private:
  struct Entry {
    const void* owner;
    CallFacts facts;
  };
  struct Shard {
    mutable Mutex mutex;
    std::map<const grpc::ServerContextBase*, Entry> entries ABSL_GUARDED_BY(mutex);
  };
  Shard& ShardOf(const grpc::ServerContextBase* context);
  const Shard& ShardOf(const grpc::ServerContextBase* context) const;

  std::array<Shard, 16> shards_;
};

}  // namespace tocsin::rpc
