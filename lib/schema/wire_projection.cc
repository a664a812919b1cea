#include "lib/schema/wire_projection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "lib/schema/wire_type.h"
#include "lib/schema/wire_validator.h"

namespace tocsin::schema {

using ::google::protobuf::Descriptor;
using ::google::protobuf::EnumDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::OneofDescriptor;
using ::google::protobuf::Reflection;

namespace {

// Messages within messages, as in Protobuf's parser.
constexpr int kMaxDepth = 100;

// Has this type, or one that can stand in it, what the scanner leaves to Protobuf's parser?
bool NeedsParser(const Descriptor& type, std::set<const Descriptor*>& seen) {
  if (!seen.insert(&type).second) return false;
  if (type.extension_range_count() > 0 || type.options().message_set_wire_format()) return true;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_required()) return true;
    if (field.message_type() != nullptr && NeedsParser(*field.message_type(), seen)) return true;
  }
  return false;
}

Slot DefaultOf(const FieldDescriptor& field) {
  Slot slot;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      slot.boolean = field.default_value_bool();
      break;
    case FieldDescriptor::CPPTYPE_INT32:
      slot.integer = field.default_value_int32();
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      slot.integer = field.default_value_int64();
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      slot.natural = field.default_value_uint32();
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      slot.natural = field.default_value_uint64();
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      slot.real = static_cast<double>(field.default_value_float());
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      slot.real = field.default_value_double();
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      slot.integer = field.default_value_enum()->number();
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      slot.data = field.default_value_string().data();
      slot.size = static_cast<std::uint32_t>(field.default_value_string().size());
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return slot;
}

template <typename Value>
Value Load(const std::uint8_t* at) {
  static_assert(std::endian::native == std::endian::little);
  Value value{};
  std::memcpy(&value, at, sizeof(value));
  return value;
}

std::int64_t ZigZag(std::uint64_t raw) {
  return static_cast<std::int64_t>((raw >> 1) ^ (~(raw & 1) + 1));
}

// Each returns where it ends, or nullptr.
const std::uint8_t* TakeLongVarint(const std::uint8_t* at, const std::uint8_t* end,
                                   std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 70 && at != end; shift += 7) {
    const std::uint8_t byte = *at++;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return at;
  }
  return nullptr;
}
inline const std::uint8_t* TakeVarint(const std::uint8_t* at, const std::uint8_t* end,
                                      std::uint64_t& value) {
  if (at != end && *at < 0x80) {
    value = *at;
    return at + 1;
  }
  return TakeLongVarint(at, end, value);
}
inline const std::uint8_t* TakeLength(const std::uint8_t* at, const std::uint8_t* end,
                                      std::size_t& length) {
  std::uint64_t value = 0;
  const std::uint8_t* const after = TakeVarint(at, end, value);
  if (after == nullptr || after - at > 5 || value > static_cast<std::uint64_t>(end - after)) {
    return nullptr;
  }
  length = static_cast<std::size_t>(value);
  return after;
}
inline const std::uint8_t* TakeTag(const std::uint8_t* at, const std::uint8_t* end,
                                   std::uint32_t& number, std::uint32_t& wire_type) {
  std::uint64_t tag = 0;
  const std::uint8_t* const after = TakeVarint(at, end, tag);
  if (after == nullptr || after - at > 5 || tag > 0xffffffffU || tag < 8) return nullptr;
  number = static_cast<std::uint32_t>(tag >> 3);
  wire_type = static_cast<std::uint32_t>(tag & 7);
  return after;
}

const std::uint8_t* Skip(const std::uint8_t* at, const std::uint8_t* end, std::uint32_t number,
                         std::uint32_t wire_type, int depth) {
  std::uint64_t ignored = 0;
  std::size_t length = 0;
  switch (wire_type) {
    case kVarint:
      return TakeVarint(at, end, ignored);
    case kFixed64:
      return end - at >= 8 ? at + 8 : nullptr;
    case kFixed32:
      return end - at >= 4 ? at + 4 : nullptr;
    case kDelimited:
      at = TakeLength(at, end, length);
      return at == nullptr ? nullptr : at + length;
    case kStartGroup: {
      if (--depth < 0) return nullptr;
      while (at != nullptr && at != end) {
        std::uint32_t inner = 0;
        std::uint32_t inner_type = 0;
        at = TakeTag(at, end, inner, inner_type);
        if (at == nullptr) return nullptr;
        if (inner_type == kEndGroup) return inner == number ? at : nullptr;
        at = Skip(at, end, inner, inner_type, depth);
      }
      return nullptr;
    }
    default:
      return nullptr;
  }
}

}  // namespace

struct WireProjection::Field {
  static constexpr std::uint32_t kNoSlot = 0xffffffffU;

  bool known = false;
  WireType wire_type = kVarint;
  FieldDescriptor::Type type = FieldDescriptor::TYPE_INT32;
  bool packable = false;
  bool utf8 = false;
  std::uint32_t slot = kNoSlot;
  // Of cleared_.
  std::uint32_t clear_begin = 0;
  std::uint32_t clear_end = 0;
  // Closed enums only.
  const EnumDescriptor* closed = nullptr;
  const Table* message = nullptr;
};

struct WireProjection::Table {
  // By number.
  std::vector<Field> low;
  std::map<std::uint32_t, Field> high;

  static constexpr std::uint32_t kLow = 64;
  const Field* Find(std::uint32_t number) const {
    if (number < low.size()) return low[number].known ? &low[number] : nullptr;
    const auto found = high.find(number);
    return found == high.end() ? nullptr : &found->second;
  }
};

class WireProjection::Compiler {
 public:
  explicit Compiler(WireProjection& projection) : projection_(projection) {}

  // The fields of `type` as they stand at `prefix`. Types without a slot in them have one table.
  const Table* TableOf(const Descriptor& type, const FieldPath& prefix) {
    const bool plain = !HasSlotBelow(prefix);
    if (plain) {
      const auto known = plain_.find(&type);
      if (known != plain_.end()) return known->second;
    }
    Table& table = *projection_.tables_.emplace_back(std::make_unique<Table>());
    if (plain) plain_[&type] = &table;
    for (int i = 0; i < type.field_count(); ++i) AddField(*type.field(i), prefix, plain, table);
    return &table;
  }

 private:
  static bool Begins(const FieldPath& path, const FieldPath& prefix) {
    return path.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), path.begin());
  }
  bool HasSlotBelow(const FieldPath& prefix) const {
    return std::any_of(
        projection_.paths_.begin(), projection_.paths_.end(),
        [&](const FieldPath& path) { return path.size() > prefix.size() && Begins(path, prefix); });
  }

  void AddField(const FieldDescriptor& descriptor, const FieldPath& prefix, bool plain,
                Table& table) {
    Field field;
    field.known = true;
    field.type = descriptor.type();
    field.wire_type = WireTypeOf(field.type);
    field.packable =
        descriptor.is_repeated() && field.wire_type != kDelimited && field.wire_type != kStartGroup;
    field.utf8 = field.type == FieldDescriptor::TYPE_STRING &&
                 descriptor.file()->syntax() == FileDescriptor::SYNTAX_PROTO3;
    if (field.type == FieldDescriptor::TYPE_ENUM &&
        descriptor.file()->syntax() != FileDescriptor::SYNTAX_PROTO3) {
      field.closed = descriptor.enum_type();
    }
    FieldPath path = prefix;
    path.push_back(&descriptor);
    if (!plain && !descriptor.is_repeated()) {
      const auto& paths = projection_.paths_;
      const auto slot = std::find(paths.begin(), paths.end(), path);
      if (slot != paths.end()) field.slot = static_cast<std::uint32_t>(slot - paths.begin());
      AddClears(descriptor, prefix, field);
    }
    if (descriptor.message_type() != nullptr) {
      // Nothing inside a repeated message has a slot: a path through it would not be one.
      field.message = TableOf(*descriptor.message_type(), path);
    }
    const auto number = static_cast<std::uint32_t>(descriptor.number());
    if (number >= Table::kLow) {
      table.high.emplace(number, field);
      return;
    }
    if (table.low.size() <= number) table.low.resize(number + 1);
    table.low[number] = field;
  }

  void AddClears(const FieldDescriptor& descriptor, const FieldPath& prefix, Field& field) {
    std::vector<std::uint32_t>& cleared = projection_.cleared_;
    field.clear_begin = static_cast<std::uint32_t>(cleared.size());
    if (const OneofDescriptor* oneof = descriptor.real_containing_oneof(); oneof != nullptr) {
      for (std::size_t i = 0; i < projection_.paths_.size(); ++i) {
        const FieldPath& path = projection_.paths_[i];
        if (path.size() <= prefix.size() || !Begins(path, prefix)) continue;
        const FieldDescriptor* member = path[prefix.size()];
        if (member != &descriptor && member->real_containing_oneof() == oneof) {
          cleared.push_back(static_cast<std::uint32_t>(i));
        }
      }
    }
    field.clear_end = static_cast<std::uint32_t>(cleared.size());
  }

  WireProjection& projection_;
  std::map<const Descriptor*, const Table*> plain_;
};

// One pass over the bytes.
class WireProjection::Scanner {
 public:
  Scanner(const WireProjection& projection, Slot* slots) : projection_(projection), slots_(slots) {}

  // Up to `end`, or, where `group` is not 0, behind that group's end. nullptr: not valid.
  const std::uint8_t* Scan(const Table& table, const std::uint8_t* at, const std::uint8_t* end,
                           int depth, std::uint32_t group) {
    while (at != end) {
      std::uint32_t number = 0;
      std::uint32_t wire_type = 0;
      at = TakeTag(at, end, number, wire_type);
      if (at == nullptr) return nullptr;
      if (wire_type == kEndGroup) return group != 0 && number == group ? at : nullptr;
      const Field* const field = table.Find(number);
      if (field == nullptr) {
        at = Skip(at, end, number, wire_type, depth);
      } else if (wire_type == field->wire_type) {
        at = Take(*field, number, at, end, depth);
      } else if (wire_type == kDelimited && field->packable) {
        at = SkipPacked(*field, at, end);
      } else {
        at = Skip(at, end, number, wire_type, depth);
      }
      if (at == nullptr) return nullptr;
    }
    return group == 0 ? at : nullptr;
  }

 private:
  // The field is set: its slot, empty but for `present`, or nullptr.
  Slot* Set(const Field& field) {
    for (std::uint32_t i = field.clear_begin; i < field.clear_end; ++i) {
      const std::uint32_t slot = projection_.cleared_[i];
      slots_[slot] = projection_.defaults_[slot];
    }
    if (field.slot == Field::kNoSlot) return nullptr;
    slots_[field.slot].present = true;
    return &slots_[field.slot];
  }

  const std::uint8_t* Take(const Field& field, std::uint32_t number, const std::uint8_t* at,
                           const std::uint8_t* end, int depth) {
    switch (field.wire_type) {
      case kVarint: {
        std::uint64_t raw = 0;
        at = TakeVarint(at, end, raw);
        if (at != nullptr) SetVarint(field, raw);
        return at;
      }
      case kFixed64:
        if (end - at < 8) return nullptr;
        if (Slot* const slot = Set(field); slot != nullptr) {
          slot->natural = Load<std::uint64_t>(at);
        }
        return at + 8;
      case kFixed32:
        if (end - at < 4) return nullptr;
        if (Slot* const slot = Set(field); slot != nullptr) {
          if (field.type == FieldDescriptor::TYPE_FLOAT) {
            slot->real = static_cast<double>(Load<float>(at));
          } else if (field.type == FieldDescriptor::TYPE_SFIXED32) {
            slot->integer = Load<std::int32_t>(at);
          } else {
            slot->natural = Load<std::uint32_t>(at);
          }
        }
        return at + 4;
      case kStartGroup:
        if (depth == 0) return nullptr;
        Set(field);
        return Scan(*field.message, at, end, depth - 1, number);
      default:
        return TakeDelimited(field, at, end, depth);
    }
  }

  const std::uint8_t* TakeDelimited(const Field& field, const std::uint8_t* at,
                                    const std::uint8_t* end, int depth) {
    std::size_t length = 0;
    at = TakeLength(at, end, length);
    if (at == nullptr) return nullptr;
    if (field.message != nullptr) {
      if (depth == 0) return nullptr;
      Set(field);
      return Scan(*field.message, at, at + length, depth - 1, 0);
    }
    const auto* const text = reinterpret_cast<const char*>(at);
    if (field.utf8 && !IsValidUtf8({text, length})) return nullptr;
    if (Slot* const slot = Set(field); slot != nullptr) {
      slot->data = text;
      slot->size = static_cast<std::uint32_t>(length);
    }
    return at + length;
  }

  void SetVarint(const Field& field, std::uint64_t raw) {
    if (field.closed != nullptr &&
        field.closed->FindValueByNumber(static_cast<std::int32_t>(raw)) == nullptr) {
      return;
    }
    Slot* const slot = Set(field);
    if (slot == nullptr) return;
    switch (field.type) {
      case FieldDescriptor::TYPE_BOOL:
        slot->boolean = raw != 0;
        break;
      case FieldDescriptor::TYPE_INT32:
      case FieldDescriptor::TYPE_ENUM:
        slot->integer = static_cast<std::int32_t>(raw);
        break;
      case FieldDescriptor::TYPE_UINT32:
        slot->natural = static_cast<std::uint32_t>(raw);
        break;
      case FieldDescriptor::TYPE_SINT32:
        slot->integer = ZigZag(raw & 0xffffffffU);
        break;
      case FieldDescriptor::TYPE_SINT64:
        slot->integer = ZigZag(raw);
        break;
      default:
        slot->natural = raw;
        break;
    }
  }

  static const std::uint8_t* SkipPacked(const Field& field, const std::uint8_t* at,
                                        const std::uint8_t* end) {
    std::size_t length = 0;
    at = TakeLength(at, end, length);
    if (at == nullptr) return nullptr;
    if (field.wire_type != kVarint) {
      return length % (field.wire_type == kFixed32 ? 4 : 8) == 0 ? at + length : nullptr;
    }
    std::uint64_t ignored = 0;
    const std::uint8_t* const last = at + length;
    while (at != nullptr && at != last) at = TakeVarint(at, last, ignored);
    return at;
  }

  const WireProjection& projection_;
  Slot* const slots_;
};

WireProjection::WireProjection() = default;
WireProjection::~WireProjection() = default;

std::shared_ptr<const WireProjection> WireProjection::Compile(const Descriptor* descriptor,
                                                              std::span<const FieldPath> paths) {
  std::shared_ptr<WireProjection> projection(new WireProjection());
  projection->descriptor_ = descriptor;
  for (const FieldPath& path : paths) {
    if (std::count(projection->paths_.begin(), projection->paths_.end(), path) > 0) continue;
    projection->paths_.push_back(path);
    projection->defaults_.push_back(DefaultOf(*path.back()));
  }
  std::set<const Descriptor*> seen;
  projection->needs_parser_ = NeedsParser(*descriptor, seen);
  projection->root_ = Compiler(*projection).TableOf(*descriptor, {});
  return projection;
}

std::size_t WireProjection::SlotOf(const FieldPath& path) const {
  return static_cast<std::size_t>(std::find(paths_.begin(), paths_.end(), path) - paths_.begin());
}

bool WireProjection::Read(std::string_view bytes, Slot* slots) const {
  if (needs_parser_) return false;
  std::copy(defaults_.begin(), defaults_.end(), slots);
  const auto* const begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return Scanner(*this, slots).Scan(*root_, begin, begin + bytes.size(), kMaxDepth, 0) != nullptr;
}

void WireProjection::ReadMessage(const Message& message, std::deque<std::string>& copies,
                                 Slot* slots) const {
  for (std::size_t i = 0; i < paths_.size(); ++i) {
    slots[i] = defaults_[i];
    const Message* holder = &message;
    for (std::size_t step = 0; step + 1 < paths_[i].size() && holder != nullptr; ++step) {
      const Reflection& reflection = *holder->GetReflection();
      holder = reflection.HasField(*holder, paths_[i][step])
                   ? &reflection.GetMessage(*holder, paths_[i][step])
                   : nullptr;
    }
    const FieldDescriptor& field = *paths_[i].back();
    if (holder == nullptr || !holder->GetReflection()->HasField(*holder, &field)) continue;
    const Reflection& reflection = *holder->GetReflection();
    Slot& slot = slots[i];
    slot.present = true;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        slot.boolean = reflection.GetBool(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_INT32:
        slot.integer = reflection.GetInt32(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        slot.integer = reflection.GetInt64(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        slot.natural = reflection.GetUInt32(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        slot.natural = reflection.GetUInt64(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        slot.real = static_cast<double>(reflection.GetFloat(*holder, &field));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        slot.real = reflection.GetDouble(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        slot.integer = reflection.GetEnumValue(*holder, &field);
        break;
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string copy;
        const std::string* text = &reflection.GetStringReference(*holder, &field, &copy);
        if (text == &copy) text = &copies.emplace_back(std::move(copy));
        slot.data = text->data();
        slot.size = static_cast<std::uint32_t>(text->size());
        break;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
  }
}

ProjectedMessage::ProjectedMessage(std::shared_ptr<const WireProjection> projection,
                                   const Message& prototype)
    : projection_(std::move(projection)), slots_(projection_->size()), message_(prototype.New()) {}
ProjectedMessage::~ProjectedMessage() = default;
ProjectedMessage::ProjectedMessage(ProjectedMessage&&) noexcept = default;

bool ProjectedMessage::Read(std::string_view bytes) {
  bytes_ = bytes;
  parsed_ = false;
  if (projection_->Read(bytes, slots_.data())) return true;
  if (!message_->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  parsed_ = true;
  copies_.clear();
  projection_->ReadMessage(*message_, copies_, slots_.data());
  return true;
}

const Message& ProjectedMessage::message() {
  if (!parsed_) {
    // Read has accepted the bytes.
    message_->ParsePartialFromArray(bytes_.data(), static_cast<int>(bytes_.size()));
    parsed_ = true;
  }
  return *message_;
}

}  // namespace tocsin::schema
