// The committed state of one task on this machine's disk: RocksDB without a write-ahead log. What
// is lost with a crash is read again from the changelog topic, from the position that is written in
// the same atomic batch as the state that it belongs to.
//
// A folder is opened by one StateStore at a time, in this process or another.
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

struct StateStoreOptions {
  std::string folder;
  // A store whose last write is older than this is discarded when it is opened: the changelog may
  // have forgotten deletions by then (delete.retention.ms). Must be well below that.
  std::chrono::hours max_age{12};
  std::size_t write_buffer_bytes = 16U << 20;
  std::size_t cache_bytes = 16U << 20;
  // For tests of crashes: the destructor loses what RocksDB has not written by itself.
  bool lose_unwritten_on_close = false;
};

class StateStore final : public StateReader {
 public:
  // Creates the folder where it is missing. UNAVAILABLE: another has it open (retry). DATA_LOSS:
  // the files are damaged; Wipe the folder and restore. Blocks on the disk, usually some
  // milliseconds.
  static absl::StatusOr<std::unique_ptr<StateStore>> Open(const StateStoreOptions& options,
                                                          WallTime now);
  // Removes the folder; it must not be open.
  static absl::Status Wipe(const std::string& folder);

  // Writes what is in memory to disk (see lose_unwritten_on_close).
  ~StateStore() override;
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  std::optional<std::string> Get(std::string_view key) const override;
  void Range(std::string_view begin, std::string_view end,
             const StateVisitor& visit) const override;
  absl::Status status() const override;

  // The next offset of the changelog to read: everything before it is in the store. nullopt: the
  // store is new.
  std::optional<std::int64_t> position() const;

  // All or nothing. INTERNAL / RESOURCE_EXHAUSTED (disk full): close the store and restore.
  absl::Status Apply(const StateChanges& changes, std::int64_t position, WallTime now);

 private:
  struct Impl;
  explicit StateStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tocsin::correlation
