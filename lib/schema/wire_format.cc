#include "lib/schema/wire_format.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "lib/base/hex.h"
#include "lib/base/status.h"

namespace tocsin::schema {
namespace {

constexpr std::size_t kMaxIndexes = 100;
constexpr std::size_t kIdBytes = 4;

std::uint8_t ByteAt(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

// Consumes a zig-zag varint of at most 32 bits. nullopt: cut off or too long.
std::optional<std::int32_t> TakeZigZag(std::string_view& bytes) {
  std::uint32_t raw = 0;
  for (std::size_t i = 0; i < 5 && i < bytes.size(); ++i) {
    const std::uint8_t byte = ByteAt(bytes, i);
    if (i == 4 && byte > 0x0f) return std::nullopt;
    raw |= static_cast<std::uint32_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      bytes.remove_prefix(i + 1);
      return static_cast<std::int32_t>((raw >> 1) ^ (~(raw & 1) + 1));
    }
  }
  return std::nullopt;
}

void AppendZigZag(std::string& out, std::int32_t value) {
  std::uint32_t raw =
      (static_cast<std::uint32_t>(value) << 1) ^ static_cast<std::uint32_t>(value >> 31);
  while (raw >= 0x80) {
    out.push_back(static_cast<char>((raw & 0x7f) | 0x80));
    raw >>= 7;
  }
  out.push_back(static_cast<char>(raw));
}

absl::StatusOr<std::vector<std::int32_t>> TakeIndexes(std::string_view& bytes) {
  const std::optional<std::int32_t> count = TakeZigZag(bytes);
  if (!count) return InvalidArgument("the message indexes are cut off");
  if (*count == 0) return std::vector<std::int32_t>{0};
  if (*count < 0 || static_cast<std::size_t>(*count) > kMaxIndexes) {
    return InvalidArgument(Concat("the count of message indexes is ", *count,
                                  "; it must be from 0 to ", kMaxIndexes,
                                  " (is the count a zig-zag varint?)"));
  }
  std::vector<std::int32_t> indexes;
  indexes.reserve(static_cast<std::size_t>(*count));
  for (std::int32_t i = 0; i < *count; ++i) {
    const std::optional<std::int32_t> index = TakeZigZag(bytes);
    if (!index) return InvalidArgument("the message indexes are cut off");
    if (*index < 0) {
      return InvalidArgument(Concat("message index ", *index, " is negative (is it zig-zag?)"));
    }
    indexes.push_back(*index);
  }
  return indexes;
}

void AppendIndexes(std::string& out, std::span<const std::int32_t> indexes) {
  if (indexes.empty() || (indexes.size() == 1 && indexes[0] == 0)) {
    out.push_back('\0');
    return;
  }
  AppendZigZag(out, static_cast<std::int32_t>(indexes.size()));
  for (const std::int32_t index : indexes) AppendZigZag(out, index);
}

}  // namespace

absl::StatusOr<Framed> DecodeFrame(std::string_view bytes) {
  if (bytes.empty()) return InvalidArgument("no bytes, where the schema prefix should be");
  const std::uint8_t version = ByteAt(bytes, 0);
  if (version == 1) {
    return InvalidArgument(
        "the value begins with 0x01, a schema GUID (wire format 1); that form belongs into the "
        "record header __value_schema_id");
  }
  if (version != 0) {
    return InvalidArgument(Concat("the value begins with 0x", HexEncode(bytes.substr(0, 1)),
                                  ", not with 0x00 and a schema id: it is not in Confluent's wire "
                                  "format"));
  }
  if (bytes.size() < 1 + kIdBytes) {
    return InvalidArgument(
        Concat("the schema prefix is cut off: ", bytes.size(), " bytes, where 6 are the least"));
  }
  std::uint32_t id = 0;
  for (std::size_t i = 1; i <= kIdBytes; ++i) id = (id << 8) | ByteAt(bytes, i);
  if (id == 0 || id > 0x7fffffffU) {
    return InvalidArgument(Concat("schema id ", id, " is not from 1 to 2147483647"));
  }
  std::string_view rest = bytes.substr(1 + kIdBytes);
  TOCSIN_ASSIGN_OR_RETURN(std::vector<std::int32_t> indexes, TakeIndexes(rest));
  return Framed{SchemaId(static_cast<std::int32_t>(id)), std::move(indexes), rest};
}

std::string EncodeFrame(SchemaId id, std::span<const std::int32_t> message_indexes,
                        std::string_view payload) {
  std::string out;
  out.reserve(1 + kIdBytes + 1 + 2 * message_indexes.size() + payload.size());
  out.push_back('\0');
  const auto raw = static_cast<std::uint32_t>(id.value());
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(raw >> shift));
  AppendIndexes(out, message_indexes);
  out.append(payload);
  return out;
}

absl::StatusOr<GuidHeader> DecodeGuidHeader(std::string_view bytes) {
  if (bytes.empty() || ByteAt(bytes, 0) != 1) {
    return InvalidArgument("the schema header does not begin with 0x01 (wire format 1)");
  }
  GuidHeader header;
  if (bytes.size() < 1 + header.guid.size()) {
    return InvalidArgument(
        Concat("the schema header is cut off: ", bytes.size(), " bytes, where 17 are the least"));
  }
  for (std::size_t i = 0; i < header.guid.size(); ++i) header.guid[i] = ByteAt(bytes, 1 + i);
  std::string_view rest = bytes.substr(1 + header.guid.size());
  header.message_indexes = {0};
  if (rest.empty()) return header;
  TOCSIN_ASSIGN_OR_RETURN(header.message_indexes, TakeIndexes(rest));
  if (!rest.empty()) {
    return InvalidArgument(Concat(rest.size(), " bytes too many at the end of the schema header"));
  }
  return header;
}

std::string EncodeGuidHeader(const SchemaGuid& guid,
                             std::span<const std::int32_t> message_indexes) {
  std::string out(1, '\x01');
  for (const std::uint8_t byte : guid) out.push_back(static_cast<char>(byte));
  AppendIndexes(out, message_indexes);
  return out;
}

std::string FormatGuid(const SchemaGuid& guid) {
  std::string bytes;
  for (const std::uint8_t byte : guid) bytes.push_back(static_cast<char>(byte));
  std::string text = HexEncode(bytes);
  for (const std::size_t at : {20U, 16U, 12U, 8U}) text.insert(at, 1, '-');
  return text;
}

absl::StatusOr<SchemaGuid> ParseGuid(std::string_view text) {
  constexpr std::size_t kSize = 36;
  const auto refused = [text] {
    return InvalidArgument(Concat("'", Shorten(text, kSize + 4),
                                  "' is not a GUID: 32 hex digits in the form 8-4-4-4-12"));
  };
  if (text.size() != kSize) return refused();
  SchemaGuid guid{};
  std::size_t digits = 0;
  for (std::size_t i = 0; i < kSize; ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return refused();
      continue;
    }
    const int value = HexValue(text[i]);
    if (value < 0) return refused();
    std::uint8_t& byte = guid[digits / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | value);
    ++digits;
  }
  return guid;
}

}  // namespace tocsin::schema
