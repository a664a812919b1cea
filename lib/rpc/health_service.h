// grpc.health.v1 over a HealthBoard. For the files of this folder.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <set>

#include "grpc/health/v1/health.grpc.pb.h"
#include "lib/base/mutex.h"
#include "lib/rpc/health.h"

namespace tocsin::rpc {

// By callbacks, so that a watcher costs no thread. Thread-safe; outlives the server.
class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  explicit HealthService(HealthBoard& board) : board_(board) {}

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

  // Ends every watch, so that the server can stop.
  void Drain();

 private:
  class Watcher;
  void Remove(Watcher* watcher);

  HealthBoard& board_;
  Mutex mutex_;
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tocsin::rpc
