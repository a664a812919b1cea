#include "services/notification/notification_core.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/time.h"
#include "services/notification/offset_tracker.h"

namespace tocsin::notification {
namespace {
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

v1::Route RouteConfig() {
  v1::Route route;
  route.set_name("duty");
  route.mutable_webhook()->set_url("https://hooks.example.com/duty?token=t");
  return route;
}

incident::v1::Incident TestIncident(event::v1::Severity severity = event::v1::SEVERITY_HIGH,
                                    std::int64_t revision = 1) {
  incident::v1::Incident incident;
  incident.set_id("i1");
  incident.set_revision(revision);
  incident.set_rule_id("repeat-location");
  incident.set_title("Repeated \"calls\"");
  incident.set_severity(severity);
  incident.mutable_last_detection_time()->set_seconds(1'452'859'260);
  return incident;
}

TEST(RouteTest, Defaults) {
  const auto route = MakeRoute(RouteConfig(), "");
  ASSERT_THAT(route, IsOk());
  EXPECT_EQ(route->target, "hooks.example.com/duty");
  EXPECT_EQ(route->timeout, std::chrono::seconds(10));
  EXPECT_EQ(route->max_attempts, 8);
  EXPECT_FALSE(route->every_revision);
  EXPECT_EQ(route->secret, "");
}

TEST(RouteTest, RefusesWhatMakesNoSense) {
  struct Case {
    const char* name;
    std::function<void(v1::Route&)> change;
    const char* message;
  };
  for (const Case& c : {
           Case{"name", [](auto& r) { r.clear_name(); }, "needs a name"},
           Case{"url", [](auto& r) { r.mutable_webhook()->clear_url(); }, "webhook.url is missing"},
           Case{"http", [](auto& r) { r.mutable_webhook()->set_url("http://x.org/"); },
                "'duty': webhook.url: http sends incidents in the clear"},
           Case{"timeout", [](auto& r) { r.mutable_webhook()->mutable_timeout()->set_seconds(61); },
                "between 1ms and 1m"},
           Case{"attempts", [](auto& r) { r.mutable_webhook()->set_max_attempts(-1); },
                "max_attempts"},
       }) {
    v1::Route route = RouteConfig();
    c.change(route);
    EXPECT_THAT(MakeRoute(route, ""),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.name;
  }
  EXPECT_THAT(MakeRoute(RouteConfig(), "whsec_?"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not base64")));
  EXPECT_THAT(CheckRoutes({*MakeRoute(RouteConfig(), ""), *MakeRoute(RouteConfig(), "")}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two are named 'duty'")));
}

TEST(RouteTest, WantsBySeverityAndRule) {
  v1::Route config = RouteConfig();
  config.set_min_severity(event::v1::SEVERITY_MEDIUM);
  config.add_rule_ids("repeat-location");
  const RouteSpec route = *MakeRoute(config, "");
  EXPECT_TRUE(Wants(route, TestIncident(event::v1::SEVERITY_MEDIUM)));
  EXPECT_FALSE(Wants(route, TestIncident(event::v1::SEVERITY_LOW)));
  EXPECT_FALSE(Wants(route, TestIncident(event::v1::SEVERITY_UNSPECIFIED)));
  incident::v1::Incident other = TestIncident();
  other.set_rule_id("multi-agency");
  EXPECT_FALSE(Wants(route, other));
  EXPECT_TRUE(Wants(*MakeRoute(RouteConfig(), ""), TestIncident(event::v1::SEVERITY_UNSPECIFIED)));
}

TEST(KeyTest, IsTheSameForWhatIsToldOnce) {
  RouteSpec route = *MakeRoute(RouteConfig(), "");
  const auto key = [&](std::int64_t revision) {
    return IdempotencyKey(route, TestIncident(event::v1::SEVERITY_HIGH, revision));
  };
  EXPECT_EQ(key(1), key(2));
  route.every_revision = true;
  EXPECT_NE(key(1), key(2));
  const std::string before = key(1);
  EXPECT_EQ(key(1), before);
  route.name = "other";
  EXPECT_NE(key(1), before);
}

TEST(RequestTest, IsAStructuredCloudEvent) {
  const RouteSpec route = *MakeRoute(RouteConfig(), "");
  const HttpRequest request = MakeRequest(route, TestIncident(), "key", "00-trace", WallTime());
  EXPECT_EQ(request.url, "https://hooks.example.com/duty?token=t");
  EXPECT_THAT(request.headers, AllOf(Contains(Pair("Idempotency-Key", "key")),
                                     Contains(Pair("traceparent", "00-trace")),
                                     Contains(Pair("Content-Type", "application/cloudevents+json")),
                                     Not(Contains(Key("webhook-signature")))));
  const auto body = nlohmann::json::parse(request.body);
  EXPECT_EQ(body["specversion"], "1.0");
  EXPECT_EQ(body["id"], "i1/1");
  EXPECT_EQ(body["type"], "tocsin.incident.v1.Incident");
  EXPECT_EQ(body["time"], "2016-01-15T12:01:00Z");
  EXPECT_EQ(body["subject"], "i1");
  EXPECT_EQ(body["severitytext"], "HIGH");
  EXPECT_EQ(body["data"]["title"], "Repeated \"calls\"");
  EXPECT_EQ(body["data"]["ruleId"], "repeat-location");
}

// The example of the Standard Webhooks specification.
TEST(RequestTest, SaysWhatHasHappenedInWords) {
  const RouteSpec route = *MakeRoute(RouteConfig(), "");
  incident::v1::Incident incident = TestIncident();
  incident.add_group_key("40.1");
  incident.add_group_key("-75.2");
  incident.set_detection_count(1);
  const auto body = [&] {
    return nlohmann::json::parse(MakeRequest(route, incident, "key", "", WallTime()).body);
  };
  EXPECT_EQ(body()["summary"], "Repeated \"calls\" (40.1 / -75.2): 1 detection.");
  EXPECT_FALSE(body().contains("withdrawn"));
  incident.set_detection_count(2);
  incident.set_corrected(true);
  EXPECT_EQ(body()["summary"],
            "Repeated \"calls\" (40.1 / -75.2): 2 detections, corrected after events that came "
            "late.");
  EXPECT_FALSE(body().contains("withdrawn"));
  incident.set_detection_count(0);
  EXPECT_EQ(body()["withdrawn"], true);
  EXPECT_THAT(std::string(body()["summary"]),
              HasSubstr("Withdrawn: Repeated \"calls\" (40.1 / -75.2). Events that came late"));
  incident.set_group_key(0, std::string(5'000, 'x'));
  EXPECT_LT(std::string(body()["summary"]).size(), 500U);
}

TEST(SignatureTest, IsThatOfStandardWebhooks) {
  const RouteSpec route = *MakeRoute(RouteConfig(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_EQ(
      Sign(route.secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1'614'265'330, "{\"test\": 2432232314}"),
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(SignatureTest, StandsInTheHeadersWithItsTime) {
  const RouteSpec route = *MakeRoute(RouteConfig(), "any text");
  const HttpRequest request =
      MakeRequest(route, TestIncident(), "key", "", *ParseTime("2016-01-15T12:01:00.9Z"));
  EXPECT_THAT(
      request.headers,
      AllOf(
          Contains(Pair("webhook-id", "key")), Contains(Pair("webhook-timestamp", "1452859260")),
          Contains(Pair("webhook-signature", Sign("any text", "key", 1'452'859'260, request.body))),
          Not(Contains(Key("traceparent")))));
}

TEST(JudgeTest, Verdicts) {
  struct Case {
    absl::StatusOr<HttpResponse> response;
    int attempt;
    v1::Outcome outcome;
    const char* error;
  };
  const auto status = [](int code) { return HttpResponse{.status = code, .body = "words"}; };
  for (const Case& c : {
           Case{status(200), 1, v1::OUTCOME_DELIVERED, ""},
           Case{status(204), 3, v1::OUTCOME_DELIVERED, ""},
           Case{status(500), 1, v1::OUTCOME_RETRYING, "answered 500: words"},
           Case{status(429), 1, v1::OUTCOME_RETRYING, "answered 429"},
           Case{status(408), 1, v1::OUTCOME_RETRYING, "answered 408"},
           Case{status(503), 3, v1::OUTCOME_FAILED,
                "answered 503: words; given up after 3 attempts"},
           Case{status(400), 1, v1::OUTCOME_FAILED, "answered 400"},
           Case{status(404), 1, v1::OUTCOME_FAILED, "answered 404"},
           Case{status(301), 1, v1::OUTCOME_FAILED, "redirects are not followed"},
           Case{absl::UnavailableError("refused"), 1, v1::OUTCOME_RETRYING, "refused"},
           Case{absl::DeadlineExceededError("slow"), 3, v1::OUTCOME_FAILED, "slow; given up"},
           Case{absl::PermissionDeniedError("private"), 1, v1::OUTCOME_FAILED, "private"},
       }) {
    const Verdict verdict = Judge(c.response, c.attempt, 3);
    EXPECT_EQ(verdict.outcome, c.outcome) << c.error;
    EXPECT_THAT(verdict.error, HasSubstr(c.error));
    EXPECT_EQ(verdict.error.empty(), c.outcome == v1::OUTCOME_DELIVERED);
  }
}

TEST(JudgeTest, HeedsRetryAfterWithinReason) {
  EXPECT_EQ(Judge(HttpResponse{.status = 429, .retry_after = std::chrono::seconds(7)}, 1, 3).pause,
            std::chrono::seconds(7));
  EXPECT_EQ(Judge(HttpResponse{.status = 429, .retry_after = std::chrono::hours(7)}, 1, 3).pause,
            std::chrono::seconds(300));
}

TEST(RecordTest, KeepsNoSecretsAndNoForeignBytes) {
  const RouteSpec route = *MakeRoute(RouteConfig(), "s");
  const v1::NotificationSent sent =
      Record(route, TestIncident(), "key", 2,
             {.outcome = v1::OUTCOME_FAILED, .error = "bad\n\xff answer"}, WallTime());
  EXPECT_EQ(sent.target(), "hooks.example.com/duty");
  EXPECT_EQ(sent.error(), "bad?? answer");
  EXPECT_EQ(sent.attempt(), 2);
  EXPECT_EQ(sent.channel(), "webhook");
}

TEST(OffsetTrackerTest, NeverPassesWhatIsUnderWay) {
  OffsetTracker tracker;
  EXPECT_THAT(tracker.Next(), Eq(std::nullopt));
  tracker.Begin(5, 2);
  tracker.Begin(6, 0);
  tracker.Begin(9, 1);
  EXPECT_THAT(tracker.Next(), Eq(5));
  tracker.Committed(5);
  EXPECT_THAT(tracker.Next(), Eq(std::nullopt));
  tracker.End(5);
  tracker.End(9);
  EXPECT_THAT(tracker.Next(), Eq(std::nullopt));
  tracker.End(5);
  EXPECT_THAT(tracker.Next(), Eq(10));
}

}  // namespace
}  // namespace tocsin::notification
