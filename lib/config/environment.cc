#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <unistd.h>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"
#include "lib/config/fields.h"
#include "lib/config/reader.h"
#include "lib/config/yaml_tree.h"

namespace tocsin::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr std::string_view kPrefix = "TOCSIN_";

// The fields that lead from the message to the one that a variable names; empty: none. Field names
// hold underscores themselves, so each way of cutting is tried; a name is consumed with every step.
std::vector<const FieldDescriptor*> Resolve(const Descriptor& type, std::string_view name) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (AsciiUpper(type.field(i)->name()) == name) return {type.field(i)};
  }
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_repeated() || IsScalar(field)) continue;
    const std::string start = AsciiUpper(field.name()) + "_";
    if (!name.starts_with(start)) continue;
    std::vector<const FieldDescriptor*> rest =
        Resolve(*field.message_type(), name.substr(start.size()));
    if (rest.empty()) continue;
    rest.insert(rest.begin(), &field);
    return rest;
  }
  return {};
}

absl::Status SetFromText(google::protobuf::Message& message, const FieldDescriptor& field,
                         std::string_view text) {
  const bool words = field.is_repeated() && !field.is_map() && IsScalar(field);
  if (words && !Trim(text).starts_with('[')) {
    message.GetReflection()->ClearField(&message, &field);
    if (Trim(text).empty()) return absl::OkStatus();
    for (const std::string& word : Split(text, ',')) {
      TOCSIN_RETURN_IF_ERROR(SetScalar(message, field, Trim(word)));
    }
    return absl::OkStatus();
  }
  if (!field.is_repeated() && IsScalar(field)) return SetScalar(message, field, text);
  TOCSIN_ASSIGN_OR_RETURN(const YamlNode node, ParseYamlTree(text, ""));
  PositionsWriter nowhere(nullptr, "", "");
  Reader reader("", nowhere);
  reader.ReadField(node, field.name(), field, message);
  return reader.Result();
}

}  // namespace

Environment CurrentEnvironment() {
  Environment environment;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

absl::Status ApplyEnvironment(google::protobuf::Message& message, const Environment& environment,
                              std::vector<std::string>* applied) {
  for (const auto& [name, value] : environment) {
    if (!name.starts_with(kPrefix)) continue;
    const std::vector<const FieldDescriptor*> path =
        Resolve(*message.GetDescriptor(), std::string_view(name).substr(kPrefix.size()));
    if (path.empty()) continue;
    google::protobuf::Message* target = &message;
    bool secret = false;
    for (const FieldDescriptor* field : path) {
      secret = secret || IsSecretName(field->name());
      if (field != path.back()) {
        target = target->GetReflection()->MutableMessage(target, field);
      }
    }
    const absl::Status status = SetFromText(*target, *path.back(), value);
    if (!status.ok()) {
      return InvalidArgument(Concat(
          "the environment variable ", name, " does not fit: ",
          secret ? std::string("its value (not shown, because it is a secret) is not what the "
                               "field takes")
                 : std::string(tocsin::Message(status))));
    }
    if (applied != nullptr) applied->push_back(name);
  }
  return absl::OkStatus();
}

}  // namespace tocsin::config
