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

absl::Status Required(const kafka::Headers& headers, std::string_view name, std::string& into) {
  const std::optional<std::string_view> value = headers.Find(name);
  if (!value.has_value() || value->empty()) {
    return InvalidArgument(Concat("header ", name, " is missing: not a CloudEvent"));
  }
  into = *value;
  return absl::OkStatus();
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

absl::StatusOr<Envelope> ReadEnvelope(const kafka::Record& record) {
  Envelope envelope;
  TOCSIN_RETURN_IF_ERROR(Required(record.headers, "ce_id", envelope.id));
  TOCSIN_RETURN_IF_ERROR(Required(record.headers, "ce_source", envelope.source));
  TOCSIN_RETURN_IF_ERROR(Required(record.headers, "ce_type", envelope.type));
  std::string time;
  TOCSIN_RETURN_IF_ERROR(Required(record.headers, "ce_time", time));
  absl::StatusOr<WallTime> parsed = ParseTime(time);
  if (!parsed.ok()) return Annotate(parsed.status(), "header ce_time");
  envelope.time = *parsed;
  envelope.sequence = record.headers.Find("ce_sequence").value_or("");
  envelope.traceparent = record.headers.Find("traceparent").value_or("");
  if (envelope.traceparent.empty()) {
    envelope.traceparent = record.headers.Find("ce_traceparent").value_or("");
  }
  TOCSIN_RETURN_IF_ERROR(CheckTexts(envelope));
  if (!record.value.has_value()) return InvalidArgument("the record has no value");
  absl::StatusOr<schema::Framed> framed = schema::DecodeFrame(*record.value);
  if (!framed.ok()) return Annotate(framed.status(), "value");
  envelope.payload = framed->payload;
  return envelope;
}

std::string EncodeOrigin(const Origin& origin) {
  return Concat(origin.where.topic, ':', origin.where.partition, ':', origin.offset);
}

std::optional<Origin> DecodeOrigin(std::string_view text) {
  const std::size_t last = text.rfind(':');
  if (last == std::string_view::npos || last == 0) return std::nullopt;
  const std::size_t middle = text.rfind(':', last - 1);
  if (middle == std::string_view::npos) return std::nullopt;
  Origin origin;
  origin.where.topic = text.substr(0, middle);
  if (origin.where.topic.empty() ||
      !ParseNumber(text.substr(middle + 1, last - middle - 1), origin.where.partition) ||
      !ParseNumber(text.substr(last + 1), origin.offset)) {
    return std::nullopt;
  }
  return origin;
}

}  // namespace tocsin::correlation
