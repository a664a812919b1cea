#include "lib/rpc/health.h"

#include <utility>

namespace tocsin::rpc {

HealthBoard::HealthBoard() { states_.emplace("", State::kNotServing); }

void HealthBoard::Add(std::string_view service) {
  MutexLock lock(mutex_);
  if (states_.emplace(service, State::kNotServing).second) Tell(service);
}

void HealthBoard::Set(std::string_view service, State state) {
  MutexLock lock(mutex_);
  const auto it = states_.find(service);
  if (it == states_.end() || it->second == state) return;
  it->second = state;
  Tell(service);
}

void HealthBoard::SetAll(State state) {
  MutexLock lock(mutex_);
  for (auto& [service, now] : states_) {
    if (now == state) continue;
    now = state;
    Tell(service);
  }
}

std::optional<HealthBoard::State> HealthBoard::Get(std::string_view service) const {
  MutexLock lock(mutex_);
  const auto it = states_.find(service);
  if (it == states_.end()) return std::nullopt;
  return it->second;
}

std::uint64_t HealthBoard::Watch(std::string_view service, Told told) {
  MutexLock lock(mutex_);
  const auto it = states_.find(service);
  told(it == states_.end() ? std::nullopt : std::optional(it->second));
  const std::uint64_t id = next_watcher_++;
  watchers_.emplace(id, Watcher{std::string(service), std::move(told)});
  return id;
}

void HealthBoard::Unwatch(std::uint64_t id) {
  MutexLock lock(mutex_);
  watchers_.erase(id);
}

void HealthBoard::Tell(std::string_view service) {
  const State state = states_.find(service)->second;
  for (const auto& [id, watcher] : watchers_) {
    if (watcher.service == service) watcher.told(state);
  }
}

}  // namespace tocsin::rpc
