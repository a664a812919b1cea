#include "lib/kafka/record_layout.h"

#include <cstdint>

namespace tocsin::kafka::internal {
namespace {

using Byte = std::uint8_t;

constexpr Byte kMore = 0x80;
constexpr int kMaxVarint32 = 5;
constexpr int kMaxVarint64 = 10;

std::uint64_t ZigZag(std::int64_t number) {
  return (static_cast<std::uint64_t>(number) << 1) ^ static_cast<std::uint64_t>(number >> 63);
}

// The first byte of the varint of `number` that ends before `end`; nullptr when something else
// stands there. Reads no byte before those that match.
const Byte* Before(const Byte* end, std::int64_t number) {
  std::uint64_t rest = ZigZag(number);
  int size = 1;
  for (std::uint64_t left = rest >> 7; left != 0; left >>= 7) ++size;
  // Backwards, because only what matches is known to be followed by more of the record.
  for (int i = size - 1; i >= 0; --i) {
    const auto expected =
        static_cast<Byte>(((rest >> (7 * i)) & 0x7f) | (i == size - 1 ? 0 : kMore));
    if (*--end != expected) return nullptr;
  }
  return end;
}

// The first byte of whatever varint ends before `end`, of at most `limit` bytes. The byte before a
// varint in a record ends another field, so it has no continuation bit.
const Byte* SkipBefore(const Byte* end, int limit) {
  --end;
  if ((*end & kMore) != 0) return nullptr;
  for (int size = 1; (*(end - 1) & kMore) != 0; ++size) {
    if (size == limit) return nullptr;
    --end;
  }
  return end;
}

// The length that stands before `end` and counts at least `least` bytes; -1 for none. Bytes further
// back are looked at only where the nearer ones cannot be the whole of it, so `least` must not be
// more than the record can have; a true length is never exceeded, because leaving out its low
// groups makes it smaller.
std::int64_t LengthBefore(const Byte* end, std::int64_t least) {
  std::uint64_t value = 0;
  if ((*(end - 1) & kMore) != 0) return -1;
  for (int size = 1; size <= kMaxVarint32; ++size) {
    const Byte byte = *--end;
    if (size > 1 && (byte & kMore) == 0) return -1;
    value = value << 7 | (byte & 0x7f);
    if (static_cast<std::int64_t>(value >> 1) >= least) {
      return (value & 1) == 0 ? static_cast<std::int64_t>(value >> 1) : -1;
    }
  }
  return -1;
}

// Reads forward, never at or behind `end`.
struct Reader {
  const Byte* at;
  const Byte* end;

  // -1 is a number like others; false at a varint that does not end in time.
  bool Varint(std::int64_t& number) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 7 * kMaxVarint32; shift += 7) {
      if (at == end) return false;
      const Byte byte = *at++;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & kMore) == 0) {
        number = static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
        return true;
      }
    }
    return false;
  }

  bool Bytes(std::int64_t size, std::string_view& bytes) {
    if (size < 0 || size > end - at) return false;
    bytes = {reinterpret_cast<const char*>(at), static_cast<std::size_t>(size)};
    at += size;
    return true;
  }
};

const Byte* BytesOf(std::string_view text) { return reinterpret_cast<const Byte*>(text.data()); }

std::int64_t LengthOf(const std::optional<std::string_view>& text) {
  return text.has_value() ? static_cast<std::int64_t>(text->size()) : -1;
}

}  // namespace

std::optional<HeaderViews> HeadersInPlace(const std::optional<std::string_view>& key,
                                          const std::optional<std::string_view>& value,
                                          HeaderMemory& memory) {
  // Towards the beginning: up to the key's length.
  const Byte* headers = nullptr;
  const Byte* before = nullptr;
  if (LengthOf(value) > 0) {
    headers = BytesOf(*value) + value->size();
    before = Before(BytesOf(*value), LengthOf(value));
    if (before == nullptr) return std::nullopt;
    if (LengthOf(key) > 0) {
      if (BytesOf(*key) + key->size() != before) return std::nullopt;
      before = BytesOf(*key);
    }
  } else if (LengthOf(key) > 0) {
    headers = BytesOf(*key) + key->size();
    before = BytesOf(*key);
    // The value's length, a single byte for none and for empty.
    if (*headers != ZigZag(LengthOf(value))) return std::nullopt;
    ++headers;
  } else {
    return std::nullopt;
  }
  before = Before(before, LengthOf(key));
  if (before != nullptr) before = SkipBefore(before, kMaxVarint32);  // offset delta
  if (before != nullptr) before = SkipBefore(before, kMaxVarint64);  // time delta
  if (before == nullptr || *--before != 0) return std::nullopt;      // attributes
  // A record may end where its headers should be counted.
  const std::int64_t length = LengthBefore(before, headers - before);
  if (length < 0) return std::nullopt;

  Reader reader{headers, before + length};
  std::int64_t count = 0;
  // A header has two bytes at least.
  if (!reader.Varint(count) || count < 0 || count > (reader.end - reader.at) / 2) {
    return std::nullopt;
  }
  const std::span<HeaderViews::Entry> entries = memory.Take(static_cast<std::size_t>(count));
  for (HeaderViews::Entry& entry : entries) {
    std::int64_t size = 0;
    bool good = reader.Varint(size) && reader.Bytes(size, entry.first) && reader.Varint(size);
    if (good && size == -1) {
      entry.second = {};
    } else {
      good = good && reader.Bytes(size, entry.second);
    }
    if (!good) {
      memory.Return(entries.size());
      return std::nullopt;
    }
  }
  if (reader.at != reader.end) {
    memory.Return(entries.size());
    return std::nullopt;
  }
  return HeaderViews(entries);
}

}  // namespace tocsin::kafka::internal
