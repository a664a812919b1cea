// For the tests of notification: a receiver that answers as told, a route to it, incidents.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/events/own_topic.h"
#include "services/notification/http_client.h"
#include "services/notification/notification_core.h"

namespace tocsin::notification {

// Thread-safe.
class FakeHttp final : public HttpClient {
 public:
  absl::StatusOr<HttpResponse> Post(const HttpRequest& request,
                                    const std::function<bool()>& stopping) override {
    MutexLock lock(mutex_);
    requests_.push_back(request);
    changed_.NotifyAll();
    if (on_post_) on_post_(static_cast<int>(requests_.size()));
    while (hanging_ == request.url && !stopping()) {
      changed_.WaitFor(mutex_, std::chrono::milliseconds(5));
    }
    if (stopping() && hanging_ == request.url) return absl::CancelledError("stopping");
    if (!next_.empty()) {
      auto answer = std::move(next_.front());
      next_.pop_front();
      return answer;
    }
    return always_;
  }

  void AnswerNext(std::vector<absl::StatusOr<HttpResponse>> answers) {
    MutexLock lock(mutex_);
    next_.assign(answers.begin(), answers.end());
  }
  void AnswerAlways(absl::StatusOr<HttpResponse> answer) {
    MutexLock lock(mutex_);
    always_ = std::move(answer);
  }
  // Requests to this URL are not answered; empty: to none.
  void Hang(const std::string& url) {
    MutexLock lock(mutex_);
    hanging_ = url;
    changed_.NotifyAll();
  }
  // Called with the number of the request, under a lock.
  void OnPost(std::function<void(int)> told) {
    MutexLock lock(mutex_);
    on_post_ = std::move(told);
  }
  std::vector<HttpRequest> requests() const {
    MutexLock lock(mutex_);
    return requests_;
  }
  // Waits until there are so many, at most 10 s.
  std::vector<HttpRequest> Await(std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    MutexLock lock(mutex_);
    while (requests_.size() < count && std::chrono::steady_clock::now() < end) {
      changed_.WaitFor(mutex_, std::chrono::milliseconds(50));
    }
    return requests_;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<HttpRequest> requests_ ABSL_GUARDED_BY(mutex_);
  std::deque<absl::StatusOr<HttpResponse>> next_ ABSL_GUARDED_BY(mutex_);
  absl::StatusOr<HttpResponse> always_ ABSL_GUARDED_BY(mutex_) = HttpResponse{.status = 200};
  std::string hanging_ ABSL_GUARDED_BY(mutex_);
  std::function<void(int)> on_post_ ABSL_GUARDED_BY(mutex_);
};

inline std::string Key(const HttpRequest& request) {
  for (const auto& [name, value] : request.headers) {
    if (name == "Idempotency-Key") return value;
  }
  return "";
}

inline RouteSpec TestRoute(const std::string& name = "duty") {
  RouteSpec route;
  route.name = name;
  route.url = "https://hooks.example.com/" + name;
  route.target = "hooks.example.com/" + name;
  return route;
}

inline incident::v1::Incident TestIncident(const std::string& id, std::int64_t revision) {
  incident::v1::Incident incident;
  incident.set_id(id);
  incident.set_revision(revision);
  incident.set_rule_id("r");
  incident.set_severity(event::v1::SEVERITY_HIGH);
  return incident;
}

inline events::OwnTopic SentTopic() {
  return {"notification.sent",
          v1::NotificationSent::descriptor(),
          "/tocsin/notification",
          {.id = schema::SchemaId(9), .message_indexes = {0}}};
}

}  // namespace tocsin::notification
