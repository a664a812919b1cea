// Checks and reads Protobuf bytes by descriptor, in place, without building a message: what ingest
// does with every event.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
}  // namespace google::protobuf

namespace tocsin::schema {

struct ValidateLimits {
  // Messages within messages, unknown groups included; what Protobuf's own parser allows.
  int max_depth = 100;
};

// Are these bytes a message of this type? One pass, allocates only to tell an error. What it
// accepts, Protobuf's parser accepts; it is stricter in one point: a known field number with
// another wire type than its declaration's is an error, not an unknown field (packed and unpacked
// are both fine for repeated numbers).
//
// INVALID_ARGUMENT names the field's path, the byte and the reason:
//   "places[2].name at byte 61: not valid UTF-8"
//   "severity at byte 4: length-delimited, where the schema says a varint (enum)"
// Checked: wire types, tags (number 0, above 2^29-1), varints cut off or longer than 10 bytes,
// lengths beyond the end, UTF-8 of proto3 strings, groups that do not match, depth, and required
// fields of proto2. Unknown fields are well-formed or refused. Thread-safe.
absl::Status Validate(const google::protobuf::Descriptor& message, std::string_view bytes,
                      const ValidateLimits& limits = {});

// bool; int32, int64, sint*, sfixed* and enum numbers; uint*, fixed*; float, double; string, bytes.
using FieldValue = std::variant<bool, std::int64_t, std::uint64_t, double, std::string>;

// The value of one singular field of scalar, string, bytes or enum type at the top level of the
// message, without parsing the rest: nullopt when it is not in the bytes (proto3's default value
// usually is not). The last occurrence counts, and another member of its oneof clears it, as in a
// parse. INVALID_ARGUMENT when the bytes break before the end, or the field is a message or
// repeated. Meant for bytes that Validate has accepted. Thread-safe.
absl::StatusOr<std::optional<FieldValue>> ReadField(const google::protobuf::FieldDescriptor& field,
                                                    std::string_view bytes);

// The same as text for keys and headers: numbers in decimal, bool as true/false, an enum value by
// its name (its number where the schema does not know it), string and bytes as they are. Empty when
// the field is not in the bytes.
absl::StatusOr<std::string> ReadFieldAsText(const google::protobuf::FieldDescriptor& field,
                                            std::string_view bytes);

// Is this well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF)?
bool IsValidUtf8(std::string_view text);

}  // namespace tocsin::schema
