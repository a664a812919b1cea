// Tells one route of one revision: attempts, pauses, records. Blocks its thread while it does.
//
// A route that tells each incident once also tells those whom it has told when it is withdrawn, and
// when it is there again after that.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/events/own_topic.h"
#include "lib/kafka/producer.h"
#include "lib/telemetry/trace.h"
#include "services/notification/http_client.h"
#include "services/notification/notification_core.h"
#include "services/notification/notification_store.h"

namespace tocsin::notification {

struct DelivererOptions {
  BackoffOptions backoff{.initial = std::chrono::seconds(1), .maximum = std::chrono::seconds(60)};
  // Between attempts to write to the database while it does not answer.
  std::chrono::milliseconds store_retry{1'000};
};

// Thread-safe.
class Deliverer {
 public:
  // Waits for `pause`; true as soon as the process is stopping.
  using Pause = std::function<bool(std::chrono::nanoseconds pause)>;

  // All borrowed, and to outlive the deliverer.
  Deliverer(HttpClient& http, NotificationStore& store, kafka::Producer& producer,
            const Clock& clock, Pause pause, DelivererOptions options = {});

  // Before the first Deliver: where outcomes are written to.
  void SetTopic(events::OwnTopic topic) { topic_ = std::move(topic); }

  // `done` is called once, from any thread: OK, the final outcome lies in the database and in
  // notification.sent, or there was nothing to tell. CANCELLED: the process stops, nothing final
  // is known. UNAVAILABLE / ABORTED: the outcome could not be written to Kafka.
  using Done = std::function<void(const absl::Status&)>;
  void Deliver(const RouteSpec& route, const incident::v1::Incident& incident,
               const telemetry::TraceContext& parent, Done done);

 private:
  // One notification, of however many attempts.
  struct Notice {
    std::string key;
    // The last attempt so far.
    std::optional<v1::NotificationSent> last;
  };
  // What this revision has to tell; nullopt: nothing, whatever was told before.
  absl::StatusOr<std::optional<Notice>> NoticeOf(const RouteSpec& route,
                                                 const incident::v1::Incident& incident);
  absl::Status Keep(const v1::NotificationSent& sent);
  void Publish(const v1::NotificationSent& sent, const telemetry::TraceContext& parent,
               const Done& done);

  HttpClient& http_;
  NotificationStore& store_;
  kafka::Producer& producer_;
  const Clock& clock_;
  const Pause pause_;
  const DelivererOptions options_;
  std::optional<events::OwnTopic> topic_;
};

}  // namespace tocsin::notification
