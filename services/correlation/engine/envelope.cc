#include "services/correlation/engine/envelope.h"

#include <charconv>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "lib/schema/wire_validator.h"

namespace tocsin::correlation {
namespace {

template <typename Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// The headers that matter, each with its last value; in one pass, in which the length of a name
// leaves one or two to compare with. Returns the time's text.
std::string_view TakeHeaders(const kafka::HeaderViews& headers, Envelope& envelope) {
  std::string_view time;
  std::string_view ce_traceparent;
  const auto take = [](const kafka::HeaderViews::Entry& entry, std::string_view name,
                       std::string_view& into) {
    if (entry.first == name) into = entry.second;
  };
  for (const kafka::HeaderViews::Entry& entry : headers.entries()) {
    switch (entry.first.size()) {
      case 5:
        take(entry, "ce_id", envelope.id);
        break;
      case 7:
        take(entry, "ce_type", envelope.type);
        take(entry, "ce_time", time);
        break;
      case 9:
        take(entry, "ce_source", envelope.source);
        break;
      case 11:
        take(entry, "ce_sequence", envelope.sequence);
        take(entry, "traceparent", envelope.traceparent);
        break;
      case 14:
        take(entry, "ce_traceparent", ce_traceparent);
        break;
      default:
        break;
    }
  }
  if (envelope.traceparent.empty()) envelope.traceparent = ce_traceparent;
  return time;
}

absl::Status CheckPresent(std::string_view value, std::string_view name) {
  if (!value.empty()) return absl::OkStatus();
  return InvalidArgument(Concat("header ", name, " is missing: not a CloudEvent"));
}

// The payload behind the commonest prefix: the first message of its schema.
std::optional<std::string_view> PlainPayload(std::string_view value) {
  constexpr std::size_t kPrefix = 6;
  if (value.size() < kPrefix || value[0] != 0 || value[5] != 0) return std::nullopt;
  const bool id_in_range = static_cast<signed char>(value[1]) >= 0 &&
                           (value[1] != 0 || value[2] != 0 || value[3] != 0 || value[4] != 0);
  if (!id_in_range) return std::nullopt;
  return value.substr(kPrefix);
}

// A field of the state that is not UTF-8 cannot be read again, nor what stands behind it.
absl::Status CheckTexts(const Envelope& envelope) {
  const std::pair<std::string_view, std::string_view> texts[] = {
      {"ce_id", envelope.id},
      {"ce_source", envelope.source},
      {"ce_sequence", envelope.sequence},
      {"traceparent", envelope.traceparent}};
  for (const auto& [name, text] : texts) {
    if (!schema::IsValidUtf8(text)) {
      return InvalidArgument(Concat("header ", name, " is not valid UTF-8"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadEnvelope(const kafka::RecordView& record, Envelope& envelope) {
  envelope = Envelope();
  const std::string_view time = TakeHeaders(record.headers, envelope);
  TOCSIN_RETURN_IF_ERROR(CheckPresent(envelope.id, "ce_id"));
  TOCSIN_RETURN_IF_ERROR(CheckPresent(envelope.source, "ce_source"));
  TOCSIN_RETURN_IF_ERROR(CheckPresent(envelope.type, "ce_type"));
  TOCSIN_RETURN_IF_ERROR(CheckPresent(time, "ce_time"));
  const absl::StatusOr<WallTime> parsed = ParseTime(time);
  if (!parsed.ok()) return Annotate(parsed.status(), "header ce_time");
  envelope.time = *parsed;
  TOCSIN_RETURN_IF_ERROR(CheckTexts(envelope));
  if (!record.value.has_value()) return InvalidArgument("the record has no value");
  if (const std::optional<std::string_view> plain = PlainPayload(*record.value)) {
    envelope.payload = *plain;
    return absl::OkStatus();
  }
  absl::StatusOr<schema::Framed> framed = schema::DecodeFrame(*record.value);
  if (!framed.ok()) return Annotate(framed.status(), "value");
  envelope.payload = framed->payload;
  return absl::OkStatus();
}

std::string EncodeOrigin(const Origin& origin) {
  return Concat(origin.topic, ':', origin.partition, ':', origin.offset);
}

std::optional<Origin> DecodeOrigin(std::string_view text) {
  const std::size_t last = text.rfind(':');
  if (last == std::string_view::npos || last == 0) return std::nullopt;
  const std::size_t middle = text.rfind(':', last - 1);
  if (middle == std::string_view::npos) return std::nullopt;
  Origin origin;
  origin.topic = text.substr(0, middle);
  if (origin.topic.empty() ||
      !ParseNumber(text.substr(middle + 1, last - middle - 1), origin.partition) ||
      !ParseNumber(text.substr(last + 1), origin.offset)) {
    return std::nullopt;
  }
  return origin;
}

}  // namespace tocsin::correlation
