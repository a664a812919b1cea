// The log in Kafka: one reader keeps the store filled from the end on, another reads again what
// subscribers ask for below it. No consumer group: every gateway reads everything.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/live/log_store.h"
#include "gateway/live/replayer.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/stop_signal.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/read_loop.h"

namespace tocsin::gateway {

// Makes a consumer without a group, read_committed.
using ConsumerFactory = kafka::ReadLoop::MakeConsumer;

// Keeps the store filled.
class LogTail final : private kafka::LogReader {
 public:
  struct Callbacks {
    // The store has something new in these topics (by index).
    std::function<void(const std::vector<bool>& topics)> news;
    // All that exists is being read, or why not; many times a second.
    std::function<void(const absl::Status& status)> health;
  };

  // All references outlive it.
  LogTail(LogStore& store, kafka::Admin& admin, ConsumerFactory make_consumer, Callbacks callbacks,
          const Clock& clock);
  // Calls Stop.
  ~LogTail() override;

  void Start();
  // Does not block; Stop then has less to wait for.
  void BeginStop() { stop_.Stop(); }
  // Joins the thread: about 4 s at most when Kafka does not answer.
  void Stop();

 private:
  absl::StatusOr<std::chrono::nanoseconds> Attach(kafka::Consumer& consumer,
                                                  kafka::RebalanceListener& listener,
                                                  bool fresh) override;
  absl::Status Take(kafka::Consumer& consumer, const kafka::Batch& batch) override;
  void OnMoved(const kafka::TopicPartition& where, std::optional<std::int64_t> position,
               std::int64_t beginning) override;
  void OnState(const absl::Status& state) override { callbacks_.health(state); }
  std::int64_t Index(const kafka::TopicPartition& where) const;

  LogStore& store_;
  kafka::Admin& admin_;
  const Callbacks callbacks_;
  // By the store's index.
  std::vector<kafka::TopicPartition> places_;
  // places_ has grown since the last assignment.
  bool assign_again_ = false;
  kafka::ReadLoop loop_;
  StopSignal stop_;
  std::thread thread_;
};

// Reads chunks for subscribers, of several partitions at once; those who ask for the same region
// share what was read for the first of them.
class KafkaReplayer final : public Replayer {
 public:
  KafkaReplayer(const LogStore& store, ConsumerFactory make_consumer);
  ~KafkaReplayer() override;

  void Start();
  // Does not block; Stop then has less to wait for.
  void BeginStop();
  // Joins the thread: about 4 s at most when Kafka does not answer.
  void Stop();

  void Read(std::size_t partition, std::int64_t from,
            std::function<void(absl::StatusOr<ChunkPtr>)> done) override;

 private:
  struct Request {
    std::size_t partition = 0;
    std::int64_t from = 0;
    std::function<void(absl::StatusOr<ChunkPtr>)> done;
  };
  struct Cached {
    std::size_t partition = 0;
    ChunkPtr chunk;
  };

  // One partition's part of a round.
  struct Fetching {
    Request request;
    kafka::TopicPartition where;
    std::int64_t end = 0;
    std::size_t bytes = 0;
    std::shared_ptr<Chunk> chunk = std::make_shared<Chunk>();
    bool done = false;
  };

  void Run();
  ChunkPtr FindCached(std::size_t partition, std::int64_t from);
  // At most one request for each partition.
  void Round(std::vector<Request> requests);
  // True when no record needs to be read.
  absl::StatusOr<bool> Prepare(Fetching& fetching);
  void Finish(Fetching& fetching);
  void Take(const kafka::Batch& batch, std::vector<Fetching>& all);
  bool stopping();

  const LogStore& store_;
  const ConsumerFactory make_consumer_;
  std::unique_ptr<kafka::Consumer> consumer_;
  // Newest last.
  std::deque<Cached> cache_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Request> requests_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tocsin::gateway
