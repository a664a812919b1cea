// Deduplication: an event is known by (source, id), and counts once.
//
// Identities are kept as 128-bit hashes under a key of the state's own, in memory in one set, in
// the state in chunks: one record for what a transaction has brought, written again while it is
// small. The oldest chunk is forgotten by age (Kafka timestamps) and by count. The state behind it
// are the keys c and e of docs/formats/correlation-state.md, and d and f as long as format 1 has
// left some.
//
// Threads: one at a time. Lives as long as its task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "services/correlation/engine/identity_set.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/engine/task_options.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

class Deduplicator {
 public:
  // `options` must outlive it.
  explicit Deduplicator(const TaskOptions& options) : options_(options) {}

  // A batch begins; `state` is used until the next one does. Reads what is not known yet: all
  // identities, where this is the first batch.
  void Begin(StateView& state);
  // The last batches were not committed: what is known is read anew.
  void Drop() { loaded_ = false; }

  // A record with this Kafka timestamp has come, whatever it holds.
  void ObserveTimestamp(WallTime timestamp);
  // The highest Kafka timestamp of any record so far, in microseconds: the clock by which state
  // ages that event time says nothing about.
  std::int64_t highest_timestamp_us() const { return highest_timestamp_us_; }

  Hash128 Identify(std::string_view source, std::string_view id) const;
  // Admit will be asked about this one soon.
  void Prefetch(const Hash128& identity) const { seen_.Prefetch(identity); }
  // False: the identity was seen before. True: it is remembered from now on. `identity` is
  // Identify(source, id).
  bool Admit(const Hash128& identity, std::string_view source, std::string_view id,
             WallTime timestamp);

  // Forgets what is too old or too much, bounded by `records`, the size of the batch.
  void Expire(std::size_t records);
  // Writes what has changed since the last call.
  void Store();

 private:
  struct Chunk {
    // The number of its first identity, which is its key.
    std::int64_t first = 0;
    std::int64_t count = 0;
    std::int64_t highest_timestamp_us = 0;
    // Of this object: which of its chunks it is, from 1 on.
    std::uint32_t ordinal = 0;
  };

  void Load();
  bool SeenByFormat1(std::string_view source, std::string_view id) const;
  void ExpireFormat1(std::size_t budget, std::int64_t oldest_kept);
  // The chunk that new identities go to.
  Chunk& OpenChunk();
  void WriteOpenChunk();
  void Forget(const Chunk& chunk);

  const TaskOptions& options_;
  StateView* state_ = nullptr;
  bool loaded_ = false;
  v1::IdentityLog log_;
  std::string stored_log_;
  std::int64_t highest_timestamp_us_ = 0;
  SipKey key_;

  IdentitySet seen_;
  // Oldest first.
  std::deque<Chunk> chunks_;
  std::uint32_t last_ordinal_ = 0;
  // The last chunk's value while more is written to it; empty: the next identity begins a new one.
  std::string open_;
  bool open_changed_ = false;
};

}  // namespace tocsin::correlation
