#include "gateway/live/hub.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/unreadable.h"

namespace tocsin::gateway {
namespace {

// How exact heartbeats are.
constexpr std::chrono::milliseconds kTick{500};

}  // namespace

LiveHub::LiveHub(LogStore& store, Replayer& replayer, CursorSeal seal,
                 std::chrono::milliseconds heartbeat, const Clock& clock)
    : seal_(std::move(seal)), shared_{store, replayer, seal_, clock, heartbeat}, thread_([this] {
        Run();
      }) {}

LiveHub::~LiveHub() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void LiveHub::Handle(std::shared_ptr<Call> call) {
  Call& reading = *call;
  reading.Read(
      [this, call = std::move(call)](const absl::StatusOr<std::optional<http::Slice>>& message) {
        if (message.ok() && message->has_value()) Begin(call, **message);
      });
}

void LiveHub::Begin(const std::shared_ptr<Call>& call, const http::Slice& bytes) {
  live::v1::SubscribeRequest request;
  if (!request.ParseFromArray(bytes.view().data(), static_cast<int>(bytes.size()))) {
    return call->Finish(rpc::Unreadable(*request.GetDescriptor()));
  }
  if (!shared_.store.known()) {
    return call->Finish(Unavailable(
        "the gateway has not reached Kafka yet, so it cannot say where the log stands; try again "
        "in a moment"));
  }
  auto subscription = Subscription::Create(shared_, call, request);
  if (!subscription.ok()) return call->Finish(subscription.status());
  {
    MutexLock lock(mutex_);
    subscriptions_.push_back(*subscription);
  }
  // Holds the subscription for as long as the call lives.
  call->OnCancelled([held = *subscription] {});
  call->SendHeaders({});
  (*subscription)->Start();
}

std::vector<std::shared_ptr<Subscription>> LiveHub::All() const {
  std::vector<std::shared_ptr<Subscription>> all;
  MutexLock lock(mutex_);
  all.reserve(subscriptions_.size());
  std::erase_if(subscriptions_, [&all](const std::weak_ptr<Subscription>& weak) {
    auto subscription = weak.lock();
    if (subscription == nullptr) return true;
    all.push_back(std::move(subscription));
    return false;
  });
  return all;
}

void LiveHub::Wake(const std::vector<bool>& topics) {
  for (const auto& subscription : All()) {
    for (std::size_t i = 0; i < topics.size(); ++i) {
      if (topics[i] && subscription->WantsTopic(i)) {
        subscription->Wake();
        break;
      }
    }
  }
}

std::size_t LiveHub::subscribers() const { return All().size(); }

void LiveHub::Run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      changed_.WaitFor(mutex_, kTick);
      if (stopping_) return;
    }
    for (const auto& subscription : All()) subscription->Beat();
  }
}

}  // namespace tocsin::gateway
