#include "gateway/live/cursor.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <optional>
#include <utility>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::gateway {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kSignature = 16;
constexpr std::size_t kShortestKey = 32;

void AppendVarint(std::uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

std::optional<std::uint64_t> TakeVarint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

absl::Status NotOurs() {
  return InvalidArgument(
      "the cursor is not one that this system gave: it was cut or changed, or signed with another "
      "key. Subscribe without it, from the latest or the earliest");
}

}  // namespace

absl::StatusOr<CursorSeal> CursorSeal::Create(std::string key) {
  if (key.size() < kShortestKey) {
    return InvalidArgument(
        Concat("the cursor key has ", key.size(), " bytes; it needs ", kShortestKey, " or more"));
  }
  return CursorSeal(std::move(key));
}

std::string CursorSeal::Sign(std::string_view bytes) const {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest, &size);
  return std::string(reinterpret_cast<const char*>(digest), kSignature);
}

std::string CursorSeal::Seal(const Positions& positions) const {
  std::string bytes(1, kVersion);
  for (const auto& [topic, offsets] : positions) {
    AppendVarint(topic.size(), bytes);
    bytes.append(topic);
    AppendVarint(offsets.size(), bytes);
    for (const std::int64_t offset : offsets) {
      AppendVarint(static_cast<std::uint64_t>(offset + 1), bytes);
    }
  }
  bytes += Sign(bytes);
  return Base64UrlEncode(bytes);
}

absl::StatusOr<Positions> CursorSeal::Open(std::string_view cursor) const {
  const auto decoded = Base64UrlDecode(cursor);
  if (!decoded.ok() || decoded->size() < 1 + kSignature) return NotOurs();
  std::string_view bytes(*decoded);
  const std::string_view signature = bytes.substr(bytes.size() - kSignature);
  bytes.remove_suffix(kSignature);
  const std::string expected = Sign(bytes);
  if (CRYPTO_memcmp(expected.data(), signature.data(), kSignature) != 0) return NotOurs();
  if (bytes.front() != kVersion) return NotOurs();
  bytes.remove_prefix(1);
  Positions positions;
  while (!bytes.empty()) {
    const auto name_size = TakeVarint(bytes);
    if (!name_size.has_value() || *name_size > bytes.size()) return NotOurs();
    const std::string topic(bytes.substr(0, *name_size));
    bytes.remove_prefix(*name_size);
    const auto count = TakeVarint(bytes);
    if (!count.has_value() || *count > bytes.size()) return NotOurs();
    std::vector<std::int64_t>& offsets = positions[topic];
    for (std::uint64_t i = 0; i < *count; ++i) {
      const auto offset = TakeVarint(bytes);
      if (!offset.has_value() || *offset > std::uint64_t{INT64_MAX}) return NotOurs();
      offsets.push_back(static_cast<std::int64_t>(*offset) - 1);
    }
  }
  return positions;
}

}  // namespace tocsin::gateway
