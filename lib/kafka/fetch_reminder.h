// Says when a reader's client must be reminded to fetch on: pure, so that it can be tested.
// Internal to this folder.
//
// Once it holds enough records ahead, librdkafka 2.0 sends no further fetch, and looks again only
// when the thread of the broker wakes for another reason, up to a second later: a reader that is
// behind then empties the queue and waits. (From 2.2 on `fetch.queue.backoff.ms` is that pause, and
// still a second.) Any request to the broker wakes the thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "lib/base/clock.h"

namespace tocsin::kafka::internal {

class FetchReminder {
 public:
  // The client's own limits: fetching stops at so many records or so many bytes.
  FetchReminder(std::size_t max_records, std::size_t max_bytes)
      : max_records_(max_records), max_bytes_(max_bytes) {}

  // After each poll: what it has taken, and how many records wait in the client. True: remind it
  // now. That is when the queue may have been full and half of it is gone, so that the other half
  // is worked on while more comes.
  bool Polled(std::size_t records, std::size_t bytes, std::size_t waiting, SteadyTime now) {
    if (records > 0) record_bytes_ = std::max<std::size_t>(1, bytes / records);
    most_ = std::max(most_, waiting + records);
    // Sizes differ and the client stops after whole answers of the broker: half is full enough.
    const std::size_t full = std::min(max_records_, max_bytes_ / record_bytes_) / 2;
    if (most_ < full || waiting > most_ / 2 || now < next_) return false;
    most_ = waiting;
    next_ = now + kPause;
    return true;
  }

 private:
  static constexpr std::chrono::milliseconds kPause{10};

  const std::size_t max_records_;
  const std::size_t max_bytes_;
  // Of the records of the last poll, on average.
  std::size_t record_bytes_ = 1;
  // Waited at once, since the last reminder.
  std::size_t most_ = 0;
  SteadyTime next_{};
};

}  // namespace tocsin::kafka::internal
