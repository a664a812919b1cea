#include "lib/config/fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// "CorrelationType" → "correlation_type_"
std::string EnumPrefix(const EnumDescriptor& descriptor) {
  const std::string& name = descriptor.name();
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool upper = name[i] >= 'A' && name[i] <= 'Z';
    const bool after_lower = i > 0 && !(name[i - 1] >= 'A' && name[i - 1] <= 'Z');
    const bool before_lower = i + 1 < name.size() && name[i + 1] >= 'a' && name[i + 1] <= 'z';
    if (i > 0 && upper && (after_lower || before_lower)) out.push_back('_');
    out.push_back(name[i]);
  }
  out.push_back('_');
  return AsciiLower(out);
}

std::string Quote(std::string_view text) {
  constexpr std::size_t kShown = 64;
  return Concat("'", text.substr(0, kShown), text.size() > kShown ? "…'" : "'");
}

absl::Status Refuse(const FieldDescriptor& field, std::string_view text) {
  return InvalidArgument(
      Concat("'", field.name(), "' must be ", Expectation(field), ", not ", Quote(text)));
}

struct SizeUnit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<SizeUnit, 8> kSizeUnits = {{{"KiB", 1ULL << 10},
                                                 {"MiB", 1ULL << 20},
                                                 {"GiB", 1ULL << 30},
                                                 {"TiB", 1ULL << 40},
                                                 {"KB", 1'000},
                                                 {"MB", 1'000'000},
                                                 {"GB", 1'000'000'000},
                                                 {"B", 1}}};

// The digits of a size and its factor; the text itself with factor 1 when it has no unit.
std::pair<std::string_view, std::uint64_t> SplitSize(std::string_view text) {
  for (const SizeUnit& unit : kSizeUnits) {
    if (text.ends_with(unit.name)) {
      return {Trim(text.substr(0, text.size() - unit.name.size())), unit.factor};
    }
  }
  return {text, 1};
}

template <typename Integer>
absl::StatusOr<Integer> ReadInteger(const FieldDescriptor& field, std::string_view text) {
  std::string_view digits = text;
  std::uint64_t factor = 1;
  if (IsSize(field)) std::tie(digits, factor) = SplitSize(text);
  Integer number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = end == digits.data() + digits.size() && !digits.empty();
  bool negative = false;
  if constexpr (std::is_signed_v<Integer>) negative = number < 0;
  const bool digits_only =
      !digits.empty() &&
      digits.find_first_not_of("0123456789", digits[0] == '-') == std::string_view::npos;
  if (!digits_only || digits == "-") return Refuse(field, text);
  if (error != std::errc() || !whole || (negative && factor != 1) ||
      (factor != 1 &&
       static_cast<std::uint64_t>(number) >
           static_cast<std::uint64_t>(std::numeric_limits<Integer>::max()) / factor)) {
    return InvalidArgument(Concat("'", field.name(), "' is out of range: ", Quote(text),
                                  "; it takes ", std::numeric_limits<Integer>::min(), " to ",
                                  std::numeric_limits<Integer>::max()));
  }
  return static_cast<Integer>(static_cast<std::uint64_t>(number) * factor);
}

absl::StatusOr<double> ReadDouble(const FieldDescriptor& field, std::string_view text) {
  double number = 0;
  // SimpleAtod takes surrounding space, "inf" and "nan"; none of them is a number of a person's.
  if (text != Trim(text) || !absl::SimpleAtod(ToAbsl(text), &number) || !std::isfinite(number)) {
    return Refuse(field, text);
  }
  return number;
}

// seconds and nanos of a Duration or Timestamp, by reflection, so that a dynamic message works too.
void SetSecondsAndNanos(Message& message, std::int64_t micros) {
  std::int64_t seconds = micros / 1'000'000;
  std::int64_t rest = micros % 1'000'000;
  if (rest < 0) {
    --seconds;
    rest += 1'000'000;
  }
  const Reflection& reflection = *message.GetReflection();
  const Descriptor& descriptor = *message.GetDescriptor();
  reflection.SetInt64(&message, descriptor.FindFieldByNumber(1), seconds);
  reflection.SetInt32(&message, descriptor.FindFieldByNumber(2),
                      static_cast<std::int32_t>(rest * 1000));
}

absl::Status SetTime(Message& message, const FieldDescriptor& field, std::string_view text) {
  std::int64_t micros = 0;
  if (IsDuration(field)) {
    // The range that google.protobuf.Duration promises: about 10,000 years.
    constexpr std::int64_t kLongestSeconds = 315'576'000'000;
    const auto duration = ParseDuration(text);
    if (!duration.ok() || duration->count() / 1'000'000 > kLongestSeconds) {
      return Refuse(field, text);
    }
    micros = duration->count();
  } else {
    const auto time = ParseTime(text);
    if (!time.ok()) return Refuse(field, text);
    micros = time->time_since_epoch().count();
  }
  const Reflection& reflection = *message.GetReflection();
  Message* target = field.is_repeated() ? reflection.AddMessage(&message, &field)
                                        : reflection.MutableMessage(&message, &field);
  SetSecondsAndNanos(*target, micros);
  return absl::OkStatus();
}

const EnumValueDescriptor* FindEnumWord(const EnumDescriptor& descriptor, std::string_view text) {
  std::string word = AsciiLower(text);
  std::replace(word.begin(), word.end(), '-', '_');
  for (int i = 0; i < descriptor.value_count(); ++i) {
    const std::string known = EnumWord(*descriptor.value(i));
    if (!known.empty() && known == word) return descriptor.value(i);
  }
  return nullptr;
}

}  // namespace

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

bool IsTimestamp(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Timestamp";
}

bool IsScalar(const FieldDescriptor& field) {
  return field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || IsDuration(field) ||
         IsTimestamp(field);
}

bool IsSize(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return ToAbsl(field.name()).size() > 6 && std::string_view(field.name()).ends_with("_bytes");
    default:
      return false;
  }
}

std::string EnumWord(const EnumValueDescriptor& value) {
  std::string word = AsciiLower(value.name());
  const std::string prefix = EnumPrefix(*value.type());
  if (word.starts_with(prefix) && word.size() > prefix.size()) word.erase(0, prefix.size());
  if (value.number() == 0 && word.ends_with("unspecified")) return {};
  return word;
}

std::vector<std::string> EnumWords(const EnumDescriptor& descriptor) {
  std::vector<std::string> words;
  for (int i = 0; i < descriptor.value_count(); ++i) {
    std::string word = EnumWord(*descriptor.value(i));
    if (!word.empty()) words.push_back(std::move(word));
  }
  return words;
}

bool IsSecretName(std::string_view name) {
  const std::string lower = [&] {
    std::string text = AsciiLower(name);
    std::replace(text.begin(), text.end(), '-', '_');
    return text;
  }();
  for (const std::string_view harmless : {"_file", "_files", "_path", "_paths"}) {
    if (lower.ends_with(harmless)) return false;
  }
  for (const std::string_view secret :
       {"secret", "password", "passwd", "passphrase", "token", "credential", "private_key",
        "api_key", "signing_key", "authorization"}) {
    if (lower.find(secret) != std::string::npos) return true;
  }
  return false;
}

std::string Expectation(const FieldDescriptor& field) {
  if (IsDuration(field)) return "a duration such as 10s or 5m (units us, ms, s, m, h, d)";
  if (IsTimestamp(field)) return "a time such as 2016-01-15T13:24:00Z";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return IsSize(field) ? "a size such as 65536, 64KiB or 1MiB" : "a whole number";
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return Concat("one of ", Join(EnumWords(*field.enum_type()), ", "));
    case FieldDescriptor::CPPTYPE_STRING:
      return field.type() == FieldDescriptor::TYPE_BYTES ? "base64" : "text";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "keys and values";
  }
  return "a value";
}

absl::Status SetScalar(Message& message, const FieldDescriptor& field, std::string_view text) {
  const Reflection& reflection = *message.GetReflection();
  const bool add = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ReadInteger<std::int32_t>(field, text));
      add ? reflection.AddInt32(&message, &field, value)
          : reflection.SetInt32(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ReadInteger<std::int64_t>(field, text));
      add ? reflection.AddInt64(&message, &field, value)
          : reflection.SetInt64(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ReadInteger<std::uint32_t>(field, text));
      add ? reflection.AddUInt32(&message, &field, value)
          : reflection.SetUInt32(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ReadInteger<std::uint64_t>(field, text));
      add ? reflection.AddUInt64(&message, &field, value)
          : reflection.SetUInt64(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      TOCSIN_ASSIGN_OR_RETURN(const double value, ReadDouble(field, text));
      add ? reflection.AddDouble(&message, &field, value)
          : reflection.SetDouble(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      TOCSIN_ASSIGN_OR_RETURN(const double wide, ReadDouble(field, text));
      if (std::abs(wide) > static_cast<double>(std::numeric_limits<float>::max())) {
        return Refuse(field, text);
      }
      const auto value = static_cast<float>(wide);
      add ? reflection.AddFloat(&message, &field, value)
          : reflection.SetFloat(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      if (text != "true" && text != "false") return Refuse(field, text);
      const bool value = text == "true";
      add ? reflection.AddBool(&message, &field, value)
          : reflection.SetBool(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* value = FindEnumWord(*field.enum_type(), text);
      if (value == nullptr) return Refuse(field, text);
      add ? reflection.AddEnum(&message, &field, value)
          : reflection.SetEnum(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value(text);
      if (field.type() == FieldDescriptor::TYPE_BYTES &&
          !absl::Base64Unescape(ToAbsl(text), &value)) {
        return Refuse(field, text);
      }
      add ? reflection.AddString(&message, &field, std::move(value))
          : reflection.SetString(&message, &field, std::move(value));
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SetTime(message, field, text);
  }
  return Internal("a field of a type that Protobuf does not have");
}

}  // namespace tocsin::config
