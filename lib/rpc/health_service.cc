#include "lib/rpc/health_service.h"

#include <optional>
#include <string>

namespace tocsin::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse::ServingStatus ToProto(std::optional<HealthBoard::State> state) {
  if (!state) return HealthCheckResponse::SERVICE_UNKNOWN;
  return *state == HealthBoard::State::kServing ? HealthCheckResponse::SERVING
                                                : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  auto* reactor = context->DefaultReactor();
  const auto state = board_.Get(request->service());
  if (state) {
    response->set_status(ToProto(state));
    reactor->Finish(grpc::Status::OK);
  } else {
    reactor->Finish(
        {grpc::StatusCode::NOT_FOUND, "this server has no service '" + request->service() + "'"});
  }
  return reactor;
}

// A watch owns itself until OnDone. Only the newest state is kept: a slow reader misses steps,
// never the last one.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService& service, const std::string& name) : service_(service) {
    id_ = service_.board_.Watch(name, [this](auto state) { Tell(ToProto(state)); });
  }

  void End() {
    MutexLock lock(mutex_);
    ending_ = true;
    Step();
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    ending_ = ending_ || !ok;
    Step();
  }
  void OnCancel() override { End(); }
  void OnDone() override {
    service_.board_.Unwatch(id_);
    service_.Remove(this);
    delete this;
  }

 private:
  void Tell(HealthCheckResponse::ServingStatus status) {
    MutexLock lock(mutex_);
    next_ = status;
    Step();
  }

  // gRPC never calls back from within StartWrite or Finish, so the lock may be held.
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (next_) {
      response_.set_status(*next_);
      next_.reset();
      if (!ending_ || last_ != response_.status()) {
        last_ = response_.status();
        writing_ = true;
        StartWrite(&response_);
        return;
      }
    }
    if (ending_) {
      finished_ = true;
      Finish({grpc::StatusCode::UNAVAILABLE, "the server stops"});
    }
  }

  HealthService& service_;
  std::uint64_t id_ = 0;
  Mutex mutex_;
  HealthCheckResponse response_ ABSL_GUARDED_BY(mutex_);
  std::optional<HealthCheckResponse::ServingStatus> next_ ABSL_GUARDED_BY(mutex_);
  std::optional<HealthCheckResponse::ServingStatus> last_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext* /*context*/, const HealthCheckRequest* request) {
  auto* watcher = new Watcher(*this, request->service());
  MutexLock lock(mutex_);
  watchers_.insert(watcher);
  if (draining_) watcher->End();
  return watcher;
}

void HealthService::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
  for (Watcher* watcher : watchers_) watcher->End();
}

void HealthService::Remove(Watcher* watcher) {
  MutexLock lock(mutex_);
  watchers_.erase(watcher);
}

}  // namespace tocsin::rpc
