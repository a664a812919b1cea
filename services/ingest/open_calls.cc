#include "services/ingest/open_calls.h"

#include <utility>

#include "lib/base/status.h"

namespace tocsin::ingest {

absl::Status Stopping() {
  return Unavailable(
      "ingest is stopping. Send every event that has no receipt again with the same id, in a new "
      "call; copies count once");
}

OpenCalls::~OpenCalls() {
  over_.Stop();
  if (thread_.joinable()) thread_.join();
}

void OpenCalls::Stop(std::chrono::nanoseconds grace) {
  MutexLock lock(mutex_);
  if (stopping_.stopped()) return;
  stopping_.Stop();
  thread_ = std::thread([this, grace] {
    over_.WaitFor(grace);
    GiveUpAll();
  });
}

void OpenCalls::GiveUpAll() {
  // Under the lock, so that no handler returns meanwhile.
  MutexLock lock(mutex_);
  given_up_ = true;
  for (Call* call : calls_) call->GiveUp();
}

OpenCalls::Call::Call(OpenCalls& calls, grpc::ServerContext& context, std::function<void()> wake)
    : calls_(calls), context_(context), wake_(std::move(wake)) {
  MutexLock lock(calls_.mutex_);
  calls_.calls_.insert(this);
  MutexLock own(mutex_);
  given_up_ = calls_.given_up_;
}

OpenCalls::Call::~Call() {
  MutexLock lock(calls_.mutex_);
  calls_.calls_.erase(this);
}

bool OpenCalls::Call::given_up() const {
  MutexLock lock(mutex_);
  return given_up_;
}

bool OpenCalls::Call::BeginRead() {
  MutexLock lock(mutex_);
  reading_ = !given_up_;
  return reading_;
}

void OpenCalls::Call::EndRead() {
  MutexLock lock(mutex_);
  reading_ = false;
}

void OpenCalls::Call::GiveUp() {
  {
    MutexLock lock(mutex_);
    given_up_ = true;
    // A handler that does not read returns Stopping() by itself, when it is woken.
    if (reading_) End(Stopping());
  }
  wake_();
}

}  // namespace tocsin::ingest
