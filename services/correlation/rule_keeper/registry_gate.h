// Which schemas the records of a stream may name, as the registry says: the id must be known there,
// and be of the stream's message. Answers are kept: what is known for good, what is not for a
// while.
//
// Threads: any; the registry is asked from one of the gate's own.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/events/schema_cache.h"
#include "services/correlation/worker/schema_gate.h"
#include "tocsin/pack/v1/pack.pb.h"

namespace tocsin::correlation {

class RegistryGate final : public SchemaGate {
 public:
  struct Options {
    // How long "there is no such schema" is believed.
    std::chrono::milliseconds negative_lifetime{10'000};
    // How long the registry is left alone after it did not answer.
    std::chrono::milliseconds retry_after{1'000};
    // Answers that are kept.
    std::size_t max_entries = 10'000;
  };

  // `schemas` and `clock` must outlive it.
  RegistryGate(const std::vector<pack::v1::Stream>& streams, events::SchemaCache& schemas,
               const Clock& clock, Options options);
  RegistryGate(const std::vector<pack::v1::Stream>& streams, events::SchemaCache& schemas,
               const Clock& clock)
      : RegistryGate(streams, schemas, clock, Options{}) {}
  // Waits for the call to the registry that is under way.
  ~RegistryGate() override;

  absl::Status Check(std::string_view stream, std::string_view prefix,
                     std::chrono::milliseconds wait) override;

 private:
  // Stream and prefix.
  using Key = std::pair<std::string, std::string>;
  struct Entry {
    bool asking = false;
    bool answered = false;
    absl::Status answer;
    SteadyTime asked{};
  };

  void Serve();
  // Blocks for the registry.
  absl::Status Ask(const Key& key) const;
  bool Believed(const Entry& entry) const;
  void MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  // By topic: the full name of its message; empty: any.
  std::map<std::string, std::string, std::less<>> messages_;
  events::SchemaCache& schemas_;
  const Clock& clock_;

  Mutex mutex_;
  CondVar changed_;
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::deque<Key> queue_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread server_;
};

}  // namespace tocsin::correlation
