#include "lib/base/hex.h"

#include <array>
#include <cstdint>

#include "lib/base/status.h"

namespace tocsin {
namespace {
constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// Both without padding.
std::string Encode64(std::string_view bytes, std::string_view alphabet) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      out.push_back(alphabet[bits >> count & 0x3f]);
    }
  }
  if (count > 0) out.push_back(alphabet[bits << (6 - count) & 0x3f]);
  return out;
}

absl::StatusOr<std::string> Decode64(std::string_view text, std::string_view alphabet) {
  if (text.size() % 4 == 1) return InvalidArgument("base64 text has an impossible length");
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = alphabet.find(c);
    if (value == std::string_view::npos) {
      return InvalidArgument("base64 text has a character outside its alphabet");
    }
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xff));
    }
  }
  if ((bits & ((1U << count) - 1)) != 0) {
    return InvalidArgument("base64 text has stray trailing bits");
  }
  return out;
}
}  // namespace

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string HexEncode(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(kHexDigits[byte >> 4]);
    out.push_back(kHexDigits[byte & 0x0f]);
  }
  return out;
}

absl::StatusOr<std::string> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return InvalidArgument("hex text has an odd length");
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = HexValue(text[i]);
    const int low = HexValue(text[i + 1]);
    if (high < 0 || low < 0)
      return InvalidArgument("hex text has a character that is no hex digit");
    out.push_back(static_cast<char>(high * 16 + low));
  }
  return out;
}

std::string Base64Encode(std::string_view bytes) {
  std::string text = Encode64(bytes, kBase64);
  while (text.size() % 4 != 0) text.push_back('=');
  return text;
}

absl::StatusOr<std::string> Base64Decode(std::string_view text) {
  const std::size_t padding = text.size() - text.find_last_not_of('=') - 1;
  if (padding > 0 && (padding > 2 || text.size() % 4 != 0)) {
    return InvalidArgument("base64 text is padded wrongly");
  }
  return Decode64(text.substr(0, text.size() - padding), kBase64);
}

std::string Base64UrlEncode(std::string_view bytes) { return Encode64(bytes, kBase64Url); }

absl::StatusOr<std::string> Base64UrlDecode(std::string_view text) {
  return Decode64(text, kBase64Url);
}

}  // namespace tocsin
