// Bytes as text: hex and both forms of base64.
//
// Threads: all functions are pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tocsin {

// 0 to 15, or -1 for what is no hex digit.
int HexValue(char c);
// Lower-case hex.
std::string HexEncode(std::string_view bytes);
// INVALID_ARGUMENT on an odd length or a character that is not a hex digit.
absl::StatusOr<std::string> HexDecode(std::string_view text);

// Base64 with the plain alphabet and padding (RFC 4648 section 4).
std::string Base64Encode(std::string_view bytes);
// Takes it without padding, too. INVALID_ARGUMENT: foreign characters, wrong padding, or non-zero
// trailing bits.
absl::StatusOr<std::string> Base64Decode(std::string_view text);

// Base64 with the URL-safe alphabet and without padding (RFC 4648 section 5), as in JWT and
// cursors.
std::string Base64UrlEncode(std::string_view bytes);
// Strict: refuses padding, foreign characters and non-zero trailing bits, so that one value has one
// text.
absl::StatusOr<std::string> Base64UrlDecode(std::string_view text);

}  // namespace tocsin
