#include "services/notification/deliverer.h"

#include <algorithm>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"
#include "services/notification/io.h"

namespace tocsin::notification {
namespace {

bool IsFinal(const v1::NotificationSent& sent) {
  return sent.outcome() == v1::OUTCOME_DELIVERED || sent.outcome() == v1::OUTCOME_FAILED;
}

std::string OutcomeText(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_DELIVERED:
      return "delivered";
    case v1::OUTCOME_RETRYING:
      return "retrying";
    default:
      return "failed";
  }
}

void Count(const RouteSpec& route, v1::Outcome outcome) {
  telemetry::GetCounter("tocsin_notification_attempts_total", "Attempts by route and outcome.",
                        {{"route", route.name}, {"outcome", OutcomeText(outcome)}})
      .Increment();
}

}  // namespace

Deliverer::Deliverer(HttpClient& http, NotificationStore& store, kafka::Producer& producer,
                     const Clock& clock, Pause pause, DelivererOptions options)
    : http_(http),
      store_(store),
      producer_(producer),
      clock_(clock),
      pause_(std::move(pause)),
      options_(options) {}

void Deliverer::Deliver(const RouteSpec& route, const incident::v1::Incident& incident,
                        const telemetry::TraceContext& parent, Done done) {
  if (!Wants(route, incident)) return done(absl::OkStatus());
  absl::StatusOr<std::optional<Notice>> notice;
  while (!(notice = NoticeOf(route, incident)).ok()) {
    telemetry::LogError("the database does not answer", {{"error", notice.status()}});
    if (pause_(options_.store_retry)) return done(absl::CancelledError("stopping"));
  }
  if (!notice->has_value()) return done(absl::OkStatus());
  const std::string& key = (*notice)->key;
  int attempt = 0;
  if (const auto& last = (*notice)->last; last.has_value()) {
    // A former run, or for a route that tells once a former revision, has come to an end. That it
    // has reached the topic, too, is known only when the offset was committed: say it again, under
    // the same id.
    if (IsFinal(*last)) return Publish(*last, parent, std::move(done));
    attempt = last->attempt();
  }

  Backoff backoff(options_.backoff, Murmur2(key));
  for (;;) {
    ++attempt;
    telemetry::Span span("POST", {.kind = telemetry::SpanKind::kClient, .parent = parent});
    span.SetAttribute("http.request.method", "POST");
    span.SetAttribute("url.full", route.target);
    span.SetAttribute("tocsin.route", route.name);
    span.SetAttribute(telemetry::kMessagingConversationId, incident.id());
    const auto response =
        http_.Post(MakeRequest(route, incident, key, span.context().ToTraceparent(), clock_.Now()),
                   [this] { return pause_(std::chrono::nanoseconds(0)); });
    if (response.status().code() == absl::StatusCode::kCancelled) return done(response.status());
    if (response.ok()) {
      span.SetAttribute("http.response.status_code", std::int64_t{response->status});
    }
    const Verdict verdict = Judge(response, attempt, route.max_attempts);
    if (verdict.outcome != v1::OUTCOME_DELIVERED) span.SetStatus(Unavailable(verdict.error));
    span.End();
    Count(route, verdict.outcome);

    const v1::NotificationSent sent = Record(route, incident, key, attempt, verdict, clock_.Now());
    if (const absl::Status kept = Keep(sent); !kept.ok()) return done(kept);
    if (IsFinal(sent)) {
      if (sent.outcome() == v1::OUTCOME_FAILED) {
        telemetry::LogError(
            "a notification was not delivered",
            {{"route", route.name}, {"incident", incident.id()}, {"error", sent.error()}});
      }
      return Publish(sent, parent, std::move(done));
    }
    Publish(sent, parent, [](const absl::Status&) {});
    const std::chrono::nanoseconds pause =
        std::max<std::chrono::nanoseconds>(backoff.Next(), verdict.pause);
    if (pause_(pause)) return done(absl::CancelledError("stopping"));
  }
}

absl::StatusOr<std::optional<Deliverer::Notice>> Deliverer::NoticeOf(
    const RouteSpec& route, const incident::v1::Incident& incident) {
  Notice next{.key = IdempotencyKey(route, incident), .last = std::nullopt};
  TOCSIN_ASSIGN_OR_RETURN(next.last, store_.Last(next.key));
  if (route.every_revision) return next;
  // What was told up to this revision, in order; where the log is read again, more may follow.
  std::optional<Notice> told;
  while (next.last.has_value() && next.last->incident_revision() <= incident.revision()) {
    const std::string following = FollowingKey(next.key);
    told = std::exchange(next, {.key = following, .last = std::nullopt});
    TOCSIN_ASSIGN_OR_RETURN(next.last, store_.Last(next.key));
  }
  if (!told.has_value()) {
    if (IsWithdrawn(incident)) return std::nullopt;
    return next;
  }
  return told->last->withdrawn() == IsWithdrawn(incident) ? told : next;
}

absl::Status Deliverer::Keep(const v1::NotificationSent& sent) {
  for (;;) {
    const absl::Status kept = store_.Add(sent);
    if (kept.ok()) return kept;
    telemetry::LogError("the outcome of a notification cannot be stored yet", {{"error", kept}});
    if (pause_(options_.store_retry)) return absl::CancelledError("stopping");
  }
}

void Deliverer::Publish(const v1::NotificationSent& sent, const telemetry::TraceContext& parent,
                        const Done& done) {
  auto span = std::make_shared<telemetry::Span>(
      Concat("send ", kSentTopic),
      telemetry::SpanOptions{.kind = telemetry::SpanKind::kProducer, .parent = parent});
  span->SetAttribute(telemetry::kMessagingSystem, "kafka");
  span->SetAttribute(telemetry::kMessagingOperationName, "send");
  span->SetAttribute(telemetry::kMessagingOperationType, "send");
  span->SetAttribute(telemetry::kMessagingDestination, kSentTopic);
  span->SetAttribute(telemetry::kMessagingConversationId, sent.incident_id());
  const WallTime time = WallTime(std::chrono::seconds(sent.time().seconds()) +
                                 std::chrono::microseconds(sent.time().nanos() / 1000));
  for (;;) {
    const absl::Status taken = producer_.Produce(
        topic_->Encode(sent, {.id = Concat(sent.idempotency_key(), "/", sent.attempt()),
                              .key = sent.incident_id(),
                              .time = time,
                              .subject = sent.incident_id(),
                              .recorded_time = time,
                              .origin_traceparent = parent.ToTraceparent(),
                              .traceparent = span->context().ToTraceparent(),
                              .tracestate = span->context().tracestate()}),
        [span, done](const absl::StatusOr<kafka::Delivered>& outcome) {
          span->SetStatus(outcome.status());
          span->End();
          done(outcome.status());
        });
    if (taken.ok()) return;
    if (taken.code() != absl::StatusCode::kResourceExhausted) return done(taken);
    if (pause_(options_.store_retry)) return done(absl::CancelledError("stopping"));
  }
}

}  // namespace tocsin::notification
