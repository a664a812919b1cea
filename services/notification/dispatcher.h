// Reads incidents.correlated in a consumer group and hands each revision to the workers of each
// route. An incident's revisions on one route are delivered in order by one worker; a receiver that
// hangs holds up its own route only, until `max_outstanding` deliveries wait.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "lib/events/registry_client.h"
#include "lib/kafka/consumer.h"
#include "lib/telemetry/trace.h"
#include "services/notification/deliverer.h"
#include "services/notification/notification_core.h"
#include "services/notification/offset_tracker.h"

namespace tocsin::notification {

struct DispatcherOptions {
  int workers_per_route = 4;
  std::size_t max_outstanding = 10'000;
  std::chrono::milliseconds poll{200};
  // Between commits of what has been finished.
  std::chrono::milliseconds commit_interval{500};
  std::chrono::milliseconds retry{1'000};
};

class Dispatcher final : private kafka::RebalanceListener {
 public:
  // Told after each round of reading whether it works; from the dispatcher's thread.
  using Told = std::function<void(const absl::Status&)>;
  // Makes a consumer that is a member of the group. Called again when one has been fenced.
  using MakeConsumer = std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>()>;

  // `deliverer` must outlive the dispatcher and have its topic; its producer must be destroyed
  // before the dispatcher is, because callbacks of the one end in the other. `pause` as for the
  // deliverer: the same signal ends both.
  Dispatcher(std::vector<RouteSpec> routes, Deliverer& deliverer, MakeConsumer make_consumer,
             Deliverer::Pause pause, Told told, DispatcherOptions options = {});
  // The signal must have been given. Joins all threads.
  ~Dispatcher() override;

  void Start();
  // After the signal: waits for the workers, for outcomes on their way to Kafka at most 2 s,
  // commits what is finished, leaves. At most about 12 s when Kafka does not answer. Idempotent.
  void Join();

 private:
  struct Job {
    const RouteSpec* route = nullptr;
    std::shared_ptr<const incident::v1::Incident> incident;
    std::shared_ptr<const telemetry::Span> span;
    kafka::TopicPartition where;
    std::int64_t offset = 0;
    std::uint64_t generation = 0;
  };
  struct Worker {
    std::deque<Job> jobs;
    std::thread thread;
  };

  void OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) override;
  void OnRevoked(const std::vector<kafka::TopicPartition>& partitions) override;
  void OnLost(const std::vector<kafka::TopicPartition>& partitions) override;

  void Run();
  void RunWorker(std::size_t index);
  absl::Status Round();
  void Handle(const kafka::Record& record);
  void Finish(const Job& job, const absl::Status& status);
  absl::Status Commit();
  void Forget();

  const std::vector<RouteSpec> routes_;
  Deliverer& deliverer_;
  const MakeConsumer make_consumer_;
  const Deliverer::Pause pause_;
  const Told told_;
  const DispatcherOptions options_;

  std::unique_ptr<kafka::Consumer> consumer_;
  bool paused_ = false;
  std::chrono::steady_clock::time_point committed_at_;

  Mutex mutex_;
  // Jobs, or the end.
  CondVar changed_;
  // Counts up with each assignment: what ends under an older one is no longer ours to commit.
  std::uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<kafka::TopicPartition, OffsetTracker> trackers_ ABSL_GUARDED_BY(mutex_);
  // Read and not finished; of these, taken up by a worker.
  std::size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t started_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool workers_ended_ ABSL_GUARDED_BY(mutex_) = false;
  // An outcome that could not be written: its record is read again.
  bool reread_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::thread thread_;
};

}  // namespace tocsin::notification
