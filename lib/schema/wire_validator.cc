#include "lib/schema/wire_validator.h"

#include <google/protobuf/descriptor.h>

#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/schema/wire_type.h"

namespace tocsin::schema {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::EnumValueDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;

std::string_view WireTypeName(std::uint32_t type) {
  switch (type) {
    case kVarint:
      return "a varint";
    case kFixed64:
      return "8 fixed bytes";
    case kDelimited:
      return "length-delimited";
    case kStartGroup:
      return "a group";
    case kEndGroup:
      return "the end of a group";
    case kFixed32:
      return "4 fixed bytes";
    default:
      return "an unknown wire type";
  }
}

bool IsNumeric(const FieldDescriptor& field) {
  const WireType type = WireTypeOf(field.type());
  return type == kVarint || type == kFixed32 || type == kFixed64;
}

// Where in the bytes. Every Take returns false at their end, or where they are malformed, and tells
// why in `error`; it leaves `at` on the byte where the trouble began.
struct Cursor {
  const std::uint8_t* begin;
  const std::uint8_t* at;
  const std::uint8_t* end;
  const char* error = nullptr;

  std::size_t offset() const { return static_cast<std::size_t>(at - begin); }
  std::size_t left() const { return static_cast<std::size_t>(end - at); }

  bool TakeVarint(std::uint64_t& value) {
    value = 0;
    const std::uint8_t* p = at;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (p == end) {
        error = "the bytes end inside a varint";
        return false;
      }
      const std::uint8_t byte = *p++;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) {
        at = p;
        return true;
      }
    }
    error = "a varint longer than 10 bytes";
    return false;
  }

  bool TakeTag(std::uint32_t& number, std::uint32_t& wire_type) {
    const std::uint8_t* start = at;
    std::uint64_t tag = 0;
    if (!TakeVarint(tag)) return false;
    wire_type = static_cast<std::uint32_t>(tag & 7);
    if (at - start > 5 || tag > 0xffffffffU) {
      error = "a field number above 536870911";
    } else if ((tag >> 3) == 0) {
      error = "field number 0";
    } else if (wire_type > kFixed32) {
      error = wire_type == 6 ? "wire type 6 does not exist" : "wire type 7 does not exist";
    } else {
      number = static_cast<std::uint32_t>(tag >> 3);
      return true;
    }
    at = start;
    return false;
  }

  bool TakeLength(std::size_t& length) {
    const std::uint8_t* start = at;
    std::uint64_t value = 0;
    if (!TakeVarint(value)) return false;
    if (value > left()) {
      at = start;
      error = "a length that goes beyond the end of the bytes";
      return false;
    }
    length = static_cast<std::size_t>(value);
    return true;
  }

  bool Skip(std::size_t count, const char* message) {
    if (left() < count) {
      error = message;
      return false;
    }
    at += count;
    return true;
  }
  bool SkipFixed32() { return Skip(4, "the bytes end inside a 4-byte value"); }
  bool SkipFixed64() { return Skip(8, "the bytes end inside an 8-byte value"); }

  bool SkipUnknown(std::uint32_t number, std::uint32_t wire_type, int depth_left) {
    std::uint64_t ignored = 0;
    std::size_t length = 0;
    switch (wire_type) {
      case kVarint:
        return TakeVarint(ignored);
      case kFixed64:
        return SkipFixed64();
      case kDelimited:
        if (!TakeLength(length)) return false;
        at += length;
        return true;
      case kStartGroup:
        return SkipGroup(number, depth_left - 1);
      case kFixed32:
        return SkipFixed32();
      default:
        error = "the end of a group that was not begun";
        return false;
    }
  }

  bool SkipGroup(std::uint32_t group, int depth_left) {
    if (depth_left < 0) {
      error = "nested deeper than the limit";
      return false;
    }
    while (at != end) {
      const std::uint8_t* start = at;
      std::uint32_t number = 0;
      std::uint32_t wire_type = 0;
      if (!TakeTag(number, wire_type)) return false;
      if (wire_type == kEndGroup) {
        if (number == group) return true;
        at = start;
        error = "the end of another group";
        return false;
      }
      if (!SkipUnknown(number, wire_type, depth_left)) return false;
    }
    error = "the bytes end inside a group";
    return false;
  }
};

// One pass over a message and the messages in it. On an error `path_` grows from the inside out.
class Scanner {
 public:
  Scanner(std::string_view bytes, const ValidateLimits& limits)
      : cursor_{.begin = reinterpret_cast<const std::uint8_t*>(bytes.data()),
                .at = reinterpret_cast<const std::uint8_t*>(bytes.data()),
                .end = reinterpret_cast<const std::uint8_t*>(bytes.data()) + bytes.size()},
        max_depth_(limits.max_depth) {}

  absl::Status Run(const Descriptor& message) {
    if (ScanMessage(message, max_depth_, 0)) return absl::OkStatus();
    std::string path;
    for (auto part = path_.rbegin(); part != path_.rend(); ++part) {
      if (!path.empty()) path.push_back('.');
      path += *part;
    }
    if (path.empty()) path = message.full_name();
    if (reason_.empty() && cursor_.error != nullptr) reason_ = cursor_.error;
    return InvalidArgument(Concat(path, " at byte ", cursor_.offset(), ": ", reason_));
  }

 private:
  // Scans up to the cursor's end, or, where group is not 0, up to that group's end.
  bool ScanMessage(const Descriptor& message, int depth_left, std::uint32_t group) {
    if (depth_left < 0) {
      reason_ = Concat("nested deeper than ", max_depth_, " messages");
      return false;
    }
    const std::uint8_t* const message_begin = cursor_.at;
    const bool may_require = message.file()->syntax() == FileDescriptor::SYNTAX_PROTO2;
    std::vector<bool> seen;
    if (may_require) seen.resize(static_cast<std::size_t>(message.field_count()));
    while (cursor_.at != cursor_.end) {
      const std::uint8_t* const start = cursor_.at;
      std::uint32_t number = 0;
      std::uint32_t wire_type = 0;
      if (!cursor_.TakeTag(number, wire_type)) return false;
      if (wire_type == kEndGroup) {
        if (group != 0 && number == group) {
          return !may_require || CheckRequired(message, seen);
        }
        cursor_.at = start;
        cursor_.error = "the end of a group that was not begun";
        return false;
      }
      const FieldDescriptor* field = message.FindFieldByNumber(static_cast<int>(number));
      if (field == nullptr && message.extension_range_count() > 0) {
        field = message.file()->pool()->FindExtensionByNumber(&message, static_cast<int>(number));
      }
      if (field == nullptr) {
        if (cursor_.SkipUnknown(number, wire_type, depth_left)) continue;
        path_.push_back(Concat("unknown field ", number));
        return false;
      }
      if (ScanField(*field, wire_type, depth_left, start)) {
        if (may_require && !field->is_extension())
          seen[static_cast<std::size_t>(field->index())] = true;
        continue;
      }
      NameField(*field, message_begin, start);
      return false;
    }
    if (group != 0) {
      cursor_.error = "the bytes end inside a group";
      return false;
    }
    return !may_require || CheckRequired(message, seen);
  }

  bool ScanField(const FieldDescriptor& field, std::uint32_t wire_type, int depth_left,
                 const std::uint8_t* start) {
    const WireType expected = WireTypeOf(field.type());
    if (wire_type != expected) {
      if (wire_type == kDelimited && field.is_repeated() && IsNumeric(field)) {
        return ScanPacked(expected);
      }
      cursor_.at = start;
      reason_ = Concat(WireTypeName(wire_type), ", where the schema says ", WireTypeName(expected),
                       " (", field.type_name(), ")");
      return false;
    }
    std::uint64_t ignored = 0;
    std::size_t length = 0;
    switch (expected) {
      case kVarint:
        return cursor_.TakeVarint(ignored);
      case kFixed32:
        return cursor_.SkipFixed32();
      case kFixed64:
        return cursor_.SkipFixed64();
      case kStartGroup:
        return ScanMessage(*field.message_type(), depth_left - 1,
                           static_cast<std::uint32_t>(field.number()));
      default:
        break;
    }
    if (!cursor_.TakeLength(length)) return false;
    if (field.type() == FieldDescriptor::TYPE_MESSAGE) {
      const std::uint8_t* const outer_end = cursor_.end;
      cursor_.end = cursor_.at + length;
      if (!ScanMessage(*field.message_type(), depth_left - 1, 0)) return false;
      cursor_.end = outer_end;
      return true;
    }
    if (field.type() == FieldDescriptor::TYPE_STRING &&
        field.file()->syntax() == FileDescriptor::SYNTAX_PROTO3 &&
        !IsValidUtf8({reinterpret_cast<const char*>(cursor_.at), length})) {
      reason_ = "not valid UTF-8";
      return false;
    }
    cursor_.at += length;
    return true;
  }

  bool ScanPacked(WireType element) {
    std::size_t length = 0;
    if (!cursor_.TakeLength(length)) return false;
    if (element == kVarint) {
      const std::uint8_t* const outer_end = cursor_.end;
      cursor_.end = cursor_.at + length;
      std::uint64_t ignored = 0;
      while (cursor_.at != cursor_.end) {
        if (!cursor_.TakeVarint(ignored)) return false;
      }
      cursor_.end = outer_end;
      return true;
    }
    const std::size_t size = element == kFixed32 ? 4 : 8;
    if (length % size != 0) {
      reason_ = Concat("packed values of ", size, " bytes in ", length, " bytes");
      return false;
    }
    cursor_.at += length;
    return true;
  }

  bool CheckRequired(const Descriptor& message, const std::vector<bool>& seen) {
    for (int i = 0; i < message.field_count(); ++i) {
      if (message.field(i)->is_required() && !seen[static_cast<std::size_t>(i)]) {
        path_.push_back(message.field(i)->name());
        reason_ = "required, and missing";
        return false;
      }
    }
    return true;
  }

  // Only after an error, so the count of a repeated field is found by going over the message again.
  void NameField(const FieldDescriptor& field, const std::uint8_t* message_begin,
                 const std::uint8_t* start) {
    std::string name = field.is_extension() ? Concat("[", field.full_name(), "]") : field.name();
    if (field.is_repeated() && !field.is_map()) {
      Cursor again{.begin = message_begin, .at = message_begin, .end = start};
      std::size_t index = 0;
      std::uint32_t number = 0;
      std::uint32_t wire_type = 0;
      while (again.at != again.end && again.TakeTag(number, wire_type) &&
             again.SkipUnknown(number, wire_type, max_depth_)) {
        if (number == static_cast<std::uint32_t>(field.number())) ++index;
      }
      name += Concat("[", index, "]");
    }
    path_.push_back(std::move(name));
  }

  Cursor cursor_;
  const int max_depth_;
  std::vector<std::string> path_;
  std::string reason_;
};

std::int64_t ZigZag(std::uint64_t raw) {
  return static_cast<std::int64_t>((raw >> 1) ^ (~(raw & 1) + 1));
}

template <typename Value>
Value LoadLittleEndian(const std::uint8_t* at) {
  static_assert(std::endian::native == std::endian::little);
  Value value{};
  std::memcpy(&value, at, sizeof(value));
  return value;
}

std::optional<FieldValue> TakeValue(const FieldDescriptor& field, Cursor& cursor) {
  const std::uint8_t* start = cursor.at;
  std::uint64_t raw = 0;
  std::size_t length = 0;
  switch (WireTypeOf(field.type())) {
    case kVarint:
      if (!cursor.TakeVarint(raw)) return std::nullopt;
      break;
    case kFixed32:
      if (!cursor.SkipFixed32()) return std::nullopt;
      break;
    case kFixed64:
      if (!cursor.SkipFixed64()) return std::nullopt;
      break;
    default:
      if (!cursor.TakeLength(length)) return std::nullopt;
      start = cursor.at;
      cursor.at += length;
      return std::string(reinterpret_cast<const char*>(start), length);
  }
  switch (field.type()) {
    case FieldDescriptor::TYPE_BOOL:
      return raw != 0;
    case FieldDescriptor::TYPE_INT32:
    case FieldDescriptor::TYPE_ENUM:
      return static_cast<std::int64_t>(static_cast<std::int32_t>(raw));
    case FieldDescriptor::TYPE_INT64:
      return static_cast<std::int64_t>(raw);
    case FieldDescriptor::TYPE_UINT32:
      return static_cast<std::uint64_t>(static_cast<std::uint32_t>(raw));
    case FieldDescriptor::TYPE_UINT64:
      return raw;
    case FieldDescriptor::TYPE_SINT32:
      return ZigZag(raw & 0xffffffffU);
    case FieldDescriptor::TYPE_SINT64:
      return ZigZag(raw);
    case FieldDescriptor::TYPE_FIXED32:
      return static_cast<std::uint64_t>(LoadLittleEndian<std::uint32_t>(start));
    case FieldDescriptor::TYPE_SFIXED32:
      return static_cast<std::int64_t>(LoadLittleEndian<std::int32_t>(start));
    case FieldDescriptor::TYPE_FIXED64:
      return LoadLittleEndian<std::uint64_t>(start);
    case FieldDescriptor::TYPE_SFIXED64:
      return LoadLittleEndian<std::int64_t>(start);
    case FieldDescriptor::TYPE_FLOAT:
      return static_cast<double>(LoadLittleEndian<float>(start));
    default:
      return LoadLittleEndian<double>(start);
  }
}

}  // namespace

absl::Status Validate(const Descriptor& message, std::string_view bytes,
                      const ValidateLimits& limits) {
  return Scanner(bytes, limits).Run(message);
}

absl::StatusOr<std::optional<FieldValue>> ReadField(const FieldDescriptor& field,
                                                    std::string_view bytes) {
  if (field.is_repeated() || field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return InvalidArgument(Concat(field.full_name(),
                                  " is not a single number, text or enum value: it is ",
                                  field.is_repeated() ? "repeated" : "a message"));
  }
  const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  Cursor cursor{.begin = begin, .at = begin, .end = begin + bytes.size()};
  const auto wanted = static_cast<std::uint32_t>(field.number());
  const auto wanted_type = static_cast<std::uint32_t>(WireTypeOf(field.type()));
  std::optional<FieldValue> value;
  bool good = true;
  while (good && cursor.at != cursor.end) {
    std::uint32_t number = 0;
    std::uint32_t wire_type = 0;
    if (!cursor.TakeTag(number, wire_type)) {
      good = false;
    } else if (number == wanted && wire_type == wanted_type) {
      value = TakeValue(field, cursor);
      good = value.has_value();
    } else {
      if (field.real_containing_oneof() != nullptr && number != wanted) {
        const FieldDescriptor* other =
            field.containing_type()->FindFieldByNumber(static_cast<int>(number));
        if (other != nullptr && other->real_containing_oneof() == field.real_containing_oneof()) {
          value.reset();
        }
      }
      good = cursor.SkipUnknown(number, wire_type, ValidateLimits().max_depth);
    }
  }
  if (!good) {
    return InvalidArgument(
        Concat(field.name(), ": the message breaks at byte ", cursor.offset(), ": ", cursor.error));
  }
  return value;
}

absl::StatusOr<std::string> ReadFieldAsText(const FieldDescriptor& field, std::string_view bytes) {
  TOCSIN_ASSIGN_OR_RETURN(const std::optional<FieldValue> value, ReadField(field, bytes));
  if (!value) return std::string();
  if (field.type() == FieldDescriptor::TYPE_ENUM) {
    const std::int64_t number = std::get<std::int64_t>(*value);
    const EnumValueDescriptor* known =
        field.enum_type()->FindValueByNumber(static_cast<int>(number));
    return known != nullptr ? known->name() : std::to_string(number);
  }
  return std::visit(
      [](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::string>) {
          return held;
        } else if constexpr (std::is_same_v<Held, bool>) {
          return held ? "true" : "false";
        } else {
          return std::to_string(held);
        }
      },
      *value);
}

bool IsValidUtf8(std::string_view text) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    // Eight plain ASCII bytes at a time.
    while (end - at >= 8 && (LoadLittleEndian<std::uint64_t>(at) & 0x8080808080808080U) == 0) {
      at += 8;
    }
    if (at == end) return true;
    const std::uint8_t lead = *at++;
    if (lead < 0x80) continue;
    int more = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; more > 0; --more) {
      if (at == end || *at < low || *at > high) return false;
      ++at;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}

}  // namespace tocsin::schema
