// Internal to this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/kafka/rd.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka::internal {

// A client that only asks for offsets, under the isolation that the consumer itself does not have:
// librdkafka's query has the isolation of its client. Made at the first question. Thread-safe.
class OffsetQuery {
 public:
  OffsetQuery(Connection connection, Isolation isolation)
      : connection_(std::move(connection)), isolation_(isolation) {}
  ~OffsetQuery();
  OffsetQuery(const OffsetQuery&) = delete;
  OffsetQuery& operator=(const OffsetQuery&) = delete;

  absl::StatusOr<std::int64_t> QueryEnd(const TopicPartition& where,
                                        std::chrono::milliseconds timeout);

 private:
  const Connection connection_;
  const Isolation isolation_;
  ConfBuilder::Hooks hooks_;
  Mutex mutex_;
  rd_kafka_t* handle_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace tocsin::kafka::internal
