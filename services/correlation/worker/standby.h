// Warm copies of partitions that other processes run: their changelogs are read as they are
// written, so that a takeover has only the last moments to restore. A copy is a StateStore in the
// folder where a worker of this process would have it; whoever gets the partition asks for it
// first.
//
// Threads: Step one at a time; Claim and GiveBack from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/store/state_store.h"
#include "services/correlation/worker/io.h"
#include "services/correlation/worker/worker_options.h"

namespace tocsin::correlation {

struct StandbyIo {
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer;
  const RuleSource* rules = nullptr;
  const Clock* clock = nullptr;
};

class Standby final : public StoreClaims {
 public:
  // A partition that comes back at once, as in a rebalance, is not opened in between.
  static constexpr std::chrono::seconds kPause{5};

  // Only state_folder, store and query_timeout are used.
  Standby(WorkerOptions options, StandbyIo io);

  // A piece of the work; waits at most `wait` for something to read. Opens one store at most.
  absl::Status Step(std::chrono::milliseconds wait);

  void Claim(const std::string& stream, std::int32_t partition) override;
  void GiveBack(const std::string& stream, std::int32_t partition) override;

  // How many copies there are, and how many changelog records they are behind by what is known.
  struct Standing {
    int copies = 0;
    std::int64_t behind = 0;
  };
  Standing standing() const;

 private:
  using Id = std::pair<std::string, std::int32_t>;
  struct Copy {
    kafka::TopicPartition changelog;
    std::unique_ptr<StateStore> store;
  };

  void OpenOne();
  absl::Status Follow();
  void Apply(const kafka::Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string Folder(const Id& id) const;

  const WorkerOptions options_;
  const StandbyIo io_;
  std::unique_ptr<kafka::Consumer> consumer_;

  mutable Mutex mutex_;
  std::map<Id, Copy> copies_ ABSL_GUARDED_BY(mutex_);
  // Not to be opened: claimed (no time), or before that time.
  std::map<Id, std::optional<SteadyTime>> not_now_ ABSL_GUARDED_BY(mutex_);
  // The set of copies has changed since the consumer was told.
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;
  kafka::Offsets ends_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::correlation
