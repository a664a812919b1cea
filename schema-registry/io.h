// All that the registry needs from the world: one ordered, durable, compacted log.
//
// Delivery: a record that Append reports is on a quorum and will be read by every replica, in the
// same order and at the same offset. A record whose Append failed may or may not be in the log.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"

namespace tocsin::registry {

struct LogRecord {
  std::int64_t offset = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  WallTime timestamp{};
};

struct LogChunk {
  std::vector<LogRecord> records;
  // The offset of the next record to be written, where the end was reached.
  std::optional<std::int64_t> end;
};

class RegistryLog {
 public:
  virtual ~RegistryLog() = default;

  // The offset that the next record would get. Any thread. UNAVAILABLE / DEADLINE_EXCEEDED: not
  // within `timeout`.
  virtual absl::StatusOr<std::int64_t> EndOffset(std::chrono::milliseconds timeout) = 0;

  // Writes a record and gives the offset at which it landed. Any thread. Blocks for at most about
  // `timeout`; on UNAVAILABLE / DEADLINE_EXCEEDED the record may still land later.
  virtual absl::StatusOr<std::int64_t> Append(std::string key, std::string value,
                                              std::chrono::milliseconds timeout) = 0;

  // The records that follow those of the last call, from the beginning of the log on; waits for at
  // most `timeout` for the first. One thread. FAILED_PRECONDITION: the log does not hold what was
  // to be read next and never will (it was deleted or cut): fatal. Any other error passes; call
  // again.
  virtual absl::StatusOr<LogChunk> Poll(std::chrono::milliseconds timeout) = 0;
};

}  // namespace tocsin::registry
