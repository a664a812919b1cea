// What reading, overriding, showing and describing a message have in common: how a field is called,
// and how a scalar is written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace google::protobuf {
class Descriptor;
class EnumDescriptor;
class EnumValueDescriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::config {

bool IsDuration(const google::protobuf::FieldDescriptor& field);
bool IsTimestamp(const google::protobuf::FieldDescriptor& field);
// Written as one scalar: every type but messages, and of these Duration and Timestamp.
bool IsScalar(const google::protobuf::FieldDescriptor& field);
// An integer that takes KiB, MiB …
bool IsSize(const google::protobuf::FieldDescriptor& field);

// The lower-case word of an enum value, without the enum's prefix; empty for `_UNSPECIFIED`.
std::string EnumWord(const google::protobuf::EnumValueDescriptor& value);
std::vector<std::string> EnumWords(const google::protobuf::EnumDescriptor& descriptor);

// Does a field or map key of this name hold what must not be shown?
bool IsSecretName(std::string_view name);

// What the field takes, for "must be …": "a whole number", "a duration such as 10s or 5m".
std::string Expectation(const google::protobuf::FieldDescriptor& field);

// Sets a singular scalar field, or adds to a repeated one. INVALID_ARGUMENT: the reason alone.
absl::Status SetScalar(google::protobuf::Message& message,
                       const google::protobuf::FieldDescriptor& field, std::string_view text);

}  // namespace tocsin::config
