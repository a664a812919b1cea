#include "lib/kafka/rd_offset_query.h"

#include "lib/base/status.h"

namespace tocsin::kafka::internal {

OffsetQuery::~OffsetQuery() {
  if (handle_ != nullptr) rd_kafka_destroy(handle_);
}

absl::StatusOr<std::int64_t> OffsetQuery::QueryEnd(const TopicPartition& where,
                                                   std::chrono::milliseconds timeout) {
  rd_kafka_t* handle = nullptr;
  {
    MutexLock lock(mutex_);
    if (handle_ == nullptr) {
      ConfBuilder conf(connection_);
      conf.Set("isolation.level", IsolationName(isolation_));
      TOCSIN_ASSIGN_OR_RETURN(handle_, conf.Make(RD_KAFKA_CONSUMER, &hooks_));
    }
    handle = handle_;
  }
  return QueryOffset(handle, where, LogEdge::kEnd, timeout);
}

}  // namespace tocsin::kafka::internal
