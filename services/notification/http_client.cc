#include "services/notification/http_client.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/notification/address_policy.h"

namespace tocsin::notification {
namespace {

constexpr std::size_t kMaxBody = 64U << 10;
constexpr std::size_t kMaxHeaders = 64U << 10;
constexpr std::size_t kKeptBody = 512;

void InitializeOnce() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

struct Cleanup {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(char* text) const { curl_free(text); }
};
using Easy = std::unique_ptr<CURL, Cleanup>;
using List = std::unique_ptr<curl_slist, Cleanup>;
using Url = std::unique_ptr<CURLU, Cleanup>;
using Text = std::unique_ptr<char, Cleanup>;

// What the callbacks of one transfer share.
struct Transfer {
  const HttpRequest& request;
  const std::function<bool()>& stopping;
  HttpResponse response;
  std::size_t body_bytes = 0;
  std::size_t header_bytes = 0;
  // Why an address was refused.
  absl::Status refused;
  bool stopped = false;
  bool too_large = false;
};

curl_socket_t OnSocket(void* data, curlsocktype /*purpose*/, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(data);
  absl::Status allowed = CheckAddress(address->addr, transfer.request.allow_private);
  if (!allowed.ok()) {
    transfer.refused = std::move(allowed);
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int OnProgress(void* data, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(data);
  transfer.stopped = transfer.stopping();
  return transfer.stopped ? 1 : 0;
}

std::size_t OnBody(char* bytes, std::size_t size, std::size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  const std::size_t length = size * count;
  std::string& kept = transfer.response.body;
  kept.append(bytes, std::min(length, kKeptBody - kept.size()));
  transfer.body_bytes += length;
  transfer.too_large = transfer.body_bytes > kMaxBody;
  return transfer.too_large ? 0 : length;
}

std::size_t OnHeader(char* bytes, std::size_t size, std::size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  const std::size_t length = size * count;
  transfer.header_bytes += length;
  if (transfer.header_bytes > kMaxHeaders) return 0;
  std::string line(bytes, length);
  constexpr std::string_view kRetryAfter = "retry-after:";
  for (std::size_t i = 0; i < std::min(line.size(), kRetryAfter.size()); ++i) {
    if (line[i] >= 'A' && line[i] <= 'Z') line[i] = static_cast<char>(line[i] - 'A' + 'a');
  }
  if (line.starts_with(kRetryAfter)) {
    const std::string_view value = Trim(std::string_view(line).substr(kRetryAfter.size()));
    int seconds = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (error == std::errc() && end == value.data() + value.size() && seconds > 0) {
      transfer.response.retry_after = std::chrono::seconds(seconds);
    }
  }
  return length;
}

absl::Status ErrorOf(CURLcode code, const Transfer& transfer, std::string_view detail) {
  if (transfer.stopped) return absl::CancelledError("the process is stopping");
  if (!transfer.refused.ok()) return transfer.refused;
  const std::string text(detail.empty() ? std::string_view(curl_easy_strerror(code)) : detail);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return DeadlineExceeded(Concat("no complete answer within ", transfer.request.timeout.count(),
                                     " ms (", text, ")"));
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return InvalidArgument(text);
    default:
      return Unavailable(text);
  }
}

class CurlClient final : public HttpClient {
 public:
  CurlClient() { InitializeOnce(); }

  absl::StatusOr<HttpResponse> Post(const HttpRequest& request,
                                    const std::function<bool()>& stopping) override {
    const Easy easy(curl_easy_init());
    if (easy == nullptr) return ResourceExhausted("no memory for a connection");
    CURL* const curl = easy.get();
    Transfer transfer{.request = request, .stopping = stopping, .response = {}, .refused = {}};
    List headers;
    const auto add_header = [&headers](const std::string& line) {
      curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
      if (longer == nullptr) return false;
      static_cast<void>(headers.release());
      headers.reset(longer);
      return true;
    };
    // curl's own way to leave a header of its own out.
    bool complete = add_header("Expect:");
    for (const auto& [name, value] : request.headers) {
      complete = complete && add_header(Concat(name, ": ", value));
    }
    if (!complete) return ResourceExhausted("no memory for the headers");

    std::array<char, CURL_ERROR_SIZE> detail{};
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail.data());
    curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    // A proxy would connect in our place, unchecked.
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, &OnSocket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &OnBody);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &OnHeader);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &OnProgress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);

    const CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    // Who says more than anyone wants to hear has answered all the same.
    if (code != CURLE_OK && !(transfer.too_large && status != 0)) {
      return ErrorOf(code, transfer, detail.data());
    }
    transfer.response.status = static_cast<int>(status);
    return std::move(transfer.response);
  }
};

}  // namespace

std::unique_ptr<HttpClient> MakeHttpClient() { return std::make_unique<CurlClient>(); }

absl::StatusOr<WebhookUrl> ParseWebhookUrl(const std::string& url, bool allow_private) {
  const Url parsed(curl_url());
  if (parsed == nullptr) return ResourceExhausted("no memory for a URL");
  const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0);
  if (code != CURLUE_OK) return InvalidArgument(Concat("not a URL: ", curl_url_strerror(code)));
  const auto part = [&](CURLUPart which) -> std::string {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), which, &text, 0) != CURLUE_OK) return "";
    const Text owned(text);
    return text;
  };
  if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) {
    return InvalidArgument("a URL must not hold a user or a password; sign with a secret instead");
  }
  WebhookUrl result;
  result.scheme = part(CURLUPART_SCHEME);
  if (result.scheme != "https" && result.scheme != "http") {
    return InvalidArgument(Concat("'", result.scheme, "' cannot be posted to; use https"));
  }
  if (result.scheme == "http" && !allow_private) {
    return InvalidArgument(
        "http sends incidents in the clear; use https, or set allow_private: true for a receiver "
        "in your own network");
  }
  const std::string port = part(CURLUPART_PORT);
  result.target = Concat(part(CURLUPART_HOST), port.empty() ? "" : ":", port, part(CURLUPART_PATH));
  return result;
}

}  // namespace tocsin::notification
