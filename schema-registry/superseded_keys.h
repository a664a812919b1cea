// Keys of our records that nobody needs any more: those that lost their race, and those whose
// effect a later record took over. Each waits here for its tombstone, without which compaction
// could never remove it: no two of our records share a key.
//
// A tombstone is written long after the record that made it possible is certain, and a key comes in
// here only when the state does not depend on its record: with or without the record, with or
// without the tombstone, a replica that reads the log comes to the same state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_set>
#include <vector>

#include "lib/base/clock.h"
#include "schema-registry/records.h"

namespace tocsin::registry {

// Not thread-safe.
class SupersededKeys {
 public:
  struct Delays {
    // For keys of this process.
    SteadyTime::duration own{};
    // For those of others, whose writers do it if they live.
    SteadyTime::duration others{};
  };

  // What exceeds `max_keys` is left to the next start, which finds it again.
  SupersededKeys(std::int64_t node, std::size_t max_keys) : node_(node), max_keys_(max_keys) {}

  // The time of what is added from now on.
  void SetNow(SteadyTime now) { now_ = now; }
  // `urgent`: a record that would count if the one before it were compacted away. As long as one of
  // these waits, no other is given out.
  void Add(const RecordKey& key, bool urgent = false);
  // Its tombstone was seen.
  void Remove(const RecordKey& key);

  // At most `max` whose time has come; the caller writes their tombstones, or gives them back.
  std::vector<std::string> Take(SteadyTime now, const Delays& delays, std::size_t max);
  void GiveBack(const std::vector<std::string>& keys);

  std::size_t size() const { return waiting_.size(); }

 private:
  struct Entry {
    std::string key;
    SteadyTime since{};
  };
  void TakeFrom(std::deque<Entry>& entries, SteadyTime until, std::size_t max,
                std::vector<std::string>& taken);

  const std::int64_t node_;
  const std::size_t max_keys_;
  SteadyTime now_{};
  // All that have no tombstone yet, by the bytes of their key.
  std::unordered_set<std::string> waiting_;
  std::unordered_set<std::string> urgent_waiting_;
  std::deque<Entry> urgent_;
  std::deque<Entry> own_;
  std::deque<Entry> others_;
};

}  // namespace tocsin::registry
