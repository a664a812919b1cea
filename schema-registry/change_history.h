// The last changes that counted, for those who watch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "schema-registry/model.h"

namespace tocsin::registry {

// One change that counted.
struct Change {
  enum class Kind { kRegistered, kDeleted, kPermanentlyDeleted, kConfig, kMode, kContext };
  // The offset of its record + 1.
  std::int64_t revision = 0;
  Kind kind = Kind::kRegistered;
  // nullopt: everything (global configuration or mode).
  std::optional<std::string> subject;
  // 0: the whole subject.
  std::int32_t version = 0;
  SchemaId id;
  std::string actor;
  WallTime time{};
};

// Not thread-safe.
class ChangeHistory {
 public:
  // Keeps this many; the oldest go first.
  explicit ChangeHistory(std::size_t max_changes) : max_changes_(max_changes) {}

  // In the order of revisions.
  void Add(const Change& change);
  // Records before this revision are not in the log any more, so what they changed is not known.
  void MissedBefore(std::int64_t revision) { complete_after_ = revision; }

  // At most `max` of those after `revision`. OUT_OF_RANGE: some of them are gone.
  absl::StatusOr<std::vector<Change>> After(std::int64_t revision, std::size_t max) const;

 private:
  // Names repeat; each is kept once.
  using Name = const std::string*;
  struct Entry {
    std::int64_t revision = 0;
    Change::Kind kind{};
    Name subject = nullptr;
    std::int32_t version = 0;
    SchemaId id;
    Name actor = nullptr;
    WallTime time{};
  };

  Name Keep(const std::string& name) { return &*names_.insert(name).first; }

  const std::size_t max_changes_;
  std::deque<Entry> entries_;
  std::int64_t complete_after_ = 0;
  std::unordered_set<std::string> names_;
};

}  // namespace tocsin::registry
