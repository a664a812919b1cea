// Deduplication: an event is known by (source, id), and counts once.
//
// Every identity has a number in the order of coming, so that the oldest can be forgotten, by age
// (Kafka timestamps) and by count. The state behind it are the keys d, f and c of
// docs/formats/correlation-state.md.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/engine/task_options.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

class Deduplicator {
 public:
  // Both must outlive it.
  Deduplicator(StateView& state, const TaskOptions& options) : state_(state), options_(options) {}

  // A record with this Kafka timestamp has come, whatever it holds.
  void ObserveTimestamp(WallTime timestamp);
  // The highest Kafka timestamp of any record so far, in microseconds: the clock by which state
  // ages that event time says nothing about.
  std::int64_t highest_timestamp_us();

  // False: the identity was seen before. True: it is remembered from now on.
  bool Admit(std::string_view source, std::string_view id, WallTime timestamp);

  // Forgets what is too old or too much, bounded by `records`, the size of the batch.
  void Expire(std::size_t records);
  // Writes what changed besides the identities themselves. The last call.
  void Store();

 private:
  v1::IdentityLog& log();

  StateView& state_;
  const TaskOptions& options_;
  // Read when it is first needed.
  std::optional<v1::IdentityLog> log_;
  std::string log_at_start_;
};

}  // namespace tocsin::correlation
