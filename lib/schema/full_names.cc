#include "lib/schema/full_names.h"

namespace tocsin::schema {
namespace {

namespace pb = ::google::protobuf;

class Counter {
 public:
  FullNames Count(const pb::FileDescriptorProto& file) {
    const std::size_t scope = file.package().size();
    // A package is no element, and is one long name where there is no element in it.
    if (scope > kMaxFullNameBytes) Refuse(file, FullNames::Limit::kFullName, scope, scope);
    for (const auto& message : file.message_type()) Message(message, scope);
    for (const auto& type : file.enum_type()) Enum(type, scope);
    for (const auto& extension : file.extension()) Element(extension, scope);
    for (const auto& service : file.service()) {
      const std::size_t full = Element(service, scope);
      for (const auto& method : service.method()) Element(method, full);
    }
    return counted_;
  }

 private:
  // The size of its name in full, where that of what is around it is `scope`.
  template <typename Proto>
  std::size_t Element(const Proto& element, std::size_t scope) {
    const std::size_t name = element.name().size();
    const std::size_t full = scope + (scope == 0 ? 0 : 1) + name;
    if (counted_.refused != nullptr) return full;
    counted_.bytes += full;
    if (name > kMaxIdentifierBytes) {
      Refuse(element, FullNames::Limit::kIdentifier, name, full);
    } else if (full > kMaxFullNameBytes) {
      Refuse(element, FullNames::Limit::kFullName, name, full);
    } else if (counted_.bytes > kMaxFullNamesBytes) {
      Refuse(element, FullNames::Limit::kTogether, name, full);
    }
    return full;
  }

  void Message(const pb::DescriptorProto& message, std::size_t scope) {
    const std::size_t full = Element(message, scope);
    for (const auto& field : message.field()) Element(field, full);
    for (const auto& extension : message.extension()) Element(extension, full);
    for (const auto& oneof : message.oneof_decl()) Element(oneof, full);
    for (const auto& type : message.enum_type()) Enum(type, full);
    for (const auto& nested : message.nested_type()) Message(nested, full);
  }

  void Enum(const pb::EnumDescriptorProto& type, std::size_t scope) {
    Element(type, scope);
    // Values stand beside their enum, not within it.
    for (const auto& value : type.value()) Element(value, scope);
  }

  void Refuse(const pb::Message& element, FullNames::Limit limit, std::size_t name,
              std::size_t full) {
    counted_.refused = &element;
    counted_.limit = limit;
    counted_.name_bytes = name;
    counted_.full_name_bytes = full;
  }

  FullNames counted_;
};

}  // namespace

FullNames CountFullNames(const pb::FileDescriptorProto& file) { return Counter().Count(file); }

}  // namespace tocsin::schema
