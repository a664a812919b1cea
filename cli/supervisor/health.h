// Asks every process how it is, again and again, on a thread of its own.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::cli {

struct Health {
  bool serving = false;
  // Why not, for people.
  std::string reason = "its first answer";
  // When it was last asked.
  SteadyTime asked{};
};

// Thread-safe. A probe blocks for at most a second or so and is called on the monitor's thread
// only.
class HealthMonitor {
 public:
  using Probe = std::function<absl::Status()>;
  explicit HealthMonitor(std::chrono::milliseconds period);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  void Add(std::string name, Probe probe);
  // What is known about it must be asked anew: it has been started again.
  void Forget(std::string_view name);
  // Never blocks on a probe.
  Health Get(std::string_view name) const;
  // How often each is asked from now on.
  void SetPeriod(std::chrono::milliseconds period);

 private:
  void Loop();

  struct Entry {
    Probe probe;
    Health health;
    // Counts Forget, so that an answer to an older question is not taken for a newer one.
    int epoch = 0;
  };
  mutable Mutex mutex_;
  CondVar changed_;
  std::chrono::milliseconds period_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// grpc.health.v1 at host:port. With `certificates`, mutual TLS; without, plain text (the gateway's
// public port). UNAVAILABLE says what the process waits for, by /readyz of `admin`.
struct MeshFiles {
  std::string certificate;
  std::string key;
  std::string authority;
};
HealthMonitor::Probe GrpcHealthProbe(const std::string& address, const std::string& admin,
                                     const MeshFiles* certificates);
HealthMonitor::Probe BrokerProbe(const std::string& kafka);

// The body of http://<address><path>; UNAVAILABLE. For the admin ports of this machine: at most
// 500 ms and 64 KiB.
absl::StatusOr<std::string> HttpGet(const std::string& address, std::string_view path);

}  // namespace tocsin::cli
