// What notification decides: who is told of which revision, what is sent, whether to try again.
// Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "services/notification/http_client.h"
#include "tocsin/incident/v1/incident.pb.h"
#include "tocsin/notification/v1/config.pb.h"
#include "tocsin/notification/v1/notification.pb.h"

namespace tocsin::notification {

struct RouteSpec {
  std::string name;
  std::string url;
  // For people: without query.
  std::string target;
  event::v1::Severity min_severity = event::v1::SEVERITY_INFO;
  // Else once for each incident.
  bool every_revision = false;
  std::set<std::string, std::less<>> rule_ids;
  std::chrono::milliseconds timeout{10'000};
  int max_attempts = 8;
  // The bytes of the key; empty: not signed.
  std::string secret;
  bool allow_private = false;
};

// `secret` is the text of the key: with the prefix "whsec_" the rest is base64, as the Standard
// Webhooks specification has it; otherwise its bytes are the key. INVALID_ARGUMENT names the key of
// the configuration.
absl::StatusOr<RouteSpec> MakeRoute(const v1::Route& route, std::string_view secret);

// INVALID_ARGUMENT: two routes of one name.
absl::Status CheckRoutes(const std::vector<RouteSpec>& routes);

// Late events have left it without detections.
bool IsWithdrawn(const incident::v1::Incident& incident);

// Is this revision one that the route tells, as far as the revision itself says? (A route that
// tells an incident once must not have told it before; that it is withdrawn is told where it was.)
bool Wants(const RouteSpec& route, const incident::v1::Incident& incident);

// The same on every attempt: for one (route, incident, revision), or for one (route, incident)
// where an incident is told once.
std::string IdempotencyKey(const RouteSpec& route, const incident::v1::Incident& incident);
// Where an incident is told once: of what is told after that which has this key. It is withdrawn,
// is there again, is withdrawn, and so on.
std::string FollowingKey(std::string_view key);

// What a revision says, in a sentence or two for people.
std::string Summary(const incident::v1::Incident& incident);

// The request of one attempt: the incident as a CloudEvent in JSON, signed where there is a secret.
// Its attribute `summary` is text for people; `withdrawn` is there, and true, where it is that.
// `traceparent` may be empty.
HttpRequest MakeRequest(const RouteSpec& route, const incident::v1::Incident& incident,
                        std::string_view idempotency_key, std::string_view traceparent,
                        WallTime now);

// "v1,<base64>": HMAC-SHA256 over "<id>.<seconds>.<body>" (Standard Webhooks).
std::string Sign(std::string_view secret, std::string_view id, std::int64_t seconds,
                 std::string_view body);

struct Verdict {
  v1::Outcome outcome = v1::OUTCOME_UNSPECIFIED;
  // For people; empty when delivered.
  std::string error;
  // Not before; zero: as the back-off says.
  std::chrono::seconds pause{0};
};

// `attempt` counts from 1.
Verdict Judge(const absl::StatusOr<HttpResponse>& response, int attempt, int max_attempts);

// What is recorded of the attempt.
v1::NotificationSent Record(const RouteSpec& route, const incident::v1::Incident& incident,
                            std::string_view idempotency_key, int attempt, const Verdict& verdict,
                            WallTime now);

}  // namespace tocsin::notification
