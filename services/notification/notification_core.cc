#include "services/notification/notification_core.h"

#include <google/protobuf/util/json_util.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::notification {
namespace {

constexpr std::string_view kStandardPrefix = "whsec_";
constexpr int kMaxAttempts = 100;
constexpr std::chrono::seconds kLongestRetryAfter{300};
// Of a group key in a text for people.
constexpr std::size_t kLongestKey = 200;

event::v1::Severity AtLeastInfo(event::v1::Severity severity) {
  return std::max(severity, event::v1::SEVERITY_INFO);
}

std::string SeverityText(event::v1::Severity severity) {
  const std::string name = event::v1::Severity_Name(AtLeastInfo(severity));
  return name.substr(name.find('_') + 1);
}

std::string Body(const incident::v1::Incident& incident, std::string_view traceparent) {
  std::string data;
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = false;
  // Fails for an Any of an unknown type alone, of which there is none.
  if (!google::protobuf::util::MessageToJsonString(incident, &data, options).ok()) data = "{}";
  nlohmann::ordered_json event;
  event["specversion"] = "1.0";
  event["id"] = Concat(incident.id(), "/", incident.revision());
  event["source"] = "/tocsin/correlation";
  event["type"] = incident.GetTypeName();
  event["time"] = FormatTime(
      WallTime(std::chrono::seconds(incident.last_detection_time().seconds()) +
               std::chrono::microseconds(incident.last_detection_time().nanos() / 1000)));
  event["subject"] = incident.id();
  event["severitytext"] = SeverityText(incident.severity());
  event["summary"] = Summary(incident);
  if (IsWithdrawn(incident)) event["withdrawn"] = true;
  if (!traceparent.empty()) event["traceparent"] = std::string(traceparent);
  event["datacontenttype"] = "application/json";
  event["data"] = nlohmann::ordered_json::parse(data, nullptr, /*allow_exceptions=*/false);
  return event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<RouteSpec> MakeRoute(const v1::Route& route, std::string_view secret) {
  const auto refuse = [&](std::string_view what) {
    return InvalidArgument(Concat("routes: '", route.name(), "': ", what));
  };
  if (route.name().empty() || route.name().size() > 100) {
    return InvalidArgument("routes: each needs a name of at most 100 bytes");
  }
  const v1::Webhook& webhook = route.webhook();
  if (webhook.url().empty()) return refuse("webhook.url is missing");
  const auto url = ParseWebhookUrl(webhook.url(), webhook.allow_private());
  if (!url.ok()) return refuse(Concat("webhook.url: ", Message(url.status())));

  RouteSpec spec;
  spec.name = route.name();
  spec.url = webhook.url();
  spec.target = url->target;
  spec.min_severity = AtLeastInfo(route.min_severity());
  spec.every_revision = route.on() == v1::NOTIFY_ON_EVERY_REVISION;
  spec.rule_ids = {route.rule_ids().begin(), route.rule_ids().end()};
  spec.allow_private = webhook.allow_private();
  if (webhook.has_timeout()) {
    spec.timeout = std::chrono::seconds(webhook.timeout().seconds()) +
                   std::chrono::milliseconds(webhook.timeout().nanos() / 1'000'000);
    if (spec.timeout < std::chrono::milliseconds(1) || spec.timeout > std::chrono::minutes(1)) {
      return refuse("webhook.timeout must be between 1ms and 1m");
    }
  }
  if (webhook.max_attempts() < 0 || webhook.max_attempts() > kMaxAttempts) {
    return refuse(Concat("webhook.max_attempts must be between 1 and ", kMaxAttempts));
  }
  if (webhook.max_attempts() > 0) spec.max_attempts = webhook.max_attempts();
  if (secret.starts_with(kStandardPrefix)) {
    const auto decoded = Base64Decode(secret.substr(kStandardPrefix.size()));
    if (!decoded.ok() || decoded->empty()) {
      return refuse("the secret begins with whsec_, but what follows is not base64");
    }
    spec.secret = *decoded;
  } else {
    spec.secret = std::string(secret);
  }
  return spec;
}

absl::Status CheckRoutes(const std::vector<RouteSpec>& routes) {
  std::set<std::string_view> names;
  for (const RouteSpec& route : routes) {
    if (!names.insert(route.name).second) {
      return InvalidArgument(Concat("routes: two are named '", route.name, "'"));
    }
  }
  return absl::OkStatus();
}

bool IsWithdrawn(const incident::v1::Incident& incident) {
  return incident.corrected() && incident.detection_count() == 0;
}

bool Wants(const RouteSpec& route, const incident::v1::Incident& incident) {
  // Whoever was told of it hears it, whatever the route takes by now.
  if (IsWithdrawn(incident) && !route.every_revision) return true;
  return AtLeastInfo(incident.severity()) >= route.min_severity &&
         (route.rule_ids.empty() || route.rule_ids.contains(incident.rule_id()));
}

std::string IdempotencyKey(const RouteSpec& route, const incident::v1::Incident& incident) {
  const std::string revision =
      route.every_revision ? std::to_string(incident.revision()) : std::string("once");
  const std::array<std::string_view, 3> parts = {route.name, incident.id(), revision};
  return StableId(parts);
}

std::string FollowingKey(std::string_view key) {
  const std::array<std::string_view, 2> parts = {"after", key};
  return StableId(parts);
}

std::string Summary(const incident::v1::Incident& incident) {
  const std::string what = Concat(
      incident.title(), " (",
      Shorten(Join({incident.group_key().begin(), incident.group_key().end()}, " / "), kLongestKey),
      ")");
  if (IsWithdrawn(incident)) {
    return Concat("Withdrawn: ", what,
                  ". Events that came late have shown that there was no such incident. What was "
                  "begun because of it should be looked at again.");
  }
  return Concat(what, ": ", incident.detection_count(),
                incident.detection_count() == 1 ? " detection" : " detections",
                incident.corrected() ? ", corrected after events that came late." : ".");
}

HttpRequest MakeRequest(const RouteSpec& route, const incident::v1::Incident& incident,
                        std::string_view idempotency_key, std::string_view traceparent,
                        WallTime now) {
  HttpRequest request;
  request.url = route.url;
  request.timeout = route.timeout;
  request.allow_private = route.allow_private;
  request.body = Body(incident, traceparent);
  const std::string key(idempotency_key);
  request.headers = {{"Content-Type", "application/cloudevents+json"},
                     {"User-Agent", "tocsin"},
                     {"Idempotency-Key", key}};
  if (!traceparent.empty()) request.headers.emplace_back("traceparent", traceparent);
  if (!route.secret.empty()) {
    const std::int64_t seconds =
        std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    request.headers.emplace_back("webhook-id", key);
    request.headers.emplace_back("webhook-timestamp", std::to_string(seconds));
    request.headers.emplace_back("webhook-signature",
                                 Sign(route.secret, key, seconds, request.body));
  }
  return request;
}

std::string Sign(std::string_view secret, std::string_view id, std::int64_t seconds,
                 std::string_view body) {
  const std::string text = Concat(id, ".", seconds, ".", body);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length);
  return Concat("v1,", Base64Encode({reinterpret_cast<const char*>(digest.data()), length}));
}

Verdict Judge(const absl::StatusOr<HttpResponse>& response, int attempt, int max_attempts) {
  Verdict verdict;
  bool again = false;
  if (response.ok()) {
    const int status = response->status;
    if (status >= 200 && status < 300) {
      verdict.outcome = v1::OUTCOME_DELIVERED;
      return verdict;
    }
    again = status == 408 || status == 425 || status == 429 || status >= 500;
    verdict.pause = std::min(response->retry_after, kLongestRetryAfter);
    verdict.error = Concat("the receiver answered ", status);
    if (status >= 300 && status < 400) {
      verdict.error += "; redirects are not followed, put the final address into the route";
    } else if (!response->body.empty()) {
      verdict.error += Concat(": ", std::string_view(response->body).substr(0, 200));
    }
  } else {
    again = IsRetryable(response.status());
    verdict.error = std::string(Message(response.status()));
  }
  if (again && attempt < max_attempts) {
    verdict.outcome = v1::OUTCOME_RETRYING;
  } else {
    verdict.outcome = v1::OUTCOME_FAILED;
    if (again) verdict.error += Concat("; given up after ", attempt, " attempts");
  }
  return verdict;
}

v1::NotificationSent Record(const RouteSpec& route, const incident::v1::Incident& incident,
                            std::string_view idempotency_key, int attempt, const Verdict& verdict,
                            WallTime now) {
  v1::NotificationSent sent;
  sent.set_idempotency_key(std::string(idempotency_key));
  sent.set_incident_id(incident.id());
  sent.set_incident_revision(incident.revision());
  sent.set_withdrawn(IsWithdrawn(incident));
  sent.set_route(route.name);
  sent.set_channel("webhook");
  sent.set_target(route.target);
  sent.set_outcome(verdict.outcome);
  sent.set_attempt(attempt);
  // The receiver's words may be any bytes; a string field holds UTF-8.
  std::string error;
  for (const char c : verdict.error) {
    const auto byte = static_cast<unsigned char>(c);
    error.push_back(byte < 0x20 || byte >= 0x7f ? '?' : c);
  }
  sent.set_error(std::move(error));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch());
  sent.mutable_time()->set_seconds(seconds.count());
  sent.mutable_time()->set_nanos(static_cast<std::int32_t>(
      std::chrono::nanoseconds(now.time_since_epoch() - seconds).count()));
  return sent;
}

}  // namespace tocsin::notification
