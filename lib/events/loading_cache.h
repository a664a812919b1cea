// What is asked of the registry once and then kept: answers, and for a short time refusals.
// Internal to lib/events.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/events/registry_client.h"

namespace tocsin::events {

struct LoadingCacheOptions {
  // nullopt: what is known stays true.
  std::optional<std::chrono::milliseconds> lifetime = std::nullopt;
  // How long a refusal is believed.
  std::chrono::milliseconds negative_lifetime{1'000};
  // How long the registry is left alone after it did not answer, for what is known here already.
  std::chrono::milliseconds retry_after{1'000};
  std::size_t max_entries = 10'000;
};

// Thread-safe. `clock` must outlive it.
template <typename Key, typename Value>
class LoadingCache {
 public:
  LoadingCache(const Clock& clock, LoadingCacheOptions options)
      : clock_(clock), options_(options) {}

  // What is kept; else what `load()` gives, an absl::StatusOr<Value>. For one key one thread loads
  // at a time: the others that know nothing wait and take its result, whatever it is, and those
  // that know an older value take that. So this blocks for at most two runs of `load`. A value that
  // is beyond its lifetime is given on when the registry is away (IsAway); being away is never
  // remembered.
  template <typename Load>
  absl::StatusOr<Value> Get(const Key& key, const Load& load) {
    const auto flight = std::make_shared<Flight>();
    {
      MutexLock lock(mutex_);
      const auto found = kept_.find(key);
      const bool known = found != kept_.end();
      if (known && IsFresh(found->second)) return found->second.value;
      if (auto refused = Refused(key)) return *std::move(refused);
      const auto [other, taken] = in_flight_.try_emplace(key, flight);
      if (!taken) {
        if (known) return found->second.value;
        const std::shared_ptr<Flight> awaited = other->second;
        while (!awaited->result.has_value()) landed_.Wait(mutex_);
        return *awaited->result;
      }
    }
    absl::StatusOr<Value> loaded = load();
    MutexLock lock(mutex_);
    in_flight_.erase(key);
    flight->result = Settle(key, std::move(loaded));
    landed_.NotifyAll();
    return *flight->result;
  }

  std::optional<Value> Peek(const Key& key) const {
    MutexLock lock(mutex_);
    const auto found = kept_.find(key);
    return found == kept_.end() ? std::nullopt : std::optional<Value>(found->second.value);
  }

  void Put(const Key& key, Value value) {
    MutexLock lock(mutex_);
    KeepValue(key, std::move(value));
  }

 private:
  struct Kept {
    Value value;
    std::optional<SteadyTime> fresh_until;
  };
  struct Negative {
    absl::Status status;
    SteadyTime until;
  };
  struct Flight {
    std::optional<absl::StatusOr<Value>> result;
  };

  bool IsFresh(const Kept& kept) const {
    return !kept.fresh_until.has_value() || clock_.SteadyNow() < *kept.fresh_until;
  }

  std::optional<absl::Status> Refused(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = refused_.find(key);
    if (found == refused_.end()) return std::nullopt;
    if (clock_.SteadyNow() < found->second.until) return found->second.status;
    refused_.erase(found);
    return std::nullopt;
  }

  absl::StatusOr<Value> Settle(const Key& key, absl::StatusOr<Value> loaded)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (loaded.ok()) {
      KeepValue(key, *loaded);
      return loaded;
    }
    if (!IsAway(loaded.status())) {
      kept_.erase(key);
      Keep(refused_, key,
           Negative{loaded.status(), clock_.SteadyNow() + options_.negative_lifetime});
      return loaded;
    }
    const auto found = kept_.find(key);
    if (found == kept_.end()) return loaded;
    found->second.fresh_until = clock_.SteadyNow() + options_.retry_after;
    return found->second.value;
  }

  void KeepValue(const Key& key, Value value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::optional<SteadyTime> fresh_until;
    if (options_.lifetime.has_value()) fresh_until = clock_.SteadyNow() + *options_.lifetime;
    Keep(kept_, key, Kept{std::move(value), fresh_until});
  }

  // A bound against ids made up by a hostile producer; which entry goes does not matter.
  template <typename Map, typename Entry>
  void Keep(Map& map, const Key& key, Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (map.size() >= options_.max_entries && !map.contains(key)) map.erase(map.begin());
    map.insert_or_assign(key, std::move(entry));
  }

  const Clock& clock_;
  const LoadingCacheOptions options_;

  mutable Mutex mutex_;
  CondVar landed_;
  std::map<Key, Kept> kept_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, Negative> refused_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, std::shared_ptr<Flight>> in_flight_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::events
