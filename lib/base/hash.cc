#include "lib/base/hash.h"

#include <openssl/evp.h>

#include <array>
#include <bit>
#include <cstring>
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

namespace {

struct SipState {
  std::uint64_t v0;
  std::uint64_t v1;
  std::uint64_t v2;
  std::uint64_t v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Add(std::uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
  std::uint64_t Finish() {
    for (int i = 0; i < 4; ++i) Round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

Hash128 SipHash128(const SipKey& key, std::string_view bytes) {
  static_assert(std::endian::native == std::endian::little);
  SipState state{key.low ^ 0x736f6d6570736575U, key.high ^ 0x646f72616e646f6dU ^ 0xeeU,
                 key.low ^ 0x6c7967656e657261U, key.high ^ 0x7465646279746573U};
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  while (bytes.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    state.Add(word);
    bytes.remove_prefix(sizeof(word));
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    last |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  state.Add(last);
  state.v2 ^= 0xee;
  Hash128 hash;
  hash.low = state.Finish();
  state.v1 ^= 0xdd;
  hash.high = state.Finish();
  return hash;
}

}  // namespace tocsin
