#include "lib/events/own_topic.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>

#include <cassert>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/file_registration.h"
#include "lib/events/subject_names.h"

namespace tocsin::events {
namespace {

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
  TOCSIN_ASSIGN_OR_RETURN(const RegisteredVersion version,
                          RegisterFile(registry,
                                       SubjectName(SubjectNaming::kTopicName, topic,
                                                   RecordPart::kValue, message->full_name()),
                                       *message->file()));
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
