#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>

#include "absl/strings/escaping.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/config/config.h"
#include "lib/config/fields.h"

namespace tocsin::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view kRedacted = "\"[redacted]\"";

// May the text stand without quotes and still be read as the same text?
bool IsPlain(std::string_view text) {
  if (text.empty()) return false;
  const char first = text.front();
  const bool letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
  if (!letter && first != '/' && first != '_') return false;
  for (const char c : text) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.' || c == '/';
    if (!ok) return false;
  }
  for (const std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n",
                                      "True", "False", "Null", "Yes", "No", "On", "Off", "Y", "N",
                                      "TRUE", "FALSE", "NULL", "YES", "NO", "ON", "OFF"}) {
    if (text == word) return false;
  }
  return true;
}

std::string Quoted(std::string_view text) {
  if (IsPlain(text)) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      std::array<char, 8> hex{};
      std::snprintf(hex.data(), hex.size(), "\\x%02x", byte);
      out += hex.data();
    } else {
      out += c;
    }
  }
  out += '"';
  return out;
}

// postgres://user:password@host/db → postgres://[redacted]@host/db
std::string WithoutUserInfo(std::string text) {
  std::size_t from = 0;
  while (true) {
    const std::size_t scheme = text.find("://", from);
    if (scheme == std::string::npos) return text;
    const std::size_t begin = scheme + 3;
    const std::size_t end = text.find_first_of("/?# \n\t", begin);
    const std::size_t at = text.rfind('@', end == std::string::npos ? end : end - 1);
    if (at != std::string::npos && at >= begin && end != begin) {
      text.replace(begin, at - begin, "[redacted]");
    }
    from = begin;
  }
}

std::string Number(double value) {
  std::array<char, 64> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end);
}

std::string Number(float value) {
  std::array<char, 64> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end);
}

template <typename Integer>
std::string Integral(const FieldDescriptor& field, Integer value) {
  if (IsSize(field) && value > 0) {
    struct Unit {
      std::string_view name;
      int shift = 0;
    };
    constexpr std::array<Unit, 3> kUnits = {{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}};
    for (const Unit& unit : kUnits) {
      const auto wide = static_cast<std::uint64_t>(value);
      if (wide % (1ULL << unit.shift) == 0) return Concat(wide >> unit.shift, unit.name);
    }
  }
  return std::to_string(value);
}

std::string TimeText(const FieldDescriptor& field, const Message& value) {
  const Descriptor& type = *value.GetDescriptor();
  const std::int64_t seconds = value.GetReflection()->GetInt64(value, type.FindFieldByNumber(1));
  const std::int32_t nanos = value.GetReflection()->GetInt32(value, type.FindFieldByNumber(2));
  const auto micros = std::chrono::seconds(seconds) + std::chrono::microseconds(nanos / 1000);
  return IsDuration(field) ? FormatDuration(micros) : Quoted(FormatTime(WallTime(micros)));
}

// One scalar; `index` -1 for a singular field.
std::string ScalarText(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return Integral(
          field, one ? r.GetInt32(message, &field) : r.GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return Integral(
          field, one ? r.GetInt64(message, &field) : r.GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return Integral(
          field, one ? r.GetUInt32(message, &field) : r.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return Integral(
          field, one ? r.GetUInt64(message, &field) : r.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(one ? r.GetDouble(message, &field)
                        : r.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Number(one ? r.GetFloat(message, &field) : r.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number =
          one ? r.GetEnumValue(message, &field) : r.GetRepeatedEnumValue(message, &field, index);
      const auto* value = field.enum_type()->FindValueByNumber(number);
      std::string word = value == nullptr ? std::string() : EnumWord(*value);
      return word.empty() ? std::to_string(number) : word;
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value =
          one ? r.GetString(message, &field) : r.GetRepeatedString(message, &field, index);
      if (field.type() == FieldDescriptor::TYPE_BYTES) {
        return Quoted(absl::Base64Escape(ToAbsl(value)));
      }
      return Quoted(WithoutUserInfo(std::move(value)));
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return TimeText(field, one ? r.GetMessage(message, &field)
                                 : r.GetRepeatedMessage(message, &field, index));
  }
  return {};
}

bool IsText(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
}

void DumpMessage(const Message& message, const std::string& indent, bool secret, std::string& out);

// `secret`: the name of the field, of an enclosing one or of the map key says so.
void DumpField(const Message& message, const FieldDescriptor& field, const std::string& name,
               const std::string& indent, bool secret, std::string& out) {
  const Reflection& r = *message.GetReflection();
  out += Concat(indent, name, ":");
  const std::string inner = indent + "  ";
  if (field.is_map()) {
    out += '\n';
    const FieldDescriptor& key = *field.message_type()->map_key();
    const FieldDescriptor& value = *field.message_type()->map_value();
    std::map<std::string, const Message*> entries;
    for (int i = 0; i < r.FieldSize(message, &field); ++i) {
      const Message& entry = r.GetRepeatedMessage(message, &field, i);
      entries.emplace(ScalarText(entry, key, -1), &entry);
    }
    for (const auto& [text, entry] : entries) {
      DumpField(*entry, value, text, inner, secret || IsSecretName(text), out);
    }
    return;
  }
  if (field.is_repeated()) {
    out += '\n';
    for (int i = 0; i < r.FieldSize(message, &field); ++i) {
      if (IsScalar(field)) {
        out += Concat(
            inner, "- ",
            secret && IsText(field) ? std::string(kRedacted) : ScalarText(message, field, i), "\n");
        continue;
      }
      std::string element;
      DumpMessage(r.GetRepeatedMessage(message, &field, i), inner + "  ", secret, element);
      if (element.empty()) {
        out += Concat(inner, "- {}\n");
      } else {
        element.replace(0, inner.size() + 2, inner + "- ");
        out += element;
      }
    }
    return;
  }
  if (IsScalar(field)) {
    out += Concat(" ",
                  secret && IsText(field) ? std::string(kRedacted) : ScalarText(message, field, -1),
                  "\n");
    return;
  }
  std::string element;
  DumpMessage(r.GetMessage(message, &field), inner, secret, element);
  out += element.empty() ? std::string(" {}\n") : "\n" + element;
}

void DumpMessage(const Message& message, const std::string& indent, bool secret, std::string& out) {
  const Reflection& r = *message.GetReflection();
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const bool set =
        field.is_repeated() ? r.FieldSize(message, &field) > 0 : r.HasField(message, &field);
    if (!set) continue;
    DumpField(message, field, field.name(), indent, secret || IsSecretName(field.name()), out);
  }
}

}  // namespace

std::string Dump(const Message& message) {
  std::string out;
  DumpMessage(message, "", false, out);
  return out.empty() ? "{}\n" : out;
}

}  // namespace tocsin::config
