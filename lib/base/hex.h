#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tocsin {

// Lower-case hex.
std::string HexEncode(std::string_view bytes);
// INVALID_ARGUMENT on an odd length or a character that is not a hex digit.
absl::StatusOr<std::string> HexDecode(std::string_view text);

// Base64 with the URL-safe alphabet and without padding (RFC 4648 section 5), as in JWT and
// cursors.
std::string Base64UrlEncode(std::string_view bytes);
// Strict: refuses padding, foreign characters and non-zero trailing bits, so that one value has one
// text.
absl::StatusOr<std::string> Base64UrlDecode(std::string_view text);

}  // namespace tocsin
