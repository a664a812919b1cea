#include "lib/events/event.h"

#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_validator.h"
#include "tocsin/event/v1/event.pb.h"

namespace tocsin::events {
namespace {
using io::cloudevents::v1::CloudEvent;
using Value = CloudEvent::CloudEventAttributeValue;

constexpr std::string_view kSpecVersion = "1.0";
constexpr std::size_t kMaxNameBytes = 64;

struct SeverityName {
  std::string_view text;
  Severity severity;
};
constexpr std::array<SeverityName, 5> kSeverities = {{
    {"INFO", event::v1::SEVERITY_INFO},
    {"LOW", event::v1::SEVERITY_LOW},
    {"MEDIUM", event::v1::SEVERITY_MEDIUM},
    {"HIGH", event::v1::SEVERITY_HIGH},
    {"CRITICAL", event::v1::SEVERITY_CRITICAL},
}};

// A piece of input as it may stand in a message: short, and without anything that could forge a
// line.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char character : text.substr(0, 64)) {
    const auto byte = static_cast<unsigned char>(character);
    out.push_back(byte < 0x20 || byte >= 0x7F ? '?' : character);
  }
  if (text.size() > 64) out += "…";
  return out + "'";
}

bool IsAttributeName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](char character) {
           return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9');
         });
}

// Those that have a place of their own in either form and may not be said twice.
bool BelongsToEnvelope(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNames{"id", "source", "type", "specversion", "data"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

// CloudEvents strings: UTF-8 without control characters.
absl::Status CheckText(std::string_view name, std::string_view text, const EventLimits& limits) {
  if (text.size() > limits.max_attribute_bytes) {
    return InvalidArgument(Concat(name, ": ", text.size(), " bytes are over the limit of ",
                                  limits.max_attribute_bytes));
  }
  if (!schema::IsValidUtf8(text)) return InvalidArgument(Concat(name, ": not valid UTF-8"));
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are the bytes C2 80 to C2 9F.
    const bool c1 =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F || c1) {
      return InvalidArgument(Concat(name, ": control character at byte ", i));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<WallTime> TimeOf(std::string_view name, std::string_view text) {
  const auto time = ParseTime(text);
  if (!time.ok()) {
    return InvalidArgument(Concat(name, ": ", Quoted(text),
                                  " is not a time; write it as RFC 3339, for example "
                                  "2016-01-15T13:24:00Z"));
  }
  return *time;
}

absl::Status CheckContentType(std::string_view name, std::string_view text) {
  const std::string_view media_type = Trim(text.substr(0, text.find(';')));
  if (media_type == kContentType || media_type == "application/x-protobuf") {
    return absl::OkStatus();
  }
  if (media_type.starts_with("application/cloudevents")) {
    return InvalidArgument(Concat(name, ": ", Quoted(text),
                                  " is CloudEvents' structured mode; write the event in binary "
                                  "mode: attributes in ce_ headers, the value the data"));
  }
  return InvalidArgument(
      Concat(name, ": ", Quoted(text), " is not known here; the data must be ", kContentType));
}

absl::Status CheckIdentity(const Event& event) {
  if (event.id.empty()) return InvalidArgument("id: missing");
  if (event.source.empty()) return InvalidArgument("source: missing");
  if (event.type.empty()) {
    return InvalidArgument("type: missing; it is the full name of the Protobuf message");
  }
  return absl::OkStatus();
}

// Puts one attribute, as text, where it belongs. `name` is known to be a lawful one.
absl::Status SetAttribute(Event& event, std::string_view name, std::string_view value,
                          const EventLimits& limits) {
  TOCSIN_RETURN_IF_ERROR(CheckText(name, value, limits));
  if (value.empty()) return absl::OkStatus();
  if (name == "time") {
    TOCSIN_ASSIGN_OR_RETURN(event.time, TimeOf(name, value));
  } else if (name == "recordedtime") {
    TOCSIN_ASSIGN_OR_RETURN(event.recorded_time, TimeOf(name, value));
  } else if (name == "severitytext") {
    TOCSIN_ASSIGN_OR_RETURN(event.severity, ParseSeverity(value));
  } else if (name == "datacontenttype") {
    return CheckContentType(name, value);
  } else if (name == "subject") {
    event.subject = value;
  } else if (name == "partitionkey") {
    event.partition_key = value;
  } else if (name == "sequence") {
    event.sequence = value;
  } else if (name == "traceparent") {
    // By its standard a broken context is ignored and is no error.
    if (IsTraceparent(value)) event.origin_traceparent = value;
  } else {
    event.extensions.insert_or_assign(std::string(name), std::string(value));
  }
  return absl::OkStatus();
}

// The canonical text of CloudEvents' types.
absl::StatusOr<std::string> TextOf(std::string_view name, const Value& value) {
  switch (value.attr_case()) {
    case Value::kCeBoolean:
      return std::string(value.ce_boolean() ? "true" : "false");
    case Value::kCeInteger:
      return std::to_string(value.ce_integer());
    case Value::kCeString:
      return value.ce_string();
    case Value::kCeBytes:
      return Base64Encode(value.ce_bytes());
    case Value::kCeUri:
      return value.ce_uri();
    case Value::kCeUriRef:
      return value.ce_uri_ref();
    case Value::kCeTimestamp: {
      const auto& stamp = value.ce_timestamp();
      const WallTime second{std::chrono::seconds(
          std::clamp<std::int64_t>(stamp.seconds(), INT64_MIN / 2'000'000, INT64_MAX / 2'000'000))};
      if (second < kFirstTime || second > kLastTime) {
        return InvalidArgument(Concat(name, ": outside the years 1 to 9999"));
      }
      if (stamp.nanos() < 0 || stamp.nanos() > 999'999'999) {
        return InvalidArgument(
            Concat(name, ": ", stamp.nanos(), " is not a number of nanoseconds below one second"));
      }
      return FormatTime(second + std::chrono::microseconds(stamp.nanos() / 1000));
    }
    case Value::ATTR_NOT_SET:
      break;
  }
  return InvalidArgument(Concat(name, ": has no value"));
}

// Counts what attributes cost, all together.
class Budget {
 public:
  explicit Budget(const EventLimits& limits) : limits_(limits) {}
  absl::Status Spend(std::string_view name, std::size_t value_bytes) {
    bytes_ += name.size() + std::min(value_bytes, limits_.max_attributes_bytes + 1);
    if (++count_ > limits_.max_attributes) {
      return InvalidArgument(Concat("attributes: more than the limit of ", limits_.max_attributes));
    }
    if (bytes_ > limits_.max_attributes_bytes) {
      return InvalidArgument(
          Concat("attributes: over the limit of ", limits_.max_attributes_bytes, " bytes in all"));
    }
    return absl::OkStatus();
  }

 private:
  const EventLimits& limits_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

absl::Status CheckDataSize(std::size_t size, const EventLimits& limits) {
  if (size <= limits.max_data_bytes) return absl::OkStatus();
  return InvalidArgument(
      Concat("data: ", size, " bytes are over the limit of ", limits.max_data_bytes, " bytes"));
}

}  // namespace

std::string_view SeverityText(Severity severity) {
  for (const SeverityName& entry : kSeverities) {
    if (entry.severity == severity) return entry.text;
  }
  return {};
}

absl::StatusOr<Severity> ParseSeverity(std::string_view text) {
  const std::string upper = AsciiUpper(text);
  for (const SeverityName& entry : kSeverities) {
    if (entry.text == upper) return entry.severity;
  }
  return InvalidArgument(Concat("severitytext: ", Quoted(text),
                                " is not on the scale INFO, LOW, MEDIUM, HIGH, CRITICAL"));
}

absl::StatusOr<Event> FromCloudEvent(const CloudEvent& input, WallTime received,
                                     const EventLimits& limits) {
  if (input.spec_version() != kSpecVersion) {
    return InvalidArgument(input.spec_version().empty()
                               ? std::string("spec_version: missing; it must be 1.0")
                               : Concat("spec_version: ", Quoted(input.spec_version()),
                                        " is not known here; it must be 1.0"));
  }
  Event event;
  event.id = input.id();
  event.source = input.source();
  event.type = input.type();
  event.time = received;
  TOCSIN_RETURN_IF_ERROR(CheckIdentity(event));
  TOCSIN_RETURN_IF_ERROR(CheckText("id", event.id, limits));
  TOCSIN_RETURN_IF_ERROR(CheckText("source", event.source, limits));
  TOCSIN_RETURN_IF_ERROR(CheckText("type", event.type, limits));
  Budget budget(limits);
  for (const auto& [name, value] : input.attributes()) {
    TOCSIN_RETURN_IF_ERROR(budget.Spend(name, value.ByteSizeLong()));
    if (!IsAttributeName(name)) {
      return InvalidArgument(Concat("attributes: ", Quoted(name),
                                    " is not a name; names are lower-case letters and digits"));
    }
    if (BelongsToEnvelope(name)) {
      return InvalidArgument(
          Concat("attributes: ", Quoted(name), " belongs into the field of that name"));
    }
    TOCSIN_ASSIGN_OR_RETURN(const std::string text, TextOf(name, value));
    TOCSIN_RETURN_IF_ERROR(SetAttribute(event, name, text, limits));
  }
  switch (input.data_case()) {
    case CloudEvent::kBinaryData:
      TOCSIN_RETURN_IF_ERROR(CheckDataSize(input.binary_data().size(), limits));
      event.data = input.binary_data();
      break;
    case CloudEvent::kProtoData: {
      const std::string& url = input.proto_data().type_url();
      const std::string_view named = std::string_view(url).substr(url.rfind('/') + 1);
      if (named != event.type) {
        return InvalidArgument(
            Concat("proto_data: holds ", Quoted(named), ", but type says ", Quoted(event.type)));
      }
      TOCSIN_RETURN_IF_ERROR(CheckDataSize(input.proto_data().value().size(), limits));
      event.data = input.proto_data().value();
      break;
    }
    case CloudEvent::kTextData:
      return InvalidArgument(
          "text_data: not known here; the data is a Protobuf message, in binary_data or "
          "proto_data");
    case CloudEvent::DATA_NOT_SET:
      return InvalidArgument("data: missing");
  }
  return event;
}

CloudEvent ToCloudEvent(const Event& event) {
  CloudEvent out;
  out.set_id(event.id);
  out.set_source(event.source);
  out.set_spec_version(std::string(kSpecVersion));
  out.set_type(event.type);
  auto& attributes = *out.mutable_attributes();
  const auto set_text = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) attributes[std::string(name)].set_ce_string(std::string(value));
  };
  const auto set_time = [&](std::string_view name, WallTime time) {
    *attributes[std::string(name)].mutable_ce_timestamp() =
        google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(time.time_since_epoch().count());
  };
  set_time("time", event.time);
  if (event.recorded_time.has_value()) set_time("recordedtime", *event.recorded_time);
  set_text("datacontenttype", kContentType);
  set_text("subject", event.subject);
  set_text("partitionkey", event.partition_key);
  set_text("sequence", event.sequence);
  set_text("severitytext", SeverityText(event.severity));
  set_text("traceparent", event.origin_traceparent);
  for (const auto& [name, value] : event.extensions) set_text(name, value);
  out.set_binary_data(event.data);
  return out;
}

absl::StatusOr<Event> FromRecord(const kafka::Record& record, const EventLimits& limits) {
  Event event;
  Budget budget(limits);
  std::set<std::string_view> seen;
  bool has_time = false;
  std::string_view version;
  const auto& headers = record.headers.entries();
  // From the back: of several headers with one name the last counts.
  for (auto header = headers.rbegin(); header != headers.rend(); ++header) {
    const std::string_view name = header->first;
    const std::string_view value = header->second;
    const bool is_attribute = name.starts_with(kHeaderPrefix);
    if (!is_attribute && name != kHeaderContentType && name != kHeaderTraceparent &&
        name != kHeaderTracestate) {
      continue;
    }
    if (!seen.insert(name).second) continue;
    TOCSIN_RETURN_IF_ERROR(budget.Spend(name, value.size()));
    if (name == kHeaderTraceparent) {
      if (IsTraceparent(value)) event.traceparent = value;
      continue;
    }
    if (name == kHeaderTracestate) {
      if (CheckText(name, value, limits).ok()) event.tracestate = value;
      continue;
    }
    if (name == kHeaderContentType) {
      TOCSIN_RETURN_IF_ERROR(CheckContentType(name, value));
      continue;
    }
    TOCSIN_RETURN_IF_ERROR(CheckText(Quoted(name), value, limits));
    if (name == kHeaderSpecVersion) {
      version = value;
    } else if (name == kHeaderId) {
      event.id = value;
    } else if (name == kHeaderSource) {
      event.source = value;
    } else if (name == kHeaderType) {
      event.type = value;
    } else {
      const std::string_view attribute = name.substr(kHeaderPrefix.size());
      if (!IsAttributeName(attribute)) {
        return InvalidArgument(Concat("header ", Quoted(name),
                                      ": names of attributes are lower-case letters and digits"));
      }
      has_time = has_time || (attribute == "time" && !value.empty());
      TOCSIN_RETURN_IF_ERROR(SetAttribute(event, attribute, value, limits));
    }
  }
  if (version != kSpecVersion) {
    return InvalidArgument(version.empty()
                               ? std::string("header ce_specversion: missing; it must be 1.0")
                               : Concat("header ce_specversion: ", Quoted(version),
                                        " is not known here; it must be 1.0"));
  }
  TOCSIN_RETURN_IF_ERROR(Annotate(CheckIdentity(event), "header ce_"));
  if (!has_time) return InvalidArgument("header ce_time: missing");
  // Programs that are not ours may leave it to the key alone.
  if (event.partition_key.empty() && record.key.has_value() &&
      CheckText("key", *record.key, limits).ok()) {
    event.partition_key = *record.key;
  }
  if (!record.value.has_value()) return InvalidArgument("value: null; an event has data");
  const auto frame = schema::DecodeFrame(*record.value);
  if (!frame.ok()) return Annotate(frame.status(), "value");
  TOCSIN_RETURN_IF_ERROR(CheckDataSize(frame->payload.size(), limits));
  event.schema_id = frame->id;
  event.message_indexes = frame->message_indexes;
  event.data = frame->payload;
  return event;
}

kafka::OutgoingRecord ToRecord(const Event& event, std::string topic) {
  kafka::OutgoingRecord record;
  record.topic = std::move(topic);
  if (!event.partition_key.empty()) record.key = event.partition_key;
  const auto set = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) record.headers.Append(std::string(name), std::string(value));
  };
  set(kHeaderSpecVersion, kSpecVersion);
  set(kHeaderId, event.id);
  set(kHeaderSource, event.source);
  set(kHeaderType, event.type);
  set(kHeaderTime, FormatTime(event.time));
  set("ce_subject", event.subject);
  set("ce_partitionkey", event.partition_key);
  set(kHeaderSequence, event.sequence);
  set("ce_severitytext", SeverityText(event.severity));
  if (event.recorded_time.has_value()) set("ce_recordedtime", FormatTime(*event.recorded_time));
  set("ce_traceparent", event.origin_traceparent);
  for (const auto& [name, value] : event.extensions) set(Concat(kHeaderPrefix, name), value);
  set(kHeaderContentType, kContentType);
  set(kHeaderTraceparent, event.traceparent);
  set(kHeaderTracestate, event.tracestate);
  record.value = schema::EncodeFrame(event.schema_id, event.message_indexes, event.data);
  return record;
}

void SetTraceContext(kafka::Headers& headers, std::string_view traceparent,
                     std::string_view tracestate) {
  if (traceparent.empty()) {
    headers.Remove(kHeaderTraceparent);
  } else {
    headers.Set(kHeaderTraceparent, traceparent);
  }
  if (tracestate.empty() || traceparent.empty()) {
    headers.Remove(kHeaderTracestate);
  } else {
    headers.Set(kHeaderTracestate, tracestate);
  }
}

bool IsTraceparent(std::string_view text) {
  // 00-<32 hex>-<16 hex>-<2 hex>
  if (text.size() != 55 || !text.starts_with("00-") || text[35] != '-' || text[52] != '-') {
    return false;
  }
  const auto is_hex = [](std::string_view part) {
    return std::all_of(part.begin(), part.end(), [](char character) {
      return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f');
    });
  };
  const auto is_zero = [](std::string_view part) {
    return part.find_first_not_of('0') == std::string_view::npos;
  };
  const std::string_view trace_id = text.substr(3, 32);
  const std::string_view span_id = text.substr(36, 16);
  return is_hex(trace_id) && is_hex(span_id) && is_hex(text.substr(53)) && !is_zero(trace_id) &&
         !is_zero(span_id);
}

}  // namespace tocsin::events
