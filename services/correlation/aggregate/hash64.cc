#include "services/correlation/aggregate/hash64.h"

#include <bit>
#include <cstddef>

namespace tocsin::correlation::aggregate {
namespace {

constexpr std::uint64_t kFirst = 0x87c37b91114253d5U;
constexpr std::uint64_t kSecond = 0x4cf5ad432745937fU;

// Up to eight bytes, little-endian whatever the machine.
std::uint64_t Word(std::string_view bytes) {
  std::uint64_t word = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) {
    word = (word << 8) | static_cast<unsigned char>(bytes[i - 1]);
  }
  return word;
}

std::uint64_t MixFirst(std::uint64_t word) { return std::rotl(word * kFirst, 31) * kSecond; }
std::uint64_t MixSecond(std::uint64_t word) { return std::rotl(word * kSecond, 33) * kFirst; }

std::uint64_t Finish(std::uint64_t hash) {
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdU;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53U;
  return hash ^ (hash >> 33);
}

}  // namespace

std::uint64_t Hash64(std::string_view bytes) {
  const std::uint64_t length = bytes.size();
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  while (bytes.size() >= 16) {
    first ^= MixFirst(Word(bytes.substr(0, 8)));
    first = (std::rotl(first, 27) + second) * 5 + 0x52dce729U;
    second ^= MixSecond(Word(bytes.substr(8, 8)));
    second = (std::rotl(second, 31) + first) * 5 + 0x38495ab5U;
    bytes.remove_prefix(16);
  }
  if (bytes.size() > 8) second ^= MixSecond(Word(bytes.substr(8)));
  if (!bytes.empty()) first ^= MixFirst(Word(bytes.substr(0, 8)));
  first ^= length;
  second ^= length;
  first += second;
  second += first;
  return Finish(first) + Finish(second);
}

}  // namespace tocsin::correlation::aggregate
