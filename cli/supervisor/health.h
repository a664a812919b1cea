// Asks every process how it is, each on a thread of its own, and tells when that changes.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::cli {

struct Health {
  bool serving = false;
  // Why not, for people.
  std::string reason = "its first answer";
};

// How one process is asked. Used by one thread at a time.
class HealthSource {
 public:
  virtual ~HealthSource() = default;
  // Blocks for about a second at most. UNAVAILABLE: what the process waits for.
  virtual absl::Status Ask() = 0;
  // Called once before the first Ask. `news` may be called from then on from any thread, until the
  // destructor returns, when it is worth to ask again.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): whoever overrides it keeps it.
  virtual void OnNews(std::function<void()> /*news*/) {}
  // How long an answer that it serves is believed when there is no news.
  virtual std::chrono::milliseconds Believed() const { return std::chrono::seconds(1); }
};

// Thread-safe. A process that does not serve is asked again after a pause that grows to half a
// second, for no event tells that a port has been opened; one that serves, when its source has news
// or its answer is too old to be believed.
class HealthMonitor {
 public:
  // `changed` is called on other threads when the health of one has changed.
  explicit HealthMonitor(std::function<void()> changed);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  // Once for each name.
  void Add(const std::string& name, std::unique_ptr<HealthSource> source);
  // What is known about it must be asked anew: it has been started again, or has ended.
  void Forget(std::string_view name);
  // Never blocks on a source.
  Health Get(std::string_view name) const;
  // Blocks until the last question is answered; from then on `changed` is not called any more. The
  // destructor does it too.
  void Stop();

 private:
  struct Entry {
    std::unique_ptr<HealthSource> source;
    Health health;
    // Counts Forget, so that an answer to an older question is not taken for a newer one.
    int epoch = 0;
    // It is to be asked at once.
    bool news = false;
    CondVar woken;
    std::thread thread;
  };
  void Follow(Entry& entry);

  const std::function<void()> changed_;
  mutable Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::cli
