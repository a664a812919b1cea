// A batch of librdkafka's messages as views. Internal to this folder.
#pragma once

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/rd.h"

namespace tocsin::kafka::internal {

// The client of a consumer: it ends when the consumer and all of its batches have.
struct ConsumerClient {
  ConsumerClient() = default;
  ~ConsumerClient() {
    if (handle != nullptr) rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }
  ConsumerClient(const ConsumerClient&) = delete;
  ConsumerClient& operator=(const ConsumerClient&) = delete;

  ConfBuilder::Hooks hooks;
  rd_kafka_t* handle = nullptr;
};

class RdBatchMemory;

// Memory for batches, kept from one to the next. Thread-safe.
class BatchPool : public std::enable_shared_from_this<BatchPool> {
 public:
  explicit BatchPool(std::shared_ptr<ConsumerClient> client) : client_(std::move(client)) {}

  std::unique_ptr<RdBatchMemory> Get();
  void Put(std::unique_ptr<RdBatchMemory> memory);

  // The name of that topic, always in the same bytes.
  std::string_view Intern(std::string_view topic);

 private:
  const std::shared_ptr<ConsumerClient> client_;
  Mutex mutex_;
  std::vector<std::unique_ptr<RdBatchMemory>> free_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> topics_ ABSL_GUARDED_BY(mutex_);
};

class RdBatchMemory final : public ViewBatch::Memory {
 public:
  ~RdBatchMemory() override { Clear(); }
  void Release() override;

  // A message without error becomes the last record; its topic is given.
  void Add(rd_kafka_message_t* message, std::string_view topic);
  // Forgets the records; keeps the memory.
  void DropRecords();

 private:
  friend class BatchPool;
  void Clear();

  // Set while the batch is somebody's.
  std::shared_ptr<BatchPool> pool_;
  std::vector<rd_kafka_message_t*> messages_;
  HeaderMemory headers_;
};

}  // namespace tocsin::kafka::internal
