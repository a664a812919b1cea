#include "cli/supervisor/health.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"

namespace tocsin::cli {
namespace {

constexpr std::chrono::milliseconds kFirstPause{20};
constexpr std::chrono::milliseconds kLongestPause{500};

}  // namespace

HealthMonitor::HealthMonitor(std::function<void()> changed) : changed_(std::move(changed)) {}

HealthMonitor::~HealthMonitor() { Stop(); }

void HealthMonitor::Stop() {
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries;
  {
    MutexLock lock(mutex_);
    stop_ = true;
    for (auto& [name, entry] : entries_) entry->woken.NotifyAll();
    entries.swap(entries_);
  }
  for (auto& [name, entry] : entries) {
    entry->thread.join();
    // Its news refer to the entry.
    entry->source.reset();
  }
}

void HealthMonitor::Add(const std::string& name, std::unique_ptr<HealthSource> source) {
  MutexLock lock(mutex_);
  auto& entry = *entries_.emplace(name, std::make_unique<Entry>()).first->second;
  entry.source = std::move(source);
  entry.thread = std::thread([this, &entry] { Follow(entry); });
}

void HealthMonitor::Forget(std::string_view name) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  entry.health = Health();
  ++entry.epoch;
  entry.news = true;
  entry.woken.NotifyAll();
}

Health HealthMonitor::Get(std::string_view name) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  return found == entries_.end() ? Health() : found->second->health;
}

void HealthMonitor::Follow(Entry& entry) {
  entry.source->OnNews([this, &entry] {
    MutexLock lock(mutex_);
    entry.news = true;
    entry.woken.NotifyAll();
  });
  const Clock& clock = Clock::Real();
  auto pause = kFirstPause;
  int asked_before = -1;
  for (;;) {
    int epoch = 0;
    {
      MutexLock lock(mutex_);
      if (stop_) return;
      epoch = entry.epoch;
      entry.news = false;
    }
    if (std::exchange(asked_before, epoch) != epoch) pause = kFirstPause;
    const absl::Status status = entry.source->Ask();
    bool changed = false;
    {
      MutexLock lock(mutex_);
      if (entry.epoch == epoch) {
        Health now{status.ok(), std::string(Message(status))};
        changed = now.serving != entry.health.serving || now.reason != entry.health.reason;
        entry.health = std::move(now);
      }
    }
    if (changed) changed_();
    const std::chrono::milliseconds longest = status.ok() ? entry.source->Believed() : pause;
    pause = status.ok() ? kFirstPause : std::min(2 * pause, kLongestPause);
    const SteadyTime until = clock.SteadyNow() + longest;
    MutexLock lock(mutex_);
    while (!stop_ && !entry.news) {
      const auto left = until - clock.SteadyNow();
      if (left <= std::chrono::nanoseconds(0)) break;
      entry.woken.WaitFor(mutex_, left);
    }
  }
}

}  // namespace tocsin::cli
