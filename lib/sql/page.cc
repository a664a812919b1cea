#include "lib/sql/page.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::sql {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1'000;
constexpr std::string_view kTokenVersion = "1";

std::string DigestOf(std::string_view filter) {
  const std::array<std::string_view, 1> parts = {filter};
  return StableId(parts).substr(0, 12);
}

}  // namespace

std::string EncodePageToken(const PagePosition& position, std::string_view filter) {
  return Base64UrlEncode(
      Concat(kTokenVersion, "/", DigestOf(filter), "/", position.number, "/", position.id));
}

absl::StatusOr<std::optional<PagePosition>> DecodePageToken(std::string_view token,
                                                            std::string_view filter) {
  if (token.empty()) return std::nullopt;
  const auto refuse = [] {
    return InvalidArgument(
        "page_token: is not one that this list gave; begin again without a token");
  };
  const auto text = Base64UrlDecode(token);
  if (!text.ok()) return refuse();
  // The id is last, so that it may hold a slash.
  std::array<std::string_view, 3> parts;
  std::string_view rest = *text;
  for (std::string_view& part : parts) {
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return refuse();
    part = rest.substr(0, slash);
    rest.remove_prefix(slash + 1);
  }
  PagePosition position;
  position.id = std::string(rest);
  const auto [end, error] =
      std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), position.number);
  if (parts[0] != kTokenVersion || error != std::errc() ||
      end != parts[2].data() + parts[2].size() || position.id.empty()) {
    return refuse();
  }
  if (parts[1] != DigestOf(filter)) {
    return InvalidArgument(
        "page_token: was given for another filter; keep the filter, or begin again without a "
        "token");
  }
  return position;
}

absl::StatusOr<int> PageSize(std::int32_t asked) {
  if (asked < 0) return InvalidArgument("page_size: must not be negative");
  if (asked == 0) return kDefaultPageSize;
  return std::min(asked, kMaxPageSize);
}

}  // namespace tocsin::sql
