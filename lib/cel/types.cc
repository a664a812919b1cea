#include "lib/cel/types.h"

#include <google/protobuf/descriptor.h>

#include "lib/base/text.h"

namespace tocsin::cel {

using google::protobuf::FieldDescriptor;

bool Same(const Type& a, const Type& b) {
  if (a.kind == TypeKind::kAny || b.kind == TypeKind::kAny) return true;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case TypeKind::kMessage:
      return a.message == b.message;
    case TypeKind::kList:
      return Same(*a.element, *b.element);
    case TypeKind::kMap:
      return Same(*a.key, *b.key) && Same(*a.element, *b.element);
    default:
      return true;
  }
}

std::string TypeText(const Type& type) {
  switch (type.kind) {
    case TypeKind::kAny:
      return "anything";
    case TypeKind::kNull:
      return "null";
    case TypeKind::kBool:
      return "bool";
    case TypeKind::kInt:
      return type.enumeration == nullptr ? "int"
                                         : Concat("int (enum ", type.enumeration->name(), ")");
    case TypeKind::kUint:
      return "uint";
    case TypeKind::kDouble:
      return "double";
    case TypeKind::kString:
      return "string";
    case TypeKind::kBytes:
      return "bytes";
    case TypeKind::kTimestamp:
      return "timestamp";
    case TypeKind::kDuration:
      return "duration";
    case TypeKind::kMessage:
      return Concat("message ", type.message->full_name());
    case TypeKind::kList:
      return Concat("list(", TypeText(*type.element), ")");
    case TypeKind::kMap:
      return Concat("map(", TypeText(*type.key), ", ", TypeText(*type.element), ")");
  }
  return "unknown";
}

const Type* Types::Keep(Type type) { return &types_.emplace_back(type); }

const Type* Types::Basic(TypeKind kind) {
  Type type;
  type.kind = kind;
  return Keep(type);
}

const Type* Types::List(const Type* element) {
  Type type;
  type.kind = TypeKind::kList;
  type.element = element;
  return Keep(type);
}

const Type* Types::Merge(const Type* a, const Type* b) {
  if (a->kind == TypeKind::kAny) return b;
  if (a->kind == TypeKind::kList && b->kind == TypeKind::kList) {
    return List(Merge(a->element, b->element));
  }
  return a;
}

const Type* Types::OfField(const FieldDescriptor& field, std::string& reason) {
  if (field.is_map()) {
    Type type;
    type.kind = TypeKind::kMap;
    type.key = Element(*field.message_type()->map_key(), reason);
    type.element = Element(*field.message_type()->map_value(), reason);
    return type.key == nullptr || type.element == nullptr ? nullptr : Keep(type);
  }
  const Type* element = Element(field, reason);
  return element == nullptr || !field.is_repeated() ? element : List(element);
}

const Type* Types::Element(const FieldDescriptor& field, std::string& reason) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return Basic(TypeKind::kBool);
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return Basic(TypeKind::kInt);
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return Basic(TypeKind::kUint);
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Basic(TypeKind::kDouble);
    case FieldDescriptor::CPPTYPE_STRING:
      return Basic(field.type() == FieldDescriptor::TYPE_BYTES ? TypeKind::kBytes
                                                               : TypeKind::kString);
    case FieldDescriptor::CPPTYPE_ENUM: {
      Type type;
      type.kind = TypeKind::kInt;
      type.enumeration = field.enum_type();
      return Keep(type);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  const std::string& name = field.message_type()->full_name();
  if (name == "google.protobuf.Timestamp") return Basic(TypeKind::kTimestamp);
  if (name == "google.protobuf.Duration") return Basic(TypeKind::kDuration);
  // CEL gives these a meaning of their own (null, dynamic types): reading them as plain messages
  // would change what an expression means once the language reads them properly.
  if (name == "google.protobuf.Any" || name == "google.protobuf.Struct" ||
      name == "google.protobuf.Value" || name == "google.protobuf.ListValue" ||
      (name.starts_with("google.protobuf.") && name.ends_with("Value"))) {
    reason = Concat("the field '", field.name(), "' has the type ", name,
                    ", which expressions do not read");
    return nullptr;
  }
  Type type;
  type.kind = TypeKind::kMessage;
  type.message = field.message_type();
  return Keep(type);
}

}  // namespace tocsin::cel
