#include "lib/kafka/rd_view_batch.h"

#include <algorithm>
#include <utility>

#include "lib/base/time.h"
#include "lib/kafka/record_layout.h"

namespace tocsin::kafka::internal {
namespace {

// Batches that one reader has in hand at a time: the one computed, the one fetched, one to spare.
constexpr std::size_t kKept = 4;

WallTime TimestampOf(const rd_kafka_message_t& message) {
  rd_kafka_timestamp_type_t type{};
  const std::int64_t sent = rd_kafka_message_timestamp(&message, &type);
  if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) return {};
  // Producers may write any number there.
  using std::chrono::milliseconds;
  return WallTime(std::clamp(milliseconds(sent),
                             std::chrono::ceil<milliseconds>(kFirstTime.time_since_epoch()),
                             std::chrono::floor<milliseconds>(kLastTime.time_since_epoch())));
}

HeaderViews CopiedHeaders(const rd_kafka_message_t& message, HeaderMemory& memory) {
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  const std::span<HeaderViews::Entry> entries = memory.Take(rd_kafka_header_cnt(headers));
  std::size_t i = 0;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (i < entries.size() &&
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    entries[i++] = {name, {static_cast<const char*>(value), value == nullptr ? 0 : size}};
  }
  return HeaderViews(entries.first(i));
}

}  // namespace

std::unique_ptr<RdBatchMemory> BatchPool::Get() {
  std::unique_ptr<RdBatchMemory> memory;
  {
    MutexLock lock(mutex_);
    if (!free_.empty()) {
      memory = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (memory == nullptr) memory = std::make_unique<RdBatchMemory>();
  memory->pool_ = shared_from_this();
  return memory;
}

void BatchPool::Put(std::unique_ptr<RdBatchMemory> memory) {
  MutexLock lock(mutex_);
  if (free_.size() < kKept) free_.push_back(std::move(memory));
}

std::string_view BatchPool::Intern(std::string_view topic) {
  MutexLock lock(mutex_);
  auto found = topics_.find(topic);
  if (found == topics_.end()) found = topics_.emplace(topic).first;
  return *found;
}

void RdBatchMemory::Release() {
  std::unique_ptr<RdBatchMemory> self(this);
  Clear();
  // The pool may end here, with the last batch.
  const std::shared_ptr<BatchPool> pool = std::move(pool_);
  if (pool != nullptr) pool->Put(std::move(self));
}

void RdBatchMemory::Add(rd_kafka_message_t* message, std::string_view topic) {
  messages_.push_back(message);
  RecordView& record = records.emplace_back();
  record.topic = topic;
  record.partition = message->partition;
  record.offset = message->offset;
  if (message->key != nullptr) {
    record.key.emplace(static_cast<const char*>(message->key), message->key_len);
  }
  if (message->payload != nullptr) {
    record.value.emplace(static_cast<const char*>(message->payload), message->len);
  }
  record.timestamp = TimestampOf(*message);
  const auto in_place = HeadersInPlace(record.key, record.value, headers_);
  record.headers = in_place.has_value() ? *in_place : CopiedHeaders(*message, headers_);
}

void RdBatchMemory::DropRecords() {
  records.clear();
  headers_.Clear();
  for (rd_kafka_message_t* message : messages_) rd_kafka_message_destroy(message);
  messages_.clear();
}

void RdBatchMemory::Clear() {
  DropRecords();
  ends.clear();
  errors.clear();
}

}  // namespace tocsin::kafka::internal
