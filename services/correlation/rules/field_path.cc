#include "services/correlation/rules/field_path.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <array>
#include <charconv>
#include <cmath>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;

std::vector<std::string> FieldNames(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) names.push_back(message.field(i)->name());
  return names;
}

std::string Listed(std::vector<std::string> names) {
  constexpr std::size_t kListed = 20;
  if (names.size() <= kListed) return Join(names, ", ");
  names.resize(kListed);
  return Concat(Join(names, ", "), ", …");
}

}  // namespace

absl::StatusOr<FieldPath> FieldPath::ResolveSteps(std::string_view path,
                                                  const Descriptor& message) {
  FieldPath resolved;
  const Descriptor* scope = &message;
  const std::vector<std::string> names = Split(path, '.');
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    const FieldDescriptor* field = scope->FindFieldByName(name);
    if (field == nullptr) {
      const std::vector<std::string> known = FieldNames(*scope);
      const std::string nearest = NearestName(name, known);
      return InvalidArgument(Concat("unknown field '", name, "' in ", scope->full_name(),
                                    nearest.empty() ? Concat("; its fields: ", Listed(known))
                                                    : Concat("; did you mean '", nearest, "'?")));
    }
    if (field->is_repeated()) {
      return InvalidArgument(Concat("'", path, "' is a ", field->is_map() ? "map" : "list",
                                    ": it has no single value"));
    }
    resolved.steps_.push_back(field);
    const bool last = i + 1 == names.size();
    const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (!last && !nested) {
      return InvalidArgument(Concat("'", name, "' is no message: there is nothing below it"));
    }
    if (nested) scope = field->message_type();
    if (last && nested) {
      return InvalidArgument(Concat("'", path, "' is a message (", scope->full_name(),
                                    "); name one of its fields: ", Listed(FieldNames(*scope))));
    }
  }
  return resolved;
}

absl::StatusOr<FieldPath> FieldPath::Resolve(std::string_view path, const Descriptor& message) {
  absl::StatusOr<FieldPath> resolved = ResolveSteps(path, message);
  if (!resolved.ok()) return resolved;
  const auto type = resolved->steps_.back()->cpp_type();
  if (type == FieldDescriptor::CPPTYPE_FLOAT || type == FieldDescriptor::CPPTYPE_DOUBLE) {
    return InvalidArgument(Concat("'", path,
                                  "' is a floating-point number: equal quantities may differ in "
                                  "their last bits; use a text or a whole number"));
  }
  return resolved;
}

absl::StatusOr<FieldPath> FieldPath::ResolveNumber(std::string_view path,
                                                   const Descriptor& message) {
  absl::StatusOr<FieldPath> resolved = ResolveSteps(path, message);
  if (!resolved.ok()) return resolved;
  const auto type = resolved->steps_.back()->cpp_type();
  if (!resolved->whole() && type != FieldDescriptor::CPPTYPE_FLOAT &&
      type != FieldDescriptor::CPPTYPE_DOUBLE) {
    return InvalidArgument(Concat("'", path, "' is no number (",
                                  resolved->steps_.back()->type_name(),
                                  "): nothing can be computed with it"));
  }
  return resolved;
}

absl::StatusOr<FieldPath> FieldPath::ResolveAny(std::string_view path, const Descriptor& message) {
  return ResolveSteps(path, message);
}

bool FieldPath::whole() const {
  switch (steps_.back()->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return true;
    default:
      return false;
  }
}

const google::protobuf::Message* FieldPath::Holder(const google::protobuf::Message& message) const {
  const google::protobuf::Message* holder = &message;
  for (std::size_t i = 0; i + 1 < steps_.size(); ++i) {
    const Reflection& reflection = *holder->GetReflection();
    if (!reflection.HasField(*holder, steps_[i])) return nullptr;
    holder = &reflection.GetMessage(*holder, steps_[i]);
  }
  const FieldDescriptor& field = *steps_.back();
  if (field.has_presence() && !holder->GetReflection()->HasField(*holder, &field)) return nullptr;
  return holder;
}

aggregate::Value FieldPath::Number(const google::protobuf::Message& message) const {
  const google::protobuf::Message* holder = Holder(message);
  if (holder == nullptr) return {};
  const FieldDescriptor& field = *steps_.back();
  const Reflection& reflection = *holder->GetReflection();
  const auto finite = [](double number) {
    return std::isfinite(number) ? aggregate::Value(number) : aggregate::Value();
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::int64_t{reflection.GetInt32(*holder, &field)};
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetInt64(*holder, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::int64_t{reflection.GetUInt32(*holder, &field)};
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.GetUInt64(*holder, &field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return finite(reflection.GetFloat(*holder, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return finite(reflection.GetDouble(*holder, &field));
    default:
      return {};
  }
}

std::optional<std::string> FieldPath::Text(const google::protobuf::Message& message) const {
  const google::protobuf::Message* holder = Holder(message);
  if (holder == nullptr) return std::nullopt;
  const FieldDescriptor& field = *steps_.back();
  const Reflection& reflection = *holder->GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value = reflection.GetString(*holder, &field);
      if (value.empty()) return std::nullopt;
      return field.type() == FieldDescriptor::TYPE_BYTES ? HexEncode(value) : value;
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = reflection.GetEnumValue(*holder, &field);
      if (number == 0) return std::nullopt;
      const auto* value = field.enum_type()->FindValueByNumber(number);
      return value == nullptr ? std::to_string(number) : value->name();
    }
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(reflection.GetInt32(*holder, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(reflection.GetInt64(*holder, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(reflection.GetUInt32(*holder, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(reflection.GetUInt64(*holder, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(*holder, &field) ? "true" : "false";
    default:
      // Resolve lets no other type pass.
      return std::nullopt;
  }
}

std::vector<schema::FieldPath> FieldPath::Paths() const {
  std::vector<schema::FieldPath> paths;
  for (std::size_t length = 1; length <= steps_.size(); ++length) {
    paths.emplace_back(steps_.begin(), steps_.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return paths;
}

bool FieldPath::AppendText(const schema::FieldView& fields, std::size_t first, bool escaped,
                           std::string& out) const {
  for (std::size_t i = 0; i + 1 < steps_.size(); ++i) {
    if (!fields[first + i].present) return false;
  }
  const FieldDescriptor& field = *steps_.back();
  const schema::Slot& slot = fields[first + steps_.size() - 1];
  if (field.has_presence() && !slot.present) return false;
  const auto append_number = [&out](auto number) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
    out.append(text.data(), end);
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (slot.size == 0) return false;
      if (field.type() == FieldDescriptor::TYPE_BYTES) {
        out += HexEncode(slot.text());
      } else if (escaped) {
        for (const char c : slot.text()) {
          if (c == '|' || c == '\\') out += '\\';
          out += c;
        }
      } else {
        out += slot.text();
      }
      return true;
    case FieldDescriptor::CPPTYPE_ENUM: {
      if (slot.integer == 0) return false;
      const auto* value = field.enum_type()->FindValueByNumber(static_cast<int>(slot.integer));
      if (value == nullptr) {
        append_number(slot.integer);
      } else {
        out += value->name();
      }
      return true;
    }
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      append_number(slot.integer);
      return true;
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      append_number(slot.natural);
      return true;
    case FieldDescriptor::CPPTYPE_BOOL:
      out += slot.boolean ? "true" : "false";
      return true;
    case FieldDescriptor::CPPTYPE_FLOAT:
      append_number(static_cast<float>(slot.real));
      return true;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      append_number(slot.real);
      return true;
    default:
      // Resolve lets no other type pass.
      return false;
  }
}

}  // namespace tocsin::correlation
