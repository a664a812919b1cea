// Pages of a list that is sorted newest first by (number, id), for list methods with page_size and
// page_token (AIP-158). A page goes on behind the last entry of the one before, so that what comes
// in meanwhile neither repeats nor hides an entry.
//
// All functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tocsin::sql {

struct PagePosition {
  // The sort key: a time in microseconds, a sequence number.
  std::int64_t number = 0;
  std::string id;
};

// `filter` is any text that is equal for equal filters only. The token holds a digest of it.
std::string EncodePageToken(const PagePosition& position, std::string_view filter);
// nullopt for the empty token. INVALID_ARGUMENT: the token is not one of ours, or of another
// filter.
absl::StatusOr<std::optional<PagePosition>> DecodePageToken(std::string_view token,
                                                            std::string_view filter);

// 100 for 0, at most 1,000. INVALID_ARGUMENT for a negative one.
absl::StatusOr<int> PageSize(std::int32_t asked);

}  // namespace tocsin::sql
