// Reads parts of the log that are no longer in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/live/cursor.h"
#include "gateway/live/entry.h"

namespace tocsin::gateway {

// A part of one partition. Shared by all who read there at about the same time.
struct Chunk {
  enum Found {
    // All that exists in [from, to) is here.
    kWhole,
    // Nothing is left of [from, to): retention took it. No entries.
    kGone,
    // The log ends before `from`: it was created anew. It begins at `to`. No entries.
    kBeyondEnd,
  };
  Found found = kWhole;
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::vector<EntryPtr> entries;
};
using ChunkPtr = std::shared_ptr<const Chunk>;

// Thread-safe.
class Replayer {
 public:
  virtual ~Replayer() = default;
  // `from`: an offset, or kEarliest, which never gives kGone. `done` is called once, on any thread,
  // not within this call. UNAVAILABLE: Kafka does not answer; ask again later.
  virtual void Read(std::size_t partition, std::int64_t from,
                    std::function<void(absl::StatusOr<ChunkPtr>)> done) = 0;
};

}  // namespace tocsin::gateway
