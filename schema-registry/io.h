// All that the registry needs from the world: one ordered, durable, compacted log, and a place to
// say who changed what.
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
#include "schema-registry/model.h"

namespace tocsin::registry {

// What our own records say beside key and value, each in a header of its own; other registries do
// not read it.
struct RecordNotes {
  // Who wrote the record; empty where it is not known.
  std::string actor;
  // ContentKey of the schema in it, so that nobody has to compile it to know; empty: not known.
  std::string content_key;
  // Of a record that writes a version again: when it was registered first, and by whom.
  std::optional<WallTime> registered;
  std::string registered_by;
};

struct LogRecord {
  std::int64_t offset = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  WallTime timestamp{};
  RecordNotes notes;
};

// A record to be written. No value: a tombstone.
struct NewRecord {
  std::string key;
  std::optional<std::string> value;
  RecordNotes notes;
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

  // Writes records, in this order and without a gap unless another writer comes between, and gives
  // the offset at which each landed. One call at a time. Blocks for at most about `timeout`. A
  // record with UNAVAILABLE / DEADLINE_EXCEEDED may still land later; none that follows one of
  // those landed before it.
  virtual std::vector<absl::StatusOr<std::int64_t>> Append(std::vector<NewRecord> records,
                                                           std::chrono::milliseconds timeout) = 0;

  // The records that follow those of the last call, from the beginning of the log on; waits for at
  // most `timeout` for the first. One thread. FAILED_PRECONDITION: the log does not hold what was
  // to be read next and never will (it was deleted or cut): fatal. Any other error passes; call
  // again.
  virtual absl::StatusOr<LogChunk> Poll(std::chrono::milliseconds timeout) = 0;

  // Names the cluster that holds the log; empty while it is not known. Never blocks. Any thread.
  virtual std::string ClusterId() const = 0;
};

// One change that was asked for, made or refused.
struct AuditEntry {
  WallTime time{};
  Actor actor;
  // The full name of the gRPC method that does the same: "…SchemaRegistryService/RegisterSchema".
  std::string action;
  // The subject, or the subject and version: "orders-value/3"; empty: everything.
  std::string target;
  // OK, or why not.
  absl::Status outcome;
  std::string detail;
};

// Delivery: at least once, in the background; what cannot be written within its bound is counted
// and told in the log.
class AuditLog {
 public:
  virtual ~AuditLog() = default;
  // Never blocks. Any thread.
  virtual void Record(AuditEntry entry) = 0;
};

}  // namespace tocsin::registry
