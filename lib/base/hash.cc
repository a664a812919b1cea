#include "lib/base/hash.h"

#include <openssl/evp.h>

#include <array>
#include <memory>

#include "lib/base/hex.h"

namespace tocsin {

std::uint32_t Murmur2(std::string_view bytes) {
  constexpr std::uint32_t kSeed = 0x9747b28c;
  constexpr std::uint32_t kMultiplier = 0x5bd1e995;
  constexpr int kShift = 24;
  const auto byte_at = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]));
  };
  std::uint32_t hash = kSeed ^ static_cast<std::uint32_t>(bytes.size());
  const std::size_t words = bytes.size() / 4;
  for (std::size_t i = 0; i < words; ++i) {
    const std::size_t at = i * 4;
    std::uint32_t word =
        byte_at(at) | byte_at(at + 1) << 8 | byte_at(at + 2) << 16 | byte_at(at + 3) << 24;
    word *= kMultiplier;
    word ^= word >> kShift;
    word *= kMultiplier;
    hash *= kMultiplier;
    hash ^= word;
  }
  const std::size_t tail = words * 4;
  switch (bytes.size() % 4) {
    case 3:
      hash ^= byte_at(tail + 2) << 16;
      [[fallthrough]];
    case 2:
      hash ^= byte_at(tail + 1) << 8;
      [[fallthrough]];
    case 1:
      hash ^= byte_at(tail);
      hash *= kMultiplier;
      break;
    default:
      break;
  }
  hash ^= hash >> 13;
  hash *= kMultiplier;
  hash ^= hash >> 15;
  return hash;
}

std::int32_t PartitionForKey(std::string_view key, std::int32_t partition_count) {
  return static_cast<std::int32_t>(Murmur2(key) & 0x7fffffffU) % partition_count;
}

std::string StableId(std::span<const std::string_view> parts) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  for (const std::string_view part : parts) {
    std::array<unsigned char, 8> length{};
    for (std::size_t i = 0; i < length.size(); ++i) {
      length[i] =
          static_cast<unsigned char>(static_cast<std::uint64_t>(part.size()) >> (56 - 8 * i));
    }
    EVP_DigestUpdate(context.get(), length.data(), length.size());
    EVP_DigestUpdate(context.get(), part.data(), part.size());
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  return HexEncode({reinterpret_cast<const char*>(digest.data()), 16});
}

}  // namespace tocsin
