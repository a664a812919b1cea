// The static types of expressions.
#pragma once

#include <deque>
#include <string>

namespace google::protobuf {
class Descriptor;
class EnumDescriptor;
class FieldDescriptor;
}  // namespace google::protobuf

namespace tocsin::cel {

enum class TypeKind {
  // The elements of an empty list: fits everything.
  kAny,
  kNull,
  kBool,
  kInt,
  kUint,
  kDouble,
  kString,
  kBytes,
  kTimestamp,
  kDuration,
  kMessage,
  kList,
  kMap,
};

struct Type {
  TypeKind kind = TypeKind::kAny;
  // Lists: of what. Maps: to what.
  const Type* element = nullptr;
  const Type* key = nullptr;
  const google::protobuf::Descriptor* message = nullptr;
  // An int that is an enum's number; for better error texts only.
  const google::protobuf::EnumDescriptor* enumeration = nullptr;
};

bool Same(const Type& a, const Type& b);
// "list(string)": as a person would say it.
std::string TypeText(const Type& type);

// Owns the types of one compilation.
class Types {
 public:
  const Type* Basic(TypeKind kind);
  const Type* List(const Type* element);
  // Of two types that are the Same, the one that says more: list(int) for list(anything) and it.
  const Type* Merge(const Type* a, const Type* b);
  // nullptr: a type that the language does not read (`reason` says which).
  const Type* OfField(const google::protobuf::FieldDescriptor& field, std::string& reason);

 private:
  const Type* Element(const google::protobuf::FieldDescriptor& field, std::string& reason);
  const Type* Keep(Type type);

  std::deque<Type> types_;
};

}  // namespace tocsin::cel
