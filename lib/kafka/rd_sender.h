// Hands views to a librdkafka producer and remembers what became of them, at the least cost per
// record: topic handles are looked up once, the client's queue copies the bytes, and a delivery is
// one store into a cell of its partition, made where the client learns of it (an interceptor), so
// that no report travels to another thread. Internal to this folder.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "lib/kafka/rd.h"
#include "lib/kafka/record_view.h"

namespace tocsin::kafka::internal {

// Partition → the offset behind the last record delivered there. Note: any thread.
class DeliveredOffsets {
 public:
  DeliveredOffsets() = default;
  ~DeliveredOffsets();
  DeliveredOffsets(const DeliveredOffsets&) = delete;
  DeliveredOffsets& operator=(const DeliveredOffsets&) = delete;

  // Keeps the highest.
  void Note(std::int32_t partition, std::int64_t next);
  // Adds what was noted since the last time to `offsets`, and forgets it.
  void Take(const std::string& topic, Offsets& offsets);

 private:
  static constexpr std::size_t kCells = 256;
  // A topic with more partitions than the product, a million, is beyond what Kafka can hold.
  static constexpr std::size_t kBlocks = 4'096;
  // 0: nothing.
  using Block = std::array<std::atomic<std::int64_t>, kCells>;

  std::array<std::atomic<Block*>, kBlocks> blocks_{};
  // Behind the last block that is there.
  std::atomic<std::size_t> blocks_end_{0};
};

// Send, TakeWritten and Forget: one thread at a time. The rest: any thread.
class Sender {
 public:
  Sender() = default;
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // Before the client is made. This object must outlive it.
  void Install(rd_kafka_conf_t* conf);
  // After it is made, and before it is destroyed.
  void Attach(rd_kafka_t* client) { client_ = client; }
  void Detach();

  rd_kafka_resp_err_t Send(const OutgoingView& record);

  // Begins to count anew. Nothing may be on its way.
  void Forget();
  // What was delivered since Forget; everything, once the client's queue is empty.
  Offsets TakeWritten();
  std::uint64_t sent() const { return sent_; }
  std::uint64_t reported() const { return reported_.load(std::memory_order_relaxed); }
  // The error of the first record that was not delivered.
  rd_kafka_resp_err_t failure() const {
    return static_cast<rd_kafka_resp_err_t>(failure_.load(std::memory_order_acquire));
  }

 private:
  struct Topic {
    std::string name;
    rd_kafka_topic_t* handle = nullptr;
    DeliveredOffsets delivered;
  };

  static rd_kafka_resp_err_t OnAcknowledgement(rd_kafka_t* client, rd_kafka_message_t* message,
                                               void* self);
  Topic* TopicOf(std::string_view name);

  rd_kafka_t* client_ = nullptr;
  std::map<std::string, std::unique_ptr<Topic>, std::less<>> topics_;
  Topic* latest_ = nullptr;
  std::uint64_t sent_ = 0;
  std::atomic<std::uint64_t> reported_{0};
  std::atomic<int> failure_{RD_KAFKA_RESP_ERR_NO_ERROR};
};

}  // namespace tocsin::kafka::internal
