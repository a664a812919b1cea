// Confluent's wire format: what stands before the Protobuf bytes in a record's value.
//
//   version 0, in the value:  0x00, schema id (4 bytes, big-endian), message indexes, payload
//   version 1, in a header:   0x01, GUID of the schema (16 bytes), message indexes
//
// The message indexes are the path to the message in its file: a count and that many indexes, all
// zig-zag varints; the path {0}, by far the most frequent, is written as the one byte 0x00.
//
// All functions are pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/strong_id.h"

namespace tocsin::schema {

using SchemaId = StrongId<struct SchemaIdTag, std::int32_t>;

struct Framed {
  SchemaId id;
  std::vector<std::int32_t> message_indexes;
  // Points into the bytes that were decoded.
  std::string_view payload;
};

// Accepts the long form of the path {0} too. INVALID_ARGUMENT says what is wrong with the prefix:
// too short, another version, an id below 1, indexes that are negative, too many (over 100) or cut
// off.
absl::StatusOr<Framed> DecodeFrame(std::string_view bytes);

// Prefix and payload in one string.
std::string EncodeFrame(SchemaId id, std::span<const std::int32_t> message_indexes,
                        std::string_view payload);

// The record headers in which version 1 stands.
inline constexpr std::string_view kKeySchemaIdHeader = "__key_schema_id";
inline constexpr std::string_view kValueSchemaIdHeader = "__value_schema_id";

using SchemaGuid = std::array<std::uint8_t, 16>;

struct GuidHeader {
  SchemaGuid guid{};
  // {0} where the header has none.
  std::vector<std::int32_t> message_indexes;
};

// INVALID_ARGUMENT when the bytes are not of version 1, or cut off.
absl::StatusOr<GuidHeader> DecodeGuidHeader(std::string_view bytes);
std::string EncodeGuidHeader(const SchemaGuid& guid, std::span<const std::int32_t> message_indexes);

// "d8b1f4a2-…", lower case.
std::string FormatGuid(const SchemaGuid& guid);
// Upper case is fine. INVALID_ARGUMENT: not 8-4-4-4-12 hex digits.
absl::StatusOr<SchemaGuid> ParseGuid(std::string_view text);

}  // namespace tocsin::schema
