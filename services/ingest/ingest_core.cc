#include "services/ingest/ingest_core.h"

#include <google/protobuf/descriptor.h>

#include <string>
#include <utility>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_validator.h"
#include "tocsin/event/v1/event.pb.h"

namespace tocsin::ingest {
namespace {
using google::protobuf::FieldDescriptor;
using io::cloudevents::v1::CloudEvent;

absl::Status CheckIdentity(std::string_view name, std::string_view value, std::size_t limit) {
  if (value.empty()) return InvalidArgument(Concat(name, ": is missing"));
  if (value.size() > limit) {
    return InvalidArgument(
        Concat(name, ": has ", value.size(), " bytes, at most ", limit, " are allowed"));
  }
  return absl::OkStatus();
}

// A field of the message that the pack names.
absl::StatusOr<const FieldDescriptor*> NamedField(const BoundStream& stream,
                                                  std::string_view purpose,
                                                  const std::string& name) {
  if (name.empty()) return nullptr;
  const google::protobuf::Descriptor& message = stream.message();
  const FieldDescriptor* field = message.FindFieldByName(name);
  if (field == nullptr) {
    std::vector<std::string> names;
    for (int i = 0; i < message.field_count(); ++i) names.push_back(message.field(i)->name());
    const std::string nearest = NearestName(name, names);
    return FailedPrecondition(
        Concat("the pack's ", purpose, " of ", stream.stream().topic, " is '", name,
               "', which is no field of ", message.full_name(),
               nearest.empty() ? std::string() : Concat("; did you mean '", nearest, "'?")));
  }
  if (field->is_repeated() || field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return FailedPrecondition(Concat("the pack's ", purpose, " of ", stream.stream().topic, " is '",
                                     name, "', which is not one single value"));
  }
  return field;
}

absl::StatusOr<events::Severity> SeverityFromField(const FieldDescriptor& field,
                                                   std::string_view data) {
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM ||
      field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    TOCSIN_ASSIGN_OR_RETURN(std::string text, schema::ReadFieldAsText(field, data));
    // An enum of the pack's own has the scale's names, perhaps behind a prefix of its own.
    std::string_view name = text;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      name = name.substr(name.rfind('_') + 1);
    }
    if (name.empty() || name == "UNSPECIFIED") return event::v1::SEVERITY_INFO;
    auto severity = events::ParseSeverity(name);
    if (!severity.ok()) return Annotate(severity.status(), field.name());
    return severity;
  }
  TOCSIN_ASSIGN_OR_RETURN(const std::string number, schema::ReadFieldAsText(field, data));
  if (number.empty() || number == "0") return event::v1::SEVERITY_INFO;
  if (number.size() == 1 && number >= "1" && number <= "5") {
    return static_cast<events::Severity>(number.front() - '0');
  }
  return InvalidArgument(
      Concat(field.name(), ": ", number, " is not on the scale from 1 (INFO) to 5 (CRITICAL)"));
}

std::string_view RawData(const CloudEvent& event) {
  switch (event.data_case()) {
    case CloudEvent::kBinaryData:
      return event.binary_data();
    case CloudEvent::kTextData:
      return event.text_data();
    case CloudEvent::kProtoData:
      return event.proto_data().value();
    case CloudEvent::DATA_NOT_SET:
      break;
  }
  return {};
}

}  // namespace

absl::StatusOr<BoundStream> BoundStream::Bind(const Stream& stream, events::SubjectSchema schema) {
  BoundStream bound;
  bound.stream_ = &stream;
  bound.schema_ = std::move(schema);
  bound.message_ = bound.schema_.schema->FindMessage(stream.message_type);
  if (bound.message_ == nullptr) {
    return FailedPrecondition(Concat("version ", bound.schema_.version, " of the schema ",
                                     stream.subject(), " has no message ", stream.message_type,
                                     "; it has ", Join(bound.schema_.schema->MessageNames(), ", "),
                                     ". Register the pack's schema under this subject"));
  }
  bound.message_indexes_ = schema::MessageIndexes(*bound.message_);
  TOCSIN_ASSIGN_OR_RETURN(bound.key_field_,
                          NamedField(bound, "partition_key", stream.partition_key_field));
  TOCSIN_ASSIGN_OR_RETURN(bound.severity_field_,
                          NamedField(bound, "severity_field", stream.severity_field));
  return bound;
}

absl::Status CheckRequired(const CloudEvent& event, const Limits& limits) {
  const std::size_t size = event.ByteSizeLong();
  if (size > limits.max_event_bytes) {
    return InvalidArgument(Concat("event: has ", size, " bytes, at most ", limits.max_event_bytes,
                                  " are allowed; send less, or raise max_event_bytes of ingest"));
  }
  TOCSIN_RETURN_IF_ERROR(CheckIdentity("id", event.id(), limits.max_identity_bytes));
  TOCSIN_RETURN_IF_ERROR(CheckIdentity("source", event.source(), limits.max_identity_bytes));
  return CheckIdentity("type", event.type(), limits.max_identity_bytes);
}

absl::StatusOr<events::Event> Accept(const CloudEvent& event, const BoundStream& stream,
                                     const Limits& limits, WallTime now) {
  events::EventLimits envelope;
  envelope.max_data_bytes = limits.max_event_bytes;
  TOCSIN_ASSIGN_OR_RETURN(events::Event accepted, events::FromCloudEvent(event, now, envelope));
  if (accepted.time > now + limits.max_future) {
    return InvalidArgument(Concat("time: ", FormatTime(accepted.time), " is more than ",
                                  FormatDuration(limits.max_future), " ahead of now (",
                                  FormatTime(now), "); set the sender's clock"));
  }
  const absl::Status valid = schema::Validate(stream.message(), accepted.data);
  if (!valid.ok()) {
    return Annotate(valid, Concat("data: not a ", stream.message().full_name()));
  }
  if (accepted.severity == event::v1::SEVERITY_UNSPECIFIED) {
    accepted.severity = event::v1::SEVERITY_INFO;
    if (stream.severity_field() != nullptr) {
      TOCSIN_ASSIGN_OR_RETURN(accepted.severity,
                              SeverityFromField(*stream.severity_field(), accepted.data));
    }
  }
  if (accepted.partition_key.empty() && stream.key_field() != nullptr) {
    TOCSIN_ASSIGN_OR_RETURN(accepted.partition_key,
                            schema::ReadFieldAsText(*stream.key_field(), accepted.data));
    if (accepted.partition_key.empty()) {
      return InvalidArgument(
          Concat(stream.key_field()->name(), ": is empty. It is the partition key of ",
                 stream.stream().topic,
                 ", which decides the order; fill it, or name another key by the "
                 "attribute partitionkey"));
    }
  }
  if (accepted.partition_key.size() > limits.max_identity_bytes) {
    return CheckIdentity("partitionkey", accepted.partition_key, limits.max_identity_bytes);
  }
  accepted.recorded_time = now;
  accepted.schema_id = stream.schema_id();
  accepted.message_indexes = stream.message_indexes();
  return accepted;
}

kafka::OutgoingRecord DeadLetter(const CloudEvent& event, const Stream& stream,
                                 const absl::Status& reason, WallTime now) {
  kafka::OutgoingRecord record;
  record.topic = stream.dead_letter_topic();
  record.value = std::string(RawData(event));
  const auto attribute = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) record.headers.Set(Concat(events::kHeaderPrefix, name), value);
  };
  attribute("specversion", event.spec_version());
  attribute("id", event.id());
  attribute("source", event.source());
  attribute("type", event.type());
  for (const auto& [name, value] : event.attributes()) {
    if (value.has_ce_timestamp()) {
      // Not as a date: it may be the very time that no date has.
      attribute(name, Concat(value.ce_timestamp().seconds(), "s"));
    } else if (value.has_ce_integer()) {
      attribute(name, std::to_string(value.ce_integer()));
    } else if (value.has_ce_boolean()) {
      attribute(name, value.ce_boolean() ? "true" : "false");
    } else {
      // Whichever of the others is set; they are text or bytes, and all but one are empty.
      attribute(name,
                Concat(value.ce_string(), value.ce_uri(), value.ce_uri_ref(), value.ce_bytes()));
    }
    if (name == "partitionkey" && !value.ce_string().empty()) record.key = value.ce_string();
  }
  record.headers.Set("dlq.topic", stream.topic);
  record.headers.Set("dlq.error.class", absl::StatusCodeToString(reason.code()));
  record.headers.Set("dlq.error.message", Message(reason));
  record.headers.Set("dlq.attempts", "1");
  record.headers.Set("dlq.first_failed_at", FormatTime(now));
  return record;
}

}  // namespace tocsin::ingest
