#include "lib/cel/message_reader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <utility>

#include "lib/cel/limits.h"

namespace tocsin::cel {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

const Message& MessageOf(MessageHandle handle) {
  return *static_cast<const Message*>(handle.object);
}

Value TextValue(const FieldDescriptor& field, const std::string& text, const std::string& copy,
                Scratch& scratch) {
  const Value::Kind kind =
      field.type() == FieldDescriptor::TYPE_BYTES ? Value::Kind::kBytes : Value::Kind::kString;
  if (&text != &copy) return Value::Text(kind, text);
  // Reflection had to make a copy; it lives no longer than this call.
  const std::string* kept = scratch.Keep(copy);
  return kept == nullptr ? Value::Error("the message's text is too large to work on", 0)
                         : Value::Text(kind, *kept);
}

Value MessageValue(const Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  const std::string& name = type.full_name();
  const bool timestamp = name == "google.protobuf.Timestamp";
  if (!timestamp && name != "google.protobuf.Duration") {
    return Value::Message(HandleOf(message));
  }
  const Reflection& reflection = *message.GetReflection();
  return TimeValue(timestamp, reflection.GetInt64(message, type.FindFieldByNumber(1)),
                   reflection.GetInt32(message, type.FindFieldByNumber(2)));
}

class Reflective final : public MessageReader {
 public:
  Value Read(MessageHandle handle, const FieldDescriptor& field, Scratch& scratch) const override {
    if (field.is_map()) return Value::Field(Value::Kind::kFieldMap, handle, &field);
    if (field.is_repeated()) return Value::Field(Value::Kind::kFieldList, handle, &field);
    const Message& message = MessageOf(handle);
    const Reflection& reflection = *message.GetReflection();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        return Value::Bool(reflection.GetBool(message, &field));
      case FieldDescriptor::CPPTYPE_INT32:
        return Value::Int(reflection.GetInt32(message, &field));
      case FieldDescriptor::CPPTYPE_INT64:
        return Value::Int(reflection.GetInt64(message, &field));
      case FieldDescriptor::CPPTYPE_UINT32:
        return Value::Uint(reflection.GetUInt32(message, &field));
      case FieldDescriptor::CPPTYPE_UINT64:
        return Value::Uint(reflection.GetUInt64(message, &field));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return Value::Double(static_cast<double>(reflection.GetFloat(message, &field)));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Value::Double(reflection.GetDouble(message, &field));
      case FieldDescriptor::CPPTYPE_ENUM:
        return Value::Int(reflection.GetEnumValue(message, &field));
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string copy;
        const std::string& text = reflection.GetStringReference(message, &field, &copy);
        return TextValue(field, text, copy, scratch);
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return MessageValue(reflection.GetMessage(message, &field));
    }
    return Value::Null();
  }

  bool Has(MessageHandle handle, const FieldDescriptor& field) const override {
    const Message& message = MessageOf(handle);
    const Reflection& reflection = *message.GetReflection();
    return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                               : reflection.HasField(message, &field);
  }

  std::size_t Size(const Value& container) const override {
    const Message& message = MessageOf(container.handle());
    return static_cast<std::size_t>(message.GetReflection()->FieldSize(message, container.field));
  }

  Value Element(const Value& list, std::size_t position, Scratch& scratch) const override {
    const Message& message = MessageOf(list.handle());
    const Reflection& reflection = *message.GetReflection();
    const FieldDescriptor& field = *list.field;
    const int index = static_cast<int>(position);
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        return Value::Bool(reflection.GetRepeatedBool(message, &field, index));
      case FieldDescriptor::CPPTYPE_INT32:
        return Value::Int(reflection.GetRepeatedInt32(message, &field, index));
      case FieldDescriptor::CPPTYPE_INT64:
        return Value::Int(reflection.GetRepeatedInt64(message, &field, index));
      case FieldDescriptor::CPPTYPE_UINT32:
        return Value::Uint(reflection.GetRepeatedUInt32(message, &field, index));
      case FieldDescriptor::CPPTYPE_UINT64:
        return Value::Uint(reflection.GetRepeatedUInt64(message, &field, index));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return Value::Double(
            static_cast<double>(reflection.GetRepeatedFloat(message, &field, index)));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Value::Double(reflection.GetRepeatedDouble(message, &field, index));
      case FieldDescriptor::CPPTYPE_ENUM:
        return Value::Int(reflection.GetRepeatedEnumValue(message, &field, index));
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string copy;
        const std::string& text =
            reflection.GetRepeatedStringReference(message, &field, index, &copy);
        return TextValue(field, text, copy, scratch);
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return MessageValue(reflection.GetRepeatedMessage(message, &field, index));
    }
    return Value::Null();
  }

  std::optional<Value> Find(const Value& map, const Value& key, Scratch& scratch) const override {
    const Message& message = MessageOf(map.handle());
    const Reflection& reflection = *message.GetReflection();
    const FieldDescriptor& key_field = *map.field->message_type()->map_key();
    const FieldDescriptor& value_field = *map.field->message_type()->map_value();
    // Reflection offers a map's entries as a list only. A key given twice on the wire is one entry
    // here: parsing has kept the last.
    const int size = reflection.FieldSize(message, map.field);
    for (int i = 0; i < size; ++i) {
      const Message& entry = reflection.GetRepeatedMessage(message, map.field, i);
      if (KeyEquals(entry, key_field, key)) return Read(HandleOf(entry), value_field, scratch);
    }
    return std::nullopt;
  }

 private:
  static bool KeyEquals(const Message& entry, const FieldDescriptor& field, const Value& key) {
    const Reflection& reflection = *entry.GetReflection();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        return reflection.GetBool(entry, &field) == key.boolean;
      case FieldDescriptor::CPPTYPE_INT32:
        return reflection.GetInt32(entry, &field) == key.integer;
      case FieldDescriptor::CPPTYPE_INT64:
        return reflection.GetInt64(entry, &field) == key.integer;
      case FieldDescriptor::CPPTYPE_UINT32:
        return reflection.GetUInt32(entry, &field) == key.natural;
      case FieldDescriptor::CPPTYPE_UINT64:
        return reflection.GetUInt64(entry, &field) == key.natural;
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string copy;
        return reflection.GetStringReference(entry, &field, &copy) == key.text();
      }
      default:
        // Protobuf has no maps with other keys.
        return false;
    }
  }
};

}  // namespace

const std::string* Scratch::Keep(std::string text) {
  bytes_ += text.size();
  if (bytes_ > kMaxMadeBytes) return nullptr;
  return texts_.emplace_back(std::make_unique<std::string>(std::move(text))).get();
}

const std::vector<Value>* Scratch::Keep(std::vector<Value> elements) {
  elements_ += elements.size();
  if (elements_ > kMaxMadeElements) return nullptr;
  return lists_.emplace_back(std::make_unique<std::vector<Value>>(std::move(elements))).get();
}

const MessageReader& ReflectionReader() {
  static const Reflective reader;
  return reader;
}

MessageHandle HandleOf(const Message& message) { return {&message}; }

Value TimeValue(bool timestamp, std::int64_t seconds, std::int64_t nanos) {
  if (timestamp) {
    // 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, as the type promises.
    if (seconds < -62'135'596'800 || seconds > 253'402'300'799 || nanos < 0 ||
        nanos > 999'999'999) {
      return Value::Error("the timestamp is not valid", 0);
    }
    return Value::Time(Value::Kind::kTimestamp, seconds, nanos);
  }
  if (seconds < -315'576'000'000 || seconds > 315'576'000'000 || nanos < -999'999'999 ||
      nanos > 999'999'999) {
    return Value::Error("the duration is not valid", 0);
  }
  if (nanos < 0) {
    --seconds;
    nanos += 1'000'000'000;
  }
  return Value::Time(Value::Kind::kDuration, seconds, nanos);
}

}  // namespace tocsin::cel
