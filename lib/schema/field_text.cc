// Fields in words.
#include <algorithm>

#include "lib/base/text.h"
#include "lib/schema/comparison.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

bool LabelIsWritten(const pb::FieldDescriptor& field) {
  return field.is_repeated() || field.has_optional_keyword() || field.is_required();
}

std::string_view LabelText(const pb::FieldDescriptor& field) {
  if (field.is_repeated()) return "repeated";
  return field.is_required() ? "required" : "optional";
}

std::string TypeInText(const pb::FieldDescriptor& field) {
  if (field.is_map()) {
    const pb::Descriptor& entry = *field.message_type();
    return Concat("map<", TypeInText(*entry.map_key()), ", ", TypeInText(*entry.map_value()), ">");
  }
  if (field.type() == pb::FieldDescriptor::TYPE_ENUM) return field.enum_type()->full_name();
  if (field.type() == pb::FieldDescriptor::TYPE_GROUP) return "group";
  if (field.type() == pb::FieldDescriptor::TYPE_MESSAGE) return field.message_type()->full_name();
  return field.type_name();
}

std::string FieldText(const pb::FieldDescriptor& field) {
  return Concat(field.name(), " (number ", field.number(), ")");
}

std::string TypeText(const pb::FieldDescriptor& field) {
  if (field.is_map()) {
    const pb::Descriptor& entry = *field.message_type();
    return Concat("map<", TypeText(*entry.map_key()), ", ", TypeText(*entry.map_value()), ">");
  }
  if (field.type() == pb::FieldDescriptor::TYPE_ENUM) {
    return Concat("enum ", field.enum_type()->full_name());
  }
  if (field.cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE) {
    return Concat(field.type() == pb::FieldDescriptor::TYPE_GROUP ? "group " : "message ",
                  field.message_type()->full_name());
  }
  return field.type_name();
}

std::string DeclarationText(const pb::FieldDescriptor& field) {
  const std::string label =
      field.is_map() || !LabelIsWritten(field) ? std::string() : Concat(LabelText(field), " ");
  return Concat(label, TypeInText(field), " ", field.name(), " = ", field.number(), ";");
}

std::string DefaultText(const pb::FieldDescriptor& field) {
  if (field.is_map()) return Concat(field.name(), " as an empty map");
  if (field.is_repeated()) return Concat(field.name(), " as an empty list");
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      return Concat(field.name(), " not set");
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return Concat(field.name(), " = ", field.default_value_enum()->name(), " (the default)");
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return Concat(field.name(), " = ", field.default_value_bool(), " (the default)");
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return Concat(field.name(), field.default_value_string().empty() ? " = \"\"" : " = its",
                    field.default_value_string().empty() ? " (the default)" : " default");
    default:
      return Concat(field.name(),
                    field.has_default_value() ? " = its default" : " = 0 (the default)");
  }
}

int FreeNumber(const pb::Descriptor& one, const pb::Descriptor& other) {
  int highest = 0;
  for (const pb::Descriptor* message : {&one, &other}) {
    for (int i = 0; i < message->field_count(); ++i) {
      highest = std::max(highest, message->field(i)->number());
    }
    for (int i = 0; i < message->reserved_range_count(); ++i) {
      highest = std::max(highest, message->reserved_range(i)->end - 1);
    }
    for (int i = 0; i < message->extension_range_count(); ++i) {
      highest = std::max(highest, message->extension_range(i)->end - 1);
    }
  }
  if (highest + 1 >= pb::FieldDescriptor::kFirstReservedNumber &&
      highest < pb::FieldDescriptor::kLastReservedNumber) {
    highest = pb::FieldDescriptor::kLastReservedNumber;
  }
  // Everything up to the end is taken: whoever reserved that knows which number is free.
  return highest >= pb::FieldDescriptor::kMaxNumber ? 0 : highest + 1;
}

}  // namespace tocsin::schema
