// Events as windows and the reorder buffer keep them: one string of bytes each, that can be laid
// behind one another. Time and value are read in place; the rest is parsed when the event becomes
// evidence.
//
//   event time, microseconds (8 bytes)   length of the value (4)   length of the event (4)
//   value   the event: v1.StoredEvent on the wire, without time and value
//
// Numbers are little-endian.
//
// All functions are pure.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "services/correlation/engine/envelope.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

// Points into the bytes that it was read from.
struct PackedEvent {
  std::int64_t time_us = 0;
  // value_count: its value (a tuple joined into one text).
  std::string_view value;
  // All of it, as it was packed.
  std::string_view bytes;
};

// Appends an event that lies at `offset` of `topic`[`partition`].
void AppendPacked(const Envelope& envelope, std::string_view topic, std::int32_t partition,
                  std::int64_t offset, std::string_view value, std::string& out);
// The same from a message: what format 1 kept.
void AppendPacked(const v1::StoredEvent& event, std::string& out);

v1::StoredEvent Unpack(const PackedEvent& packed);

// Little-endian numbers in strings, for state values.
void AppendFixed32(std::uint32_t number, std::string& out);
void AppendFixed64(std::int64_t number, std::string& out);
static_assert(std::endian::native == std::endian::little);
inline std::uint32_t LoadFixed32(const char* at) {
  std::uint32_t number = 0;
  std::memcpy(&number, at, sizeof(number));
  return number;
}
inline std::int64_t LoadFixed64(const char* at) {
  std::int64_t number = 0;
  std::memcpy(&number, at, sizeof(number));
  return number;
}
inline void StoreFixed64(std::int64_t number, char* at) {
  std::memcpy(at, &number, sizeof(number));
}

inline constexpr std::size_t kPackedHeaderBytes = 16;

// Takes the first event off `bytes`. nullopt: they are at their end, or no packed events.
inline std::optional<PackedEvent> TakePacked(std::string_view& bytes) {
  if (bytes.size() < kPackedHeaderBytes) return std::nullopt;
  const std::size_t value_bytes = LoadFixed32(bytes.data() + 8);
  const std::size_t event_bytes = LoadFixed32(bytes.data() + 12);
  const std::size_t size = kPackedHeaderBytes + value_bytes + event_bytes;
  if (bytes.size() < size) return std::nullopt;
  PackedEvent event;
  event.time_us = LoadFixed64(bytes.data());
  event.value = {bytes.data() + kPackedHeaderBytes, value_bytes};
  event.bytes = {bytes.data(), size};
  bytes.remove_prefix(size);
  return event;
}

}  // namespace tocsin::correlation
