#include "services/correlation/worker/incarnation.h"

#include <algorithm>
#include <charconv>

#include "lib/base/clock.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {

using std::chrono::milliseconds;

absl::StatusOr<std::int64_t> LastIncarnation(kafka::Consumer& reader, const std::string& topic,
                                             const std::string& worker, milliseconds timeout) {
  // Real time: it bounds a wait on the network.
  const SteadyTime until = Clock::Real().SteadyNow() + timeout;
  const kafka::TopicPartition where{topic, 0};
  TOCSIN_ASSIGN_OR_RETURN(
      const std::int64_t end,
      reader.QueryEndOffset(where, kafka::Isolation::kReadUncommitted, timeout));
  TOCSIN_ASSIGN_OR_RETURN(const std::int64_t begin, reader.QueryBeginningOffset(where, timeout));
  std::int64_t last = 0;
  if (begin >= end) return last;
  TOCSIN_RETURN_IF_ERROR(reader.Assign({{where, begin}}));
  while (reader.Position(where).value_or(begin) < end) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::Real().SteadyNow());
    if (left <= milliseconds(0)) {
      return DeadlineExceeded(
          Concat("a transaction in ", topic, " has not ended within ", timeout.count(), " ms"));
    }
    const kafka::Batch batch = reader.Poll(std::min(left, milliseconds(100)));
    for (const kafka::Record& record : batch.records) {
      if (record.key != worker || !record.value.has_value()) continue;
      std::int64_t number = 0;
      const char* const stop = record.value->data() + record.value->size();
      const auto [rest, error] = std::from_chars(record.value->data(), stop, number);
      if (error == std::errc() && rest == stop) last = std::max(last, number);
    }
    for (const kafka::PollError& error : batch.errors) {
      if (error.fatal || error.where.has_value()) return error.status;
    }
  }
  return last;
}

kafka::OutgoingRecord IncarnationRecord(const std::string& topic, const std::string& worker,
                                        std::int64_t incarnation) {
  kafka::OutgoingRecord record;
  record.topic = topic;
  record.partition = 0;
  record.key = worker;
  record.value = std::to_string(incarnation);
  return record;
}

}  // namespace tocsin::correlation
