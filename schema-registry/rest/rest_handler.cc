#include "schema-registry/rest/rest_handler.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/text.h"
#include "lib/http/buffered.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/trace.h"
#include "schema-registry/rest/routes.h"

namespace tocsin::registry {
namespace {

telemetry::Span StartSpan(std::string_view method, std::string_view path,
                          const http::Headers& headers) {
  telemetry::SpanOptions options;
  options.kind = telemetry::SpanKind::kServer;
  options.parent = telemetry::TraceContext::FromTraceparent(headers.Get("traceparent").value_or(""),
                                                            headers.Get("tracestate").value_or(""));
  telemetry::Span span(Concat(method, " schema registry"), options);
  span.SetAttribute("http.request.method", method);
  span.SetAttribute("url.path", path);
  return span;
}

// A list has no length that is known before it is made: about twice as long as the texts in it,
// which are 4 MiB at most.
constexpr std::size_t kListBytes = std::size_t{8} << 20;

// What an answer is expected to take at most, but for those of single schemas, which are no longer
// than what is kept of them.
std::size_t Expected(const http::Request& request) {
  constexpr std::size_t kBesideTheText = std::size_t{4} << 10;
  // Answered with what was sent, or less.
  if (request.method != "GET") return request.body.size() + kBesideTheText;
  const std::string_view path = request.path;
  const std::string_view last = path.substr(path.rfind('/') + 1);
  return last == "schemas" || last == "subjects" ? kListBytes : kBesideTheText;
}

bool IsChange(const http::Request& request) {
  auto segments = http::ParsePath(request.path);
  if (!segments.ok()) return false;
  const RoutedPath path = RoutePath(*std::move(segments));
  const Route* route = FindRoute(request.method, path.segments).route;
  return route != nullptr && route->role != auth::Role::ROLE_UNSPECIFIED &&
         route->role != auth::Role::ROLE_SCHEMA_READ;
}

http::Response NoRoom() {
  return RestApi::Refuse(
      ErrorCode::kBusy,
      "too many answers wait for clients to read them, and there is no memory for one more; ask "
      "again in a second, for a shorter list with the parameters offset and limit");
}

class RestHandler final : public http::Handler {
 public:
  RestHandler(const RestApi& api, const Clock& clock, RestHandlerOptions options)
      : api_(api),
        clock_(clock),
        answers_(options.answers),
        buffered_(
            http::MakeBuffered([this](const http::Request& request,
                                      const http::Responder& respond) { Serve(request, respond); },
                               Buffered(options))) {}

  void Handle(std::shared_ptr<http::Exchange> exchange) override {
    const SteadyTime begin = clock_.SteadyNow();
    const http::RequestHead& request = exchange->request();
    auto ready = api_.FromMemory(request);
    if (!ready) return buffered_->Handle(std::move(exchange));
    auto room = answers_.Take(ready->body->size());
    // Where there may be some a moment later.
    if (room == nullptr) return buffered_->Handle(std::move(exchange));
    http::ResponseHead head;
    head.headers.Add("content-type", ready->content_type);
    head.headers.Add("cache-control", "no-store");
    head.headers.Add("content-length", std::to_string(ready->body->size()));
    if (request.headers.Get("traceparent")) {
      telemetry::Span span = StartSpan(request.method, request.path(), request.headers);
      span.SetAttribute("http.response.status_code", std::int64_t{head.status});
    }
    exchange->SendHead(std::move(head));
    const std::string_view bytes = *ready->body;
    using Kept = std::pair<std::shared_ptr<const std::string>, std::shared_ptr<const void>>;
    exchange->Write({http::Slice(
        std::make_shared<const Kept>(std::move(ready->body), std::move(room)), bytes)});
    exchange->Finish();
    Observe(begin);
  }

 private:
  static http::BufferedOptions Buffered(const RestHandlerOptions& options) {
    http::BufferedOptions buffered;
    buffered.max_body = options.max_body;
    buffered.worker_threads = options.worker_threads;
    buffered.max_queue = options.max_queue;
    buffered.refuse = [](http::Refusal refusal, std::string_view message) {
      switch (refusal) {
        case http::Refusal::kTooLarge:
          return RestApi::Refuse(ErrorCode::kTooLarge, message);
        case http::Refusal::kTimeout:
          return RestApi::Refuse(ErrorCode::kRequestTimeout, message);
        case http::Refusal::kBusy:
          return RestApi::Refuse(ErrorCode::kBusy, message);
        case http::Refusal::kBroken:
          break;
      }
      return RestApi::Refuse(ErrorCode::kBadRequest, message);
    };
    return buffered;
  }

  void Serve(const http::Request& request, const http::Responder& respond) {
    const SteadyTime begin = clock_.SteadyNow();
    telemetry::Span span = StartSpan(request.method, request.path, request.headers);
    const telemetry::ScopedCurrent current(span);
    http::Response response = Answer(request);
    span.SetAttribute("http.response.status_code", std::int64_t{response.status});
    Observe(begin);
    respond(std::move(response));
  }

  http::Response Answer(const http::Request& request) {
    // Before anything is done, so that nobody hears of a change that it was refused.
    auto room = answers_.TakeOrWait(Expected(request));
    if (room == nullptr) return NoRoom();
    http::Response response = api_.Handle(request);
    // What a string holds beyond its text is held as long.
    response.body.shrink_to_fit();
    const bool must = response.status < 300 && IsChange(request);
    if (!room->Resize(response.body.size(), must)) return NoRoom();
    response.held = std::move(room);
    return response;
  }

  void Observe(SteadyTime begin) const {
    duration_.Observe(std::chrono::duration<double>(clock_.SteadyNow() - begin).count());
  }

  const RestApi& api_;
  const Clock& clock_;
  const telemetry::Histogram duration_ = telemetry::GetHistogram(
      "tocsin_schema_registry_rest_seconds", "Time to answer a request of the REST interface.");
  AnswerMemory answers_;
  // The last, so that its workers end first.
  const std::shared_ptr<http::Handler> buffered_;
};

}  // namespace

std::shared_ptr<http::Handler> MakeRestHandler(const RestApi& api, const Clock& clock,
                                               RestHandlerOptions options) {
  return std::make_shared<RestHandler>(api, clock, options);
}

}  // namespace tocsin::registry
