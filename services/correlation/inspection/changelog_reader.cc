#include "services/correlation/inspection/changelog_reader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestQuestion{2'000};
constexpr milliseconds kPoll{100};
// A reader may stand still behind an assignment (librdkafka 2.0.2); it is given it once more.
constexpr std::chrono::seconds kAgain{2};
constexpr std::size_t kFetchAhead = std::size_t{8} << 20;

}  // namespace

absl::StatusOr<std::int64_t> ReadChangelog(
    const std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>&
        make_consumer,
    const kafka::TopicPartition& changelog, const Clock& clock, SteadyTime deadline,
    StateExcerpt& excerpt) {
  const auto left = [&] {
    return std::clamp(std::chrono::duration_cast<milliseconds>(deadline - clock.SteadyNow()),
                      milliseconds(0), kLongestQuestion);
  };
  kafka::ConsumerOptions options;
  options.max_buffered_bytes = kFetchAhead;
  options.close_timeout = milliseconds(500);
  TOCSIN_ASSIGN_OR_RETURN(const auto consumer, make_consumer(std::move(options)));
  TOCSIN_ASSIGN_OR_RETURN(const std::int64_t begin,
                          consumer->QueryBeginningOffset(changelog, left()));
  // What is committed by now ends here; what is not decided is not part of the state.
  TOCSIN_ASSIGN_OR_RETURN(
      const std::int64_t end,
      consumer->QueryEndOffset(changelog, kafka::Isolation::kReadCommitted, left()));
  TOCSIN_RETURN_IF_ERROR(consumer->Assign({{changelog, begin}}));
  std::int64_t position = begin;
  SteadyTime moved = clock.SteadyNow();
  while (position < end) {
    if (clock.SteadyNow() >= deadline) {
      return DeadlineExceeded(Concat(
          "another process has this partition, and its changelog was not read to the end in time: ",
          kafka::Describe(changelog), " stands at ", position, " of ", end, " (from ", begin,
          " on); give more time with --timeout"));
    }
    const kafka::ViewBatch batch = consumer->PollViews(std::min(kPoll, left()));
    for (const kafka::RecordView& record : batch.records()) {
      if (record.offset < end && record.key.has_value()) excerpt.Apply(*record.key, record.value);
    }
    for (const kafka::PollError& error : batch.errors()) {
      if (error.fatal || error.status.code() != absl::StatusCode::kUnavailable) {
        return Annotate(error.status, kafka::Describe(changelog));
      }
    }
    const std::int64_t before = position;
    position = consumer->Position(changelog).value_or(position);
    if (position > before) moved = clock.SteadyNow();
    if (clock.SteadyNow() - moved > kAgain) {
      TOCSIN_RETURN_IF_ERROR(consumer->Assign({{changelog, position}}));
      moved = clock.SteadyNow();
    }
  }
  return end;
}

}  // namespace tocsin::correlation
