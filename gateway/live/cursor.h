// Where a subscription stands, as an opaque text that any replica with the same key understands.
//
// Inside: version 1; for each topic of the subscription its name and, for each partition, the
// offset to read next; then 16 bytes of HMAC-SHA256 over all of it. Base64 for URLs, no padding.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::gateway {

// In place of an offset: from the oldest record that there is, whichever it is.
inline constexpr std::int64_t kEarliest = -1;

// Topic → offset to read next for partitions 0, 1, …; kEarliest for those not begun.
using Positions = std::map<std::string, std::vector<std::int64_t>, std::less<>>;

// Immutable: thread-safe.
class CursorSeal {
 public:
  // INVALID_ARGUMENT: the key has less than 32 bytes.
  static absl::StatusOr<CursorSeal> Create(std::string key);

  std::string Seal(const Positions& positions) const;
  // INVALID_ARGUMENT: not a cursor that was sealed with this key.
  absl::StatusOr<Positions> Open(std::string_view cursor) const;

 private:
  explicit CursorSeal(std::string key) : key_(std::move(key)) {}
  std::string Sign(std::string_view bytes) const;

  std::string key_;
};

}  // namespace tocsin::gateway
