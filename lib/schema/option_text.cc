// Options, default values and literals.
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "lib/base/text.h"
#include "lib/schema/schema_text.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

namespace {

template <typename Number>
std::string FloatText(Number value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  // The shortest text that reads as the same value.
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string text(buffer.data(), result.ptr);
  // Digits alone are read as an integer, which takes 64 bits at most.
  constexpr std::size_t kSafeDigits = 15;
  if (text.size() > kSafeDigits && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// An option takes no inf, but a number beyond the range of double is read as one.
template <typename Number>
std::string OptionFloatText(Number value) {
  if (std::isinf(value)) return value < 0 ? "-1e999" : "1e999";
  return FloatText(value);
}

// Ends where it is full: the printer stops there.
class BoundedStream final : public pb::io::ZeroCopyOutputStream {
 public:
  BoundedStream(std::string* text, std::size_t max_bytes) : stream_(text), max_bytes_(max_bytes) {}
  bool Next(void** data, int* size) override {
    return stream_.ByteCount() <= static_cast<std::int64_t>(max_bytes_) && stream_.Next(data, size);
  }
  void BackUp(int count) override { stream_.BackUp(count); }
  std::int64_t ByteCount() const override { return stream_.ByteCount(); }

 private:
  pb::io::StringOutputStream stream_;
  const std::size_t max_bytes_;
};

// Longer than `max_bytes`, if only a little, where the message is.
std::string MessageText(const pb::Message& message, std::size_t max_bytes) {
  pb::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  {
    BoundedStream stream(&text, max_bytes);
    printer.Print(message, &stream);
  }
  return Concat("{ ", text, text.empty() || text.back() == ' ' ? "}" : " }");
}

// `index` < 0: the field is not repeated.
std::string ValueText(const pb::Message& message, const pb::FieldDescriptor& field, int index,
                      std::size_t max_bytes) {
  const pb::Reflection& reflection = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
      return Concat(one ? reflection.GetInt32(message, &field)
                        : reflection.GetRepeatedInt32(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_INT64:
      return Concat(one ? reflection.GetInt64(message, &field)
                        : reflection.GetRepeatedInt64(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      return Concat(one ? reflection.GetUInt32(message, &field)
                        : reflection.GetRepeatedUInt32(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      return Concat(one ? reflection.GetUInt64(message, &field)
                        : reflection.GetRepeatedUInt64(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      return OptionFloatText(one ? reflection.GetDouble(message, &field)
                                 : reflection.GetRepeatedDouble(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      return OptionFloatText(one ? reflection.GetFloat(message, &field)
                                 : reflection.GetRepeatedFloat(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return Concat(one ? reflection.GetBool(message, &field)
                        : reflection.GetRepeatedBool(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_ENUM: {
      const pb::EnumValueDescriptor* value =
          one ? reflection.GetEnum(message, &field)
              : reflection.GetRepeatedEnum(message, &field, index);
      return value->name();
    }
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return QuotedText(one ? reflection.GetString(message, &field)
                            : reflection.GetRepeatedString(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageText(one ? reflection.GetMessage(message, &field)
                             : reflection.GetRepeatedMessage(message, &field, index),
                         max_bytes);
  }
  return {};
}

}  // namespace

std::string QuotedText(std::string_view bytes) {
  std::string text = "\"";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text.push_back('\\');
      text.push_back(c);
    } else if (c == '\n') {
      text += "\\n";
    } else if (byte >= 0x20 && byte < 0x7f) {
      text.push_back(c);
    } else {
      // All three digits, so that one that follows is not taken for a part of it.
      text.push_back('\\');
      for (const int shift : {6, 3, 0})
        text.push_back(static_cast<char>('0' + (byte >> shift & 7)));
    }
  }
  text.push_back('"');
  return text;
}

std::string DefaultJsonName(std::string_view field_name) {
  std::string camel;
  bool upper = false;
  for (const char c : field_name) {
    if (c == '_') {
      upper = true;
    } else {
      camel.push_back(upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
      upper = false;
    }
  }
  return camel;
}

std::string DefaultValueText(const pb::FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
      return Concat(field.default_value_int32());
    case pb::FieldDescriptor::CPPTYPE_INT64:
      return Concat(field.default_value_int64());
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      return Concat(field.default_value_uint32());
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      return Concat(field.default_value_uint64());
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      return FloatText(field.default_value_double());
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      return FloatText(field.default_value_float());
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return Concat(field.default_value_bool());
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return field.default_value_enum()->name();
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return QuotedText(field.default_value_string());
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return {};
}

// Custom options are extensions that the program does not know: the options are read again with the
// schema's own descriptors.
std::optional<std::vector<OptionText>> OptionTexts(const pb::Message& options,
                                                   const pb::DescriptorPool& pool,
                                                   pb::DynamicMessageFactory& factory,
                                                   std::size_t max_bytes) {
  std::vector<OptionText> texts;
  if (options.ByteSizeLong() == 0) return texts;
  const pb::Message* message = &options;
  std::unique_ptr<pb::Message> again;
  if (const pb::Descriptor* type =
          pool.FindMessageTypeByName(options.GetDescriptor()->full_name())) {
    again.reset(factory.GetPrototype(type)->New());
    const std::string bytes = options.SerializePartialAsString();
    pb::io::CodedInputStream stream(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                    static_cast<int>(bytes.size()));
    // The type may be of the pool beneath, which does not know the extensions of this one.
    stream.SetExtensionRegistry(&pool, &factory);
    if (again->MergePartialFromCodedStream(&stream)) message = again.get();
  }
  std::vector<const pb::FieldDescriptor*> fields;
  message->GetReflection()->ListFields(*message, &fields);
  std::size_t bytes = 0;
  for (const pb::FieldDescriptor* field : fields) {
    const std::string name =
        field->is_extension() ? Concat("(.", field->full_name(), ")") : field->name();
    const bool repeated = field->is_repeated();
    const int count = repeated ? message->GetReflection()->FieldSize(*message, field) : 1;
    for (int i = 0; i < count; ++i) {
      std::string value = ValueText(*message, *field, repeated ? i : -1, max_bytes - bytes);
      bytes += name.size() + value.size();
      if (bytes > max_bytes) return std::nullopt;
      texts.emplace_back(name, std::move(value));
    }
  }
  return texts;
}

}  // namespace tocsin::schema
