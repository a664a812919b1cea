#include "lib/rpc/caller.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "lib/rpc/calls.h"

namespace tocsin::rpc {

RunningCalls& RunningCalls::Get() {
  static auto* calls = new RunningCalls;
  return *calls;
}

RunningCalls::Shard& RunningCalls::ShardOf(const grpc::ServerContextBase* context) {
  // Contexts are large: their lowest bits say nothing.
  return shards_[(reinterpret_cast<std::uintptr_t>(context) >> 8) % shards_.size()];
}

const RunningCalls::Shard& RunningCalls::ShardOf(const grpc::ServerContextBase* context) const {
  return shards_[(reinterpret_cast<std::uintptr_t>(context) >> 8) % shards_.size()];
}

void RunningCalls::Insert(const grpc::ServerContextBase* context, const void* owner,
                          CallFacts facts) {
  Shard& shard = ShardOf(context);
  MutexLock lock(shard.mutex);
  shard.entries.insert_or_assign(context, Entry{owner, std::move(facts)});
}

void RunningCalls::Erase(const grpc::ServerContextBase* context, const void* owner) {
  Shard& shard = ShardOf(context);
  MutexLock lock(shard.mutex);
  const auto it = shard.entries.find(context);
  if (it != shard.entries.end() && it->second.owner == owner) shard.entries.erase(it);
}

std::optional<CallFacts> RunningCalls::Find(const grpc::ServerContextBase* context) const {
  const Shard& shard = ShardOf(context);
  MutexLock lock(shard.mutex);
  const auto it = shard.entries.find(context);
  if (it == shard.entries.end()) return std::nullopt;
  return it->second.facts;
}

Caller::Caller(const grpc::ServerContextBase& context) : deadline_(context.deadline()) {
  if (auto facts = RunningCalls::Get().Find(&context)) {
    principal_ = std::move(facts->principal);
    token_ = std::move(facts->token);
    deadline_ = facts->deadline;
    trace_ = std::move(facts->trace);
  }
}

std::chrono::milliseconds Caller::TimeLeft() const {
  if (deadline_ == std::chrono::system_clock::time_point::max()) {
    return std::chrono::milliseconds::max();
  }
  return std::max(std::chrono::milliseconds(0),
                  std::chrono::duration_cast<std::chrono::milliseconds>(
                      deadline_ - std::chrono::system_clock::now()));
}

}  // namespace tocsin::rpc
