// Reads incidents.correlated for one route and hands each revision that the route wants to its
// workers. Each route has a consumer group, and so a place in the log, of its own: one whose
// receiver hangs falls behind alone. An incident's revisions are delivered in order, by one worker.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/events/registry_client.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/read_loop.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/trace.h"
#include "services/notification/deliverer.h"
#include "services/notification/notification_core.h"
#include "services/notification/offset_tracker.h"

namespace tocsin::notification {

struct DispatcherOptions {
  int workers = 4;
  // Deliveries that are under way or wait, and the bytes of their incidents. At either nothing more
  // is read until it has come down to half; the last poll before may go beyond by what it brings.
  std::size_t max_outstanding = 1'000;
  std::size_t max_outstanding_bytes = 8U << 20;
  // What was written to the log before is not told.
  WallTime since{};
  std::chrono::milliseconds poll{200};
  // Between commits of what has been finished.
  std::chrono::milliseconds commit_interval{500};
  BackoffOptions retry{.initial = std::chrono::milliseconds(100),
                       .maximum = std::chrono::milliseconds(2'000)};
};

class Dispatcher final : private kafka::LogReader {
 public:
  // Told after each round of reading whether it works; from the dispatcher's thread.
  using Told = std::function<void(const absl::Status&)>;

  // `make_consumer` makes a member of the route's group; again when one is of no use any more.
  // `deliverer` must outlive the dispatcher and have its topic; its producer must be destroyed
  // before the dispatcher is, because callbacks of the one end in the other. `pause` as for the
  // deliverer: the same signal ends both.
  Dispatcher(RouteSpec route, Deliverer& deliverer, kafka::ReadLoop::MakeConsumer make_consumer,
             Deliverer::Pause pause, Told told, DispatcherOptions options = {});
  // The signal must have been given. Joins all threads.
  ~Dispatcher() override;

  void Start();
  // After the signal: the workers end, outcomes on their way to Kafka are waited for at most 1 s,
  // what is finished is committed, the group is left. Besides, at most what a delivery takes to
  // notice the signal and the consumer's `commit_timeout` and `close_timeout`. Idempotent.
  void Join();

  const RouteSpec& route() const { return route_; }

 private:
  struct Job {
    std::shared_ptr<const incident::v1::Incident> incident;
    std::shared_ptr<const telemetry::Span> span;
    kafka::TopicPartition where;
    std::int64_t offset = 0;
    std::size_t bytes = 0;
    std::uint64_t generation = 0;
  };
  struct Worker {
    std::deque<Job> jobs;
    std::thread thread;
  };

  absl::StatusOr<std::chrono::nanoseconds> Attach(kafka::Consumer& consumer,
                                                  kafka::RebalanceListener& listener,
                                                  bool fresh) override;
  void BeforePoll(kafka::Consumer& consumer) override;
  absl::Status Take(kafka::Consumer& consumer, const kafka::Batch& batch) override;
  void OnMoved(const kafka::TopicPartition& where, std::optional<std::int64_t> position,
               std::int64_t beginning) override;
  void OnState(const absl::Status& state) override;
  bool in_group() const override { return true; }
  void OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) override;
  void OnRevoked(const std::vector<kafka::TopicPartition>& partitions) override;
  void OnLost(const std::vector<kafka::TopicPartition>& partitions) override;

  void Run();
  void RunWorker(Worker& worker);
  // The delivery that a record asks for; nullopt where it asks for none.
  std::optional<Job> JobOf(const kafka::Record& record) const;
  void Finish(const Job& job, const absl::Status& status);
  absl::Status Commit();
  void Forget();

  const RouteSpec route_;
  Deliverer& deliverer_;
  const Deliverer::Pause pause_;
  const Told told_;
  const DispatcherOptions options_;
  const telemetry::Gauge waiting_;

  bool paused_ = false;
  std::chrono::steady_clock::time_point committed_at_;
  // Why the last commit failed; the next one names the same offsets.
  absl::Status commit_error_;
  // What stands in the way of reading or committing.
  absl::Status disturbance_;

  Mutex mutex_;
  // Jobs, or the end.
  CondVar changed_;
  // Counts up with each assignment: what ends under an older one is no longer ours to commit.
  std::uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<kafka::TopicPartition, OffsetTracker> trackers_ ABSL_GUARDED_BY(mutex_);
  // Read and not finished; of these, taken up by a worker.
  std::size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t outstanding_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t started_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Worker>> workers_;
  kafka::ReadLoop loop_;
  std::thread thread_;
};

}  // namespace tocsin::notification
