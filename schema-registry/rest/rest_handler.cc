#include "schema-registry/rest/rest_handler.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/text.h"
#include "lib/http/buffered.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/trace.h"

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

class RestHandler final : public http::Handler {
 public:
  RestHandler(const RestApi& api, const Clock& clock, RestHandlerOptions options)
      : api_(api),
        clock_(clock),
        buffered_(
            http::MakeBuffered([this](const http::Request& request,
                                      const http::Responder& respond) { Serve(request, respond); },
                               Buffered(options))) {}

  void Handle(std::shared_ptr<http::Exchange> exchange) override {
    const SteadyTime begin = clock_.SteadyNow();
    const http::RequestHead& request = exchange->request();
    auto ready = api_.FromMemory(request);
    if (!ready) return buffered_->Handle(std::move(exchange));
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
    exchange->Write({http::Slice(std::move(ready->body), bytes)});
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
    http::Response response = api_.Handle(request);
    span.SetAttribute("http.response.status_code", std::int64_t{response.status});
    Observe(begin);
    respond(std::move(response));
  }

  void Observe(SteadyTime begin) const {
    duration_.Observe(std::chrono::duration<double>(clock_.SteadyNow() - begin).count());
  }

  const RestApi& api_;
  const Clock& clock_;
  const telemetry::Histogram duration_ = telemetry::GetHistogram(
      "tocsin_schema_registry_rest_seconds", "Time to answer a request of the REST interface.");
  // The last, so that its workers end first.
  const std::shared_ptr<http::Handler> buffered_;
};

}  // namespace

std::shared_ptr<http::Handler> MakeRestHandler(const RestApi& api, const Clock& clock,
                                               RestHandlerOptions options) {
  return std::make_shared<RestHandler>(api, clock, options);
}

}  // namespace tocsin::registry
