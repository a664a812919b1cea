// A field of a message named by dots (`place`, `vessel.flag`), and its value as the text that keys
// and distinct values are compared by.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/schema/wire_projection.h"
#include "services/correlation/aggregate/value.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::correlation {

class FieldPath {
 public:
  // INVALID_ARGUMENT: the reason alone. Refused: unknown fields, lists and maps (they have no
  // single value), messages (name one of their fields), floating-point numbers (equal quantities
  // may have unequal bits).
  static absl::StatusOr<FieldPath> Resolve(std::string_view path,
                                           const google::protobuf::Descriptor& message);
  // For what is computed with: whole and floating-point numbers only.
  static absl::StatusOr<FieldPath> ResolveNumber(std::string_view path,
                                                 const google::protobuf::Descriptor& message);
  // For what is shown: any single value.
  static absl::StatusOr<FieldPath> ResolveAny(std::string_view path,
                                              const google::protobuf::Descriptor& message);
  // Holds whole numbers.
  bool whole() const;

  // nullopt when it is missing: not set, or its default where presence is not tracked and the
  // default says nothing (an empty text, an enum's zero). A number or bool without presence is
  // never missing: its zero is a value. Bytes are given in hex, enums by name.
  std::optional<std::string> Text(const google::protobuf::Message& message) const;

  // The number of a path that ResolveNumber has found; none when the field is not set or its number
  // is not finite.
  aggregate::Value Number(const google::protobuf::Message& message) const;

  // What a projection has to read for AppendText: each message on the way, then the field itself.
  std::vector<schema::FieldPath> Paths() const;
  // Appends Text of the message whose Paths() stand in `fields` from `first` on; with `escaped` as
  // a part of a joined key (JoinKey). False: it is missing.
  bool AppendText(const schema::FieldView& fields, std::size_t first, bool escaped,
                  std::string& out) const;

 private:
  static absl::StatusOr<FieldPath> ResolveSteps(std::string_view path,
                                                const google::protobuf::Descriptor& message);
  // nullptr: some message on the way, or the field itself, is not set.
  const google::protobuf::Message* Holder(const google::protobuf::Message& message) const;

  std::vector<const google::protobuf::FieldDescriptor*> steps_;
};

}  // namespace tocsin::correlation
