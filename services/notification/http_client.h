// One HTTP POST to a server that is not ours.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::notification {

struct HttpRequest {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  // From the look-up of the name to the end of the answer.
  std::chrono::milliseconds timeout{10'000};
  bool allow_private = false;
};

struct HttpResponse {
  int status = 0;
  // The first 512 bytes, for people.
  std::string body = {};
  // The header Retry-After where it is a number of seconds; else zero.
  std::chrono::seconds retry_after{0};
};

// Thread-safe.
class HttpClient {
 public:
  virtual ~HttpClient() = default;

  // Any answer of the server, whatever its status, is OK; redirects are not followed. Blocks for at
  // most the request's timeout, and returns CANCELLED within about a second once `stopping` says
  // so. Errors: PERMISSION_DENIED, an address that must not be reached; INVALID_ARGUMENT, not a URL
  // that can be posted to; UNAVAILABLE / DEADLINE_EXCEEDED with the reason in words: may be tried
  // again.
  virtual absl::StatusOr<HttpResponse> Post(const HttpRequest& request,
                                            const std::function<bool()>& stopping) = 0;
};

// libcurl: HTTP/1.1, TLS 1.2 and up with the machine's authorities, no proxy, no cookies. Headers
// of an answer are bounded to 64 KiB, its body is read up to 64 KiB.
std::unique_ptr<HttpClient> MakeHttpClient();

// The parts of a webhook's URL.
struct WebhookUrl {
  std::string scheme;
  // Host, port where one is written, and path: for people. Without query, which may hold a token.
  std::string target;
};

// INVALID_ARGUMENT: not a URL, not http(s), with a user or password, or plain http without
// `allow_private`.
absl::StatusOr<WebhookUrl> ParseWebhookUrl(const std::string& url, bool allow_private);

}  // namespace tocsin::notification
