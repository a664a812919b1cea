// LiveService: takes subscriptions, wakes those that have something to read, and keeps the
// connections of the others alive.
#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "gateway/call.h"
#include "gateway/live/cursor.h"
#include "gateway/live/log_store.h"
#include "gateway/live/replayer.h"
#include "gateway/live/subscription.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::gateway {

// Thread-safe. Has a thread of its own for heartbeats, which the destructor joins. The store, the
// replayer and the clock outlive it.
class LiveHub final : public CallHandler {
 public:
  LiveHub(LogStore& store, Replayer& replayer, CursorSeal seal, std::chrono::milliseconds heartbeat,
          const Clock& clock);
  ~LiveHub() override;

  // tocsin.live.v1.LiveService.Subscribe. UNAVAILABLE until the reader knows the log.
  void Handle(std::shared_ptr<Call> call) override;

  // The store has something new in these topics (by index).
  void Wake(const std::vector<bool>& topics);

  std::size_t subscribers() const;

 private:
  std::vector<std::shared_ptr<Subscription>> All() const;
  void Begin(const std::shared_ptr<Call>& call, const http::Slice& bytes);
  void Run();

  const CursorSeal seal_;
  const Subscription::Shared shared_;
  mutable Mutex mutex_;
  CondVar changed_;
  mutable std::vector<std::weak_ptr<Subscription>> subscriptions_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tocsin::gateway
