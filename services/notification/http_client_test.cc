#include "services/notification/http_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::notification {
namespace {
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Answers one request with a canned text, or never.
class OneShotServer {
 public:
  explicit OneShotServer(std::string answer, bool hang = false)
      : answer_(std::move(answer)), hang_(hang), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    socklen_t length = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~OneShotServer() {
    shutdown(listener_, SHUT_RDWR);
    close(listener_);
    release_.set_value();
    thread_.join();
  }

  std::string Url(const std::string& host = "127.0.0.1") const {
    return Concat("http://", host, ":", port_, "/hook?token=x");
  }
  // After the answer.
  const std::string& request() const { return request_; }
  int connections() const { return connections_; }

 private:
  void Serve() {
    const int connection = accept(listener_, nullptr, nullptr);
    if (connection < 0) return;
    ++connections_;
    std::array<char, 4096> buffer{};
    for (;;) {
      const ssize_t count = recv(connection, buffer.data(), buffer.size(), 0);
      if (count <= 0) break;
      request_.append(buffer.data(), static_cast<std::size_t>(count));
      // The bodies of these tests end in an exclamation mark.
      if (request_.back() == '!') break;
    }
    if (!hang_) {
      send(connection, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    } else {
      release_.get_future().wait();
    }
    close(connection);
  }

  const std::string answer_;
  const bool hang_;
  int listener_;
  std::uint16_t port_ = 0;
  std::string request_;
  std::atomic<int> connections_{0};
  std::promise<void> release_;
  std::thread thread_;
};

const auto kNever = [] { return false; };

HttpRequest RequestTo(const std::string& url, bool allow_private = true) {
  return {.url = url,
          .headers = {{"Idempotency-Key", "k1"}},
          .body = "hello!",
          .timeout = std::chrono::seconds(5),
          .allow_private = allow_private};
}

TEST(HttpClientTest, Posts) {
  OneShotServer server("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\nok");
  const auto response = MakeHttpClient()->Post(RequestTo(server.Url()), kNever);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->status, 202);
  EXPECT_EQ(response->body, "ok");
  EXPECT_EQ(response->retry_after, std::chrono::seconds(7));
  EXPECT_THAT(server.request(), AllOf(HasSubstr("POST /hook?token=x HTTP/1.1\r\n"),
                                      HasSubstr("Idempotency-Key: k1\r\n"),
                                      HasSubstr("\r\n\r\nhello!"), Not(HasSubstr("Expect:"))));
}

TEST(HttpClientTest, DoesNotFollowRedirects) {
  OneShotServer target("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  OneShotServer server(
      Concat("HTTP/1.1 307 Moved\r\nLocation: ", target.Url(), "\r\nContent-Length: 0\r\n\r\n"));
  const auto response = MakeHttpClient()->Post(RequestTo(server.Url()), kNever);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->status, 307);
  EXPECT_EQ(target.connections(), 0);
}

TEST(HttpClientTest, ReadsOnlyTheBeginningOfAnEndlessBody) {
  OneShotServer server(Concat("HTTP/1.1 500 Oh\r\n\r\n", std::string(200'000, 'x')));
  const auto response = MakeHttpClient()->Post(RequestTo(server.Url()), kNever);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->status, 500);
  EXPECT_EQ(response->body.size(), 512U);
}

TEST(HttpClientTest, EndlessHeadersAreAnError) {
  std::string answer = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 100; ++i) answer += Concat("X-", i, ": ", std::string(1000, 'x'), "\r\n");
  OneShotServer server(answer + "\r\n");
  EXPECT_THAT(MakeHttpClient()->Post(RequestTo(server.Url()), kNever),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST(HttpClientTest, GivesUpAfterTheTimeout) {
  OneShotServer server("", /*hang=*/true);
  HttpRequest request = RequestTo(server.Url());
  request.timeout = milliseconds(100);
  EXPECT_THAT(MakeHttpClient()->Post(request, kNever),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("within 100 ms")));
}

TEST(HttpClientTest, EndsWhenTheProcessStops) {
  OneShotServer server("", /*hang=*/true);
  HttpRequest request = RequestTo(server.Url());
  request.timeout = std::chrono::minutes(1);
  EXPECT_THAT(MakeHttpClient()->Post(request, [] { return true; }),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST(HttpClientTest, AClosedPortMayBeTriedAgain) {
  std::string url;
  { url = OneShotServer("").Url(); }
  EXPECT_THAT(MakeHttpClient()->Post(RequestTo(url), kNever),
              StatusIs(absl::StatusCode::kUnavailable));
}

// Whatever the spelling, the connection is what is checked.
TEST(HttpClientTest, RefusesPrivateAddressesInEverySpelling) {
  OneShotServer server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  const auto client = MakeHttpClient();
  for (const char* host : {"127.0.0.1", "localhost", "LOCALHOST", "127.1", "0x7f.1", "0177.0.0.1",
                           "2130706433", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"}) {
    EXPECT_THAT(client->Post(RequestTo(server.Url(host), /*allow_private=*/false), kNever),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("allow_private")))
        << host;
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST(HttpClientTest, NeverReachesLinkLocalAddresses) {
  const auto client = MakeHttpClient();
  for (const char* url : {"http://169.254.169.254/latest/meta-data", "http://[fe80::1]/",
                          "http://0.0.0.0/", "http://2852039166/", "http://[fd00:ec2::254]/"}) {
    EXPECT_THAT(client->Post(RequestTo(url), kNever),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("no webhook may reach")))
        << url;
  }
}

TEST(WebhookUrlTest, Parses) {
  const auto url = ParseWebhookUrl("https://hooks.example.com:8443/a/b?token=secret", false);
  ASSERT_THAT(url, IsOk());
  EXPECT_EQ(url->target, "hooks.example.com:8443/a/b");
  EXPECT_THAT(ParseWebhookUrl("http://127.0.0.1:1234/x", true), IsOk());
}

TEST(WebhookUrlTest, Refuses) {
  struct Case {
    const char* url;
    const char* message;
  };
  for (const Case& c : {
           Case{"http://example.com/", "allow_private"},
           Case{"ftp://example.com/", "cannot be posted to"},
           Case{"file:///etc/passwd", "cannot be posted to"},
           Case{"https://user:pass@example.com/", "must not hold a user"},
           Case{"https://user@example.com/", "must not hold a user"},
           Case{"example.com", "not a URL"},
           Case{"https://", "not a URL"},
           Case{"", "not a URL"},
       }) {
    EXPECT_THAT(ParseWebhookUrl(c.url, false),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.url;
  }
}

}  // namespace
}  // namespace tocsin::notification
