#include "lib/kafka/rd_sender.h"

#include <utility>

namespace tocsin::kafka::internal {
namespace {

constexpr const char* kInterceptor = "tocsin-delivered";

// librdkafka takes void* and does not write. It tells null from empty by the pointer.
void* Pointer(const std::optional<std::string_view>& text) {
  if (!text.has_value()) return nullptr;
  return const_cast<char*>(text->data() == nullptr ? "" : text->data());
}
std::size_t SizeOf(const std::optional<std::string_view>& text) {
  return text.has_value() ? text->size() : 0;
}

}  // namespace

DeliveredOffsets::~DeliveredOffsets() {
  for (std::atomic<Block*>& block : blocks_) delete block.load();
}

void DeliveredOffsets::Note(std::int32_t partition, std::int64_t next) {
  const auto index = static_cast<std::size_t>(partition);
  if (partition < 0 || index / kCells >= kBlocks) return;
  std::atomic<Block*>& place = blocks_[index / kCells];
  Block* block = place.load(std::memory_order_acquire);
  if (block == nullptr) {
    auto made = std::make_unique<Block>();
    if (place.compare_exchange_strong(block, made.get(), std::memory_order_acq_rel)) {
      block = made.release();
    }
    std::size_t end = blocks_end_.load();
    while (end <= index / kCells && !blocks_end_.compare_exchange_weak(end, index / kCells + 1)) {
    }
  }
  std::atomic<std::int64_t>& cell = (*block)[index % kCells];
  std::int64_t seen = cell.load(std::memory_order_relaxed);
  while (seen < next && !cell.compare_exchange_weak(seen, next, std::memory_order_relaxed)) {
  }
}

void DeliveredOffsets::Take(const std::string& topic, Offsets& offsets) {
  const std::size_t end = blocks_end_.load();
  for (std::size_t b = 0; b < end; ++b) {
    Block* const block = blocks_[b].load(std::memory_order_acquire);
    if (block == nullptr) continue;
    for (std::size_t c = 0; c < kCells; ++c) {
      const std::int64_t next = (*block)[c].exchange(0, std::memory_order_acq_rel);
      if (next > 0) offsets[{topic, static_cast<std::int32_t>(b * kCells + c)}] = next;
    }
  }
}

void Sender::Install(rd_kafka_conf_t* conf) {
  rd_kafka_conf_interceptor_add_on_new(
      conf, kInterceptor,
      [](rd_kafka_t* client, const rd_kafka_conf_t*, void* self, char*, std::size_t) {
        return rd_kafka_interceptor_add_on_acknowledgement(client, kInterceptor, OnAcknowledgement,
                                                           self);
      },
      this);
}

void Sender::Detach() {
  for (auto& [name, topic] : topics_) {
    if (topic->handle != nullptr) rd_kafka_topic_destroy(std::exchange(topic->handle, nullptr));
  }
  latest_ = nullptr;
}

Sender::Topic* Sender::TopicOf(std::string_view name) {
  if (latest_ != nullptr && latest_->name == name) return latest_;
  auto found = topics_.find(name);
  if (found == topics_.end()) {
    auto topic = std::make_unique<Topic>();
    topic->name = name;
    topic->handle = rd_kafka_topic_new(client_, topic->name.c_str(), nullptr);
    if (topic->handle == nullptr) return nullptr;
    found = topics_.emplace(topic->name, std::move(topic)).first;
  }
  latest_ = found->second.get();
  return latest_;
}

rd_kafka_resp_err_t Sender::Send(const OutgoingView& record) {
  Topic* const topic = TopicOf(record.topic);
  if (topic == nullptr) return rd_kafka_last_error();
  const std::int32_t partition =
      record.partition == kPartitionByKey ? RD_KAFKA_PARTITION_UA : record.partition;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (record.headers.empty()) {
    if (rd_kafka_produce(topic->handle, partition, RD_KAFKA_MSG_F_COPY, Pointer(record.value),
                         SizeOf(record.value), Pointer(record.key), SizeOf(record.key),
                         topic) != 0) {
      error = rd_kafka_last_error();
    }
  } else {
    std::array<rd_kafka_vu_t, 7> values{};
    values[0].vtype = RD_KAFKA_VTYPE_RKT;
    values[0].u.rkt = topic->handle;
    values[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    values[1].u.i32 = partition;
    values[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    values[2].u.i = RD_KAFKA_MSG_F_COPY;
    values[3].vtype = RD_KAFKA_VTYPE_VALUE;
    values[3].u.mem = {Pointer(record.value), SizeOf(record.value)};
    values[4].vtype = RD_KAFKA_VTYPE_KEY;
    values[4].u.mem = {Pointer(record.key), SizeOf(record.key)};
    values[5].vtype = RD_KAFKA_VTYPE_OPAQUE;
    values[5].u.ptr = topic;
    values[6].vtype = RD_KAFKA_VTYPE_HEADERS;
    values[6].u.headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, value] : record.headers.entries()) {
      rd_kafka_header_add(values[6].u.headers, name.data(), static_cast<ssize_t>(name.size()),
                          value.data() == nullptr ? "" : value.data(),
                          static_cast<ssize_t>(value.size()));
    }
    const ErrorPtr failed(rd_kafka_produceva(client_, values.data(), values.size()));
    if (failed != nullptr) {
      rd_kafka_headers_destroy(values[6].u.headers);
      error = rd_kafka_error_code(failed.get());
    }
  }
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) ++sent_;
  return error;
}

void Sender::Forget() {
  (void)TakeWritten();
  sent_ = 0;
  reported_ = 0;
  failure_ = RD_KAFKA_RESP_ERR_NO_ERROR;
}

Offsets Sender::TakeWritten() {
  Offsets written;
  for (auto& [name, topic] : topics_) topic->delivered.Take(name, written);
  return written;
}

rd_kafka_resp_err_t Sender::OnAcknowledgement(rd_kafka_t*, rd_kafka_message_t* message,
                                              void* self) {
  auto& sender = *static_cast<Sender*>(self);
  // Not an outcome: the call that sent it says so, and may be repeated.
  if (message->err == RD_KAFKA_RESP_ERR__QUEUE_FULL) return RD_KAFKA_RESP_ERR_NO_ERROR;
  auto* const topic = static_cast<Topic*>(message->_private);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && topic != nullptr) {
    topic->delivered.Note(message->partition, message->offset + 1);
  } else {
    int none = RD_KAFKA_RESP_ERR_NO_ERROR;
    sender.failure_.compare_exchange_strong(none, message->err);
  }
  // The one store that several brokers' threads share.
  sender.reported_.fetch_add(1, std::memory_order_release);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

}  // namespace tocsin::kafka::internal
