// The rows of all tables in memory, each with the versions that it had.
//
// A version counts from its time on, until the next by time; of two with one time the later record
// counts. A version that was replaced longer than `keep_versions` ago is forgotten, and with it a
// row that was removed so long ago. How long ago is told by the time of sending, which no event's
// time can push.
//
// Threads: any.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "services/correlation/engine/tables.h"

namespace tocsin::correlation {

struct TableOptions {
  std::string topic;
  std::chrono::microseconds keep_versions = std::chrono::hours(24);
};

// A record of a table's topic.
struct TableRecord {
  std::string_view key;
  // nullopt: there is no row from `time` on.
  std::optional<std::string_view> value;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  // From when it counts, and when it was sent.
  WallTime time{};
  WallTime sent{};
};

class TableIndex final : public Tables {
 public:
  // `max_bytes`: of all tables together.
  TableIndex(const std::vector<TableOptions>& tables, std::size_t max_bytes);
  ~TableIndex() override;

  std::optional<TableRow> Find(std::string_view table, std::string_view key,
                               WallTime time) const override;

  // Forgets what is too old `now`, then takes up the record. A record that is known already changes
  // nothing. RESOURCE_EXHAUSTED: no room; what was there stays, and the record may come again.
  absl::Status Apply(std::string_view table, const TableRecord& record, WallTime now);
  void Forget(WallTime now);

  std::size_t bytes() const;
  // Keys of a table that have a row now.
  std::int64_t Rows(std::string_view table) const;

 private:
  struct Version {
    WallTime time{};
    WallTime sent{};
    std::int64_t offset = 0;
    std::int32_t partition = 0;
    // nullptr: no row.
    std::shared_ptr<const std::string> value;
  };
  // By time, then offset.
  using Versions = std::vector<Version>;
  struct Table {
    TableOptions options;
    std::map<std::string, Versions, std::less<>> keys;
    std::int64_t rows = 0;
    // Keys of which something was replaced or removed, by when that was sent.
    std::multimap<WallTime, std::string> replaced;
  };

  static bool HasRow(const Versions& versions) {
    return !versions.empty() && versions.back().value != nullptr;
  }
  std::size_t Cost(std::string_view key, const Version& version) const;
  void ForgetIn(Table& table, WallTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Trim(Table& table, const std::string& key, WallTime until)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::size_t max_bytes_;
  mutable Mutex mutex_;
  std::map<std::string, Table, std::less<>> tables_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tocsin::correlation
