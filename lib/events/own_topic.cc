#include "lib/events/own_topic.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::events {
namespace {

using google::protobuf::FileDescriptor;

// Registers what a file imports, each under its import path, and gives the references to it. `done`
// keeps a file that is imported twice from being asked for twice.
absl::StatusOr<std::vector<SchemaReference>> RegisterImports(
    RegistryClient& registry, const FileDescriptor& file,
    std::map<std::string, std::int32_t>& done);

absl::StatusOr<std::string_view> TextOf(const FileDescriptor& file) {
  const auto& protos = EmbeddedProtos();
  const auto found = std::find_if(protos.begin(), protos.end(),
                                  [&](const auto& proto) { return proto.name == file.name(); });
  if (found == protos.end()) {
    return Internal(Concat("the text of ", file.name(), " is not part of this program"));
  }
  return found->text;
}

absl::StatusOr<RegisteredVersion> RegisterFile(RegistryClient& registry, std::string_view subject,
                                               const FileDescriptor& file,
                                               std::map<std::string, std::int32_t>& done) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string_view text, TextOf(file));
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<SchemaReference> references,
                          RegisterImports(registry, file, done));
  auto registered = registry.Register(subject, text, references);
  if (registered.ok()) return registered;
  return Annotate(registered.status(), Concat("registering the schema of ", subject));
}

absl::StatusOr<std::vector<SchemaReference>> RegisterImports(
    RegistryClient& registry, const FileDescriptor& file,
    std::map<std::string, std::int32_t>& done) {
  std::vector<SchemaReference> references;
  for (int i = 0; i < file.dependency_count(); ++i) {
    const FileDescriptor& imported = *file.dependency(i);
    if (schema::IsWellKnownImport(imported.name())) continue;
    if (!done.contains(imported.name())) {
      TOCSIN_ASSIGN_OR_RETURN(const RegisteredVersion version,
                              RegisterFile(registry, imported.name(), imported, done));
      done[imported.name()] = version.version;
    }
    references.push_back({imported.name(), imported.name(), done[imported.name()]});
  }
  return references;
}

std::string SerializeDeterministically(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream output(&stream);
  output.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&output);
  output.Trim();
  return bytes;
}

}  // namespace

absl::StatusOr<OwnSchema> RegisterOwnSchema(RegistryClient& registry, std::string_view topic,
                                            const google::protobuf::Descriptor* message) {
  std::map<std::string, std::int32_t> done;
  TOCSIN_ASSIGN_OR_RETURN(const RegisteredVersion version,
                          RegisterFile(registry, Concat(topic, "-value"), *message->file(), done));
  return OwnSchema{version.id, schema::MessageIndexes(*message)};
}

absl::StatusOr<OwnTopic> OwnTopic::Register(RegistryClient& registry, std::string topic,
                                            const google::protobuf::Descriptor* message,
                                            std::string source) {
  TOCSIN_ASSIGN_OR_RETURN(OwnSchema schema, RegisterOwnSchema(registry, topic, message));
  return OwnTopic(std::move(topic), message, std::move(source), std::move(schema));
}

OwnTopic::OwnTopic(std::string topic, const google::protobuf::Descriptor* message,
                   std::string source, OwnSchema schema)
    : topic_(std::move(topic)),
      type_(message->full_name()),
      source_(std::move(source)),
      schema_(std::move(schema)) {}

kafka::OutgoingRecord OwnTopic::Encode(const google::protobuf::Message& message,
                                       const OwnEnvelope& envelope) const {
  assert(message.GetDescriptor()->full_name() == type_);
  Event event;
  event.id = envelope.id;
  event.source = source_;
  event.type = type_;
  event.time = envelope.time;
  event.subject = envelope.subject;
  event.partition_key = envelope.key;
  event.severity = envelope.severity;
  event.recorded_time = envelope.recorded_time;
  event.origin_traceparent = envelope.origin_traceparent;
  event.traceparent = envelope.traceparent;
  event.tracestate = envelope.tracestate;
  event.schema_id = schema_.id;
  event.message_indexes = schema_.message_indexes;
  event.data = SerializeDeterministically(message);
  return ToRecord(event, topic_);
}

absl::Status ParseOwn(const Event& event, google::protobuf::Message& message) {
  const std::string& expected = message.GetDescriptor()->full_name();
  if (event.type != expected) {
    return InvalidArgument(Concat("type: the event holds ", event.type, ", not ", expected));
  }
  if (!message.ParseFromString(event.data)) {
    return InvalidArgument(Concat("data: not a ", expected));
  }
  return absl::OkStatus();
}

}  // namespace tocsin::events
