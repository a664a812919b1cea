// The rows of tables, as a task looks them up.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"

namespace tocsin::correlation {

// What a table had for a key from some time on.
struct TableRow {
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  WallTime time{};
  // The message's bytes, behind Confluent's prefix.
  std::shared_ptr<const std::string> value;
};

// Thread-safe; answers come from memory.
class Tables {
 public:
  virtual ~Tables() = default;
  // The newest version with a time at or before `time`. nullopt: there was no row then, or the
  // table is not known.
  virtual std::optional<TableRow> Find(std::string_view table, std::string_view key,
                                       WallTime time) const = 0;
};

}  // namespace tocsin::correlation
