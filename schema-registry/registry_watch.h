// The stream of changes, SchemaRegistryService/Watch: a watcher is a position in the history and
// never a queue, so that a slow client costs lag and no memory; and it costs no thread.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <cstddef>
#include <set>
#include <thread>

#include "lib/auth/roles.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "schema-registry/registry.h"
#include "schema-registry/subject_access.h"
#include "tocsin/schema/v1/registry.pb.h"

namespace tocsin::registry {

struct WatchOptions {
  // Fewer than the streams of one connection (100): the gateway's other calls go over the same.
  std::size_t max_watchers = 64;
  // A client that hears nothing for so long is told how far the history is.
  std::chrono::milliseconds keep_alive{10'000};
};

// Thread-safe. Must outlive the server, which must have stopped before this is destroyed.
class RegistryWatch {
 public:
  // The references must outlive it.
  RegistryWatch(Registry& registry, const SubjectAccess& access, const Clock& clock,
                WatchOptions options = {});
  ~RegistryWatch();

  using Reactor = grpc::ServerWriteReactor<tocsin::schema::v1::WatchResponse>;
  // Never blocks. Sends what `principal` may read. Ends with INVALID_ARGUMENT (a negative
  // revision), RESOURCE_EXHAUSTED (too many watch already), UNAVAILABLE (loading, or stopping:
  // watch again from the last revision seen).
  Reactor* Open(const auth::Principal& principal, const tocsin::schema::v1::WatchRequest& request);

  // Ends every watch, so that the server can stop; later ones end at once.
  void Drain();

 private:
  class Watcher;
  void Remove(Watcher* watcher);
  // Wakes the watchers whenever something changed, and twice a second.
  void Feed();

  Registry& registry_;
  const SubjectAccess& access_;
  const Clock& clock_;
  const WatchOptions options_;
  Mutex mutex_;
  CondVar changed_;
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tocsin::registry
