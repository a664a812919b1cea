// The simple way to serve: a whole request in, a whole response out.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/http/exchange.h"
#include "lib/http/message.h"

namespace tocsin::http {

struct Request {
  std::string method;
  // As sent, not decoded; the query is taken off. "/subjects/a%2Fb/versions". For ParsePath.
  std::string path;
  // Decoded, in the order sent.
  std::vector<std::pair<std::string, std::string>> query;
  Headers headers;
  std::string body;
  // Address of the client.
  std::string peer;

  // The first query parameter of that name.
  std::optional<std::string_view> Parameter(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
  // Kept until the last byte of the body is sent or will not be: the client is gone, or has taken
  // nothing for Limits::send_timeout. Let go on any thread; its destructor must not block.
  std::shared_ptr<const void> held = nullptr;
};

// Answers one request. Copyable; may be kept, and called on any thread, also when the client or the
// server is gone. The first call counts. When the last copy goes without a call the client gets
// 500.
class Responder {
 public:
  class State;
  explicit Responder(std::shared_ptr<State> state) : state_(std::move(state)) {}
  void operator()(Response response) const;

 private:
  std::shared_ptr<State> state_;
};

using BufferedHandler = std::function<void(const Request&, Responder)>;

// Why a request never reaches the handler.
enum class Refusal {
  // 413
  kTooLarge,
  // The query cannot be decoded, or the body did not come to its end, if anybody is there to see
  // it: 400.
  kBroken,
  // None of the body came for Limits::body_timeout: 408.
  kTimeout,
  // More requests than max_queue wait: 503, retry-after: 1.
  kBusy,
};

struct BufferedOptions {
  // A longer body is answered with 413.
  std::size_t max_body = std::size_t{1024} * 1024;
  // Threads that run the handler, which may then block (for seconds, not for ever: Stop waits for
  // it). 0: it runs on an I/O thread and must not block.
  int worker_threads = 4;
  // Requests that wait for a worker; further ones are answered with 503.
  std::size_t max_queue = 1024;
  // What a refusal says to the client, for interfaces whose errors have a form of their own; else a
  // plain text with the status above. `message` is a sentence for people. On an I/O thread.
  std::function<Response(Refusal refusal, std::string_view message)> refuse = nullptr;
};

// server = Server({.listen = "…"}, MakeBuffered(handler)). HEAD is served as GET without the body.
std::shared_ptr<Handler> MakeBuffered(BufferedHandler handler, BufferedOptions options = {});

}  // namespace tocsin::http
