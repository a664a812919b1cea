// Any bytes as one of the short texts that stand in headers, flags, tokens and configuration. What
// is accepted has one written form, and reading that gives the same value.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/http/message.h"
#include "lib/sql/page.h"
#include "lib/telemetry/trace.h"
#include "services/notification/http_client.h"

namespace {

using namespace tocsin;  // NOLINT(google-build-using-namespace): a program of one file

void Require(bool holds) {
  if (!holds) std::abort();
}

// A refusal says why.
bool Accepted(const absl::Status& status) {
  Require(status.ok() ||
          (status.code() == absl::StatusCode::kInvalidArgument && !status.message().empty()));
  return status.ok();
}

void Times(std::string_view text) {
  if (const auto time = ParseTime(text); Accepted(time.status())) {
    const std::string written = FormatTime(*time);
    const auto again = ParseTime(written);
    Require(again.ok() && *again == *time && FormatTime(*again) == written);
  }
  if (const auto duration = ParseDuration(text); Accepted(duration.status())) {
    const auto again = ParseDuration(FormatDuration(*duration));
    Require(again.ok() && *again == *duration);
  }
}

void Encodings(std::string_view text) {
  if (const auto bytes = HexDecode(text); Accepted(bytes.status())) {
    const auto again = HexDecode(HexEncode(*bytes));
    Require(again.ok() && *again == *bytes);
  }
  // One value, one text; but for the padding of the plain form.
  if (const auto bytes = Base64UrlDecode(text); Accepted(bytes.status())) {
    Require(Base64UrlEncode(*bytes) == text);
  }
  if (const auto bytes = Base64Decode(text); Accepted(bytes.status())) {
    Require(Base64Encode(*bytes).starts_with(text));
  }
  const auto decoded = http::PercentDecode(text);
  if (Accepted(decoded.status())) Require(decoded->size() <= text.size());
  if (const auto path = http::ParsePath(text); Accepted(path.status())) {
    Require(decoded.ok());
    for (const std::string& segment : *path) Require(segment.size() <= text.size());
  }
  if (const auto query = http::ParseQuery(text); Accepted(query.status())) {
    Require(decoded.ok());
    for (const auto& [name, value] : *query) Require(name.size() + value.size() <= text.size());
  }
}

void Addresses(std::string_view text) {
  if (const auto address = ParseHostPort(text); Accepted(address.status())) {
    Require(!address->host.empty());
    const std::string written = Concat("[", address->host, "]:", address->port);
    const auto again = ParseHostPort(written);
    Require(again.ok() && again->host == address->host && again->port == address->port);
  }
  for (const bool allow_private : {false, true}) {
    const auto url = notification::ParseWebhookUrl(std::string(text), allow_private);
    if (Accepted(url.status())) Require(url->scheme == "https" || allow_private);
  }
}

void PageToken(std::string_view text) {
  const auto position = sql::DecodePageToken(text, "filter");
  if (Accepted(position.status()) && position->has_value()) {
    const auto again = sql::DecodePageToken(sql::EncodePageToken(**position, "filter"), "filter");
    Require(again.ok() && again->has_value() && (*again)->number == (*position)->number &&
            (*again)->id == (*position)->id);
  }
}

void Tokens(std::string_view text) {
  PageToken(text);
  // Behind what every token of this filter begins with.
  static const std::string start = [] {
    const std::string whole = Base64UrlDecode(sql::EncodePageToken({0, "x"}, "filter")).value();
    return whole.substr(0, whole.size() - std::string_view("0/x").size());
  }();
  PageToken(Base64UrlEncode(start + std::string(text)));
  const auto context = telemetry::TraceContext::FromTraceparent(text, text);
  if (context.valid()) {
    const auto again = telemetry::TraceContext::FromTraceparent(context.ToTraceparent());
    Require(again.valid() && again.TraceIdHex() == context.TraceIdHex() &&
            again.SpanIdHex() == context.SpanIdHex() && again.sampled() == context.sampled());
  }
}

void Words(std::string_view text) {
  Require(Join(Split(text, ','), ",") == text);
  const std::string shortened = Shorten(text, 8);
  Require(text.size() <= 8 ? shortened == text : shortened.size() <= 8 + std::string("…").size());
  static_cast<void>(NearestName(text, Split(text, ' ')));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Times(text);
  Encodings(text);
  Addresses(text);
  Tokens(text);
  Words(text);
  return 0;
}
