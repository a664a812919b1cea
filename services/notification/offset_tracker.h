// How far a partition is finished when its records finish in any order: the offset before which
// nothing is under way. Pure; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace tocsin::notification {

class OffsetTracker {
 public:
  // A record whose `parts` deliveries begin. Offsets only grow.
  void Begin(std::int64_t offset, std::size_t parts) {
    next_ = offset + 1;
    if (parts > 0) open_[offset] = parts;
  }
  // One part of it has ended.
  void End(std::int64_t offset) {
    const auto found = open_.find(offset);
    if (found != open_.end() && --found->second == 0) open_.erase(found);
  }
  // The next offset to commit; nullopt where nothing has begun, or nothing new has ended.
  std::optional<std::int64_t> Next() const {
    const std::optional<std::int64_t> next = open_.empty() ? next_ : open_.begin()->first;
    return next == committed_ ? std::nullopt : next;
  }
  void Committed(std::int64_t next) { committed_ = next; }

 private:
  std::map<std::int64_t, std::size_t> open_;
  std::optional<std::int64_t> next_;
  std::optional<std::int64_t> committed_;
};

}  // namespace tocsin::notification
