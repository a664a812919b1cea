// The newest part of the log in memory: one ring for each partition, filled by one reader and read
// by any number of subscribers, each of which is only a position.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "gateway/live/entry.h"
#include "lib/base/mutex.h"

namespace tocsin::gateway {

// Thread-safe; no call blocks beyond a short lock.
class LogStore {
 public:
  struct Partition {
    std::size_t topic = 0;
    std::int32_t number = 0;
  };

  // Keeps entries of about `max_bytes` in all, and forgets the oldest first.
  LogStore(std::vector<LiveTopic> topics, std::size_t max_bytes);

  const std::vector<LiveTopic>& topics() const { return topics_; }

  // --- the reader

  // A partition that is read from `start` on. Partitions of a topic come in order. Returns its
  // index.
  std::size_t AddPartition(std::size_t topic, std::int64_t start);
  // What follows the last entries: all that exists from there up to `next`.
  void Append(std::size_t partition, const std::vector<EntryPtr>& entries, std::int64_t next);
  // The log goes on elsewhere: it was created anew, or its end was cut.
  void Restart(std::size_t partition, std::int64_t start);
  // All partitions that exist have been added once.
  void SetKnown() { known_ = true; }

  // --- subscribers

  bool known() const { return known_; }
  // Grows only; indices stay.
  std::size_t partition_count() const { return count_; }
  Partition partition(std::size_t index) const;

  struct Window {
    enum Place {
      // Here are entries, perhaps none.
      kInside,
      // Older than what is kept; the replayer has it.
      kBelow,
      // Beyond what the reader has seen.
      kAbove,
    };
    Place place = kInside;
    std::vector<EntryPtr> entries;
    // Where to go on after them.
    std::int64_t position = 0;
    // What is kept: from `start` up to `end`.
    std::int64_t start = 0;
    std::int64_t end = 0;
  };
  // At most `max` entries from `position` on.
  Window Read(std::size_t partition, std::int64_t position, std::size_t max) const;
  std::int64_t End(std::size_t partition) const;

  std::size_t bytes() const;

 private:
  struct Ring {
    Partition id;
    std::int64_t start = 0;
    std::int64_t next = 0;
    std::deque<EntryPtr> entries;
  };

  const std::vector<LiveTopic> topics_;
  const std::size_t max_bytes_;
  std::atomic<bool> known_{false};
  std::atomic<std::size_t> count_{0};
  mutable Mutex mutex_;
  std::vector<Ring> rings_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::int32_t> partitions_of_topic_ ABSL_GUARDED_BY(mutex_);
  // Which ring each kept entry is in, oldest first.
  std::deque<std::size_t> order_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tocsin::gateway
