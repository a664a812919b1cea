// What a server says of its health, without gRPC: the answers behind grpc.health.v1, shared by
// rpc::Server and the gateway's edge.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/mutex.h"

namespace tocsin::rpc {

// Thread-safe.
class HealthBoard {
 public:
  enum class State { kNotServing, kServing };

  // A service that exists; not serving until told. "" is the server as a whole and always exists.
  HealthBoard();
  void Add(std::string_view service);

  // Of one service, and of all at once.
  void Set(std::string_view service, State state);
  void SetAll(State state);

  // Unset: no such service.
  std::optional<State> Get(std::string_view service) const;

  // `told` is called at once with the state as it is, then at every change, under the board's lock:
  // it must be quick and must not call the board. The last call has been made when Unwatch returns.
  using Told = std::function<void(std::optional<State>)>;
  std::uint64_t Watch(std::string_view service, Told told);
  void Unwatch(std::uint64_t id);

 private:
  struct Watcher {
    std::string service;
    Told told;
  };
  void Tell(std::string_view service) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, State, std::less<>> states_ ABSL_GUARDED_BY(mutex_);
  std::map<std::uint64_t, Watcher> watchers_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t next_watcher_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace tocsin::rpc
