#include "lib/process/admin.h"

#include <gmock/gmock.h>

#include <atomic>
#include <stdexcept>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/process/testing/http_get.h"

namespace tocsin::process {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using testing::Exchange;
using testing::Get;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    auto server = AdminServer::Start("127.0.0.1:0",
                                     {[] { return "up 1\n"; }, [] { return "mode: normal\n"; },
                                      [this] {
                                        return ready_ ? std::pair(true, std::string("ready\n"))
                                                      : std::pair(false, std::string("not\n"));
                                      }},
                                     std::chrono::milliseconds(300));
    EXPECT_THAT(server, IsOk());
    server_ = *std::move(server);
  }
  std::uint16_t port() const { return server_->port(); }

  std::atomic<bool> ready_{false};
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminTest, ServesItsPages) {
  EXPECT_THAT(Get(port(), "/livez"), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("alive\n")));
  EXPECT_THAT(Get(port(), "/readyz"), AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("not\n")));
  ready_ = true;
  EXPECT_THAT(Get(port(), "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("ready\n")));
  EXPECT_THAT(Get(port(), "/metrics"),
              AllOf(HasSubstr("text/plain; version=0.0.4"), EndsWith("up 1\n")));
  EXPECT_THAT(Get(port(), "/config"), EndsWith("mode: normal\n"));
  EXPECT_THAT(Get(port(), "/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get(port(), "/config/../livez"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(AdminTest, KeepsAConnectionForTheNextRequest) {
  EXPECT_THAT(Exchange(port(),
                       "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
                       "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              AllOf(HasSubstr("alive\nHTTP/1.1 200 OK"), EndsWith("alive\n")));
}

TEST_F(AdminTest, TakesGetAndHeadOnly) {
  EXPECT_THAT(Exchange(port(),
                       "POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                       "Connection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD")));
  EXPECT_THAT(
      Exchange(port(), "HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
      AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("Content-Length: 6"), Not(HasSubstr("alive"))));
}

TEST_F(AdminTest, ClosesOnWhatIsTooLongTooSlowOrNotHttp) {
  const std::string large(20'000, 'a');
  EXPECT_THAT(Exchange(port(), Concat("GET /", large, " HTTP/1.1\r\n\r\n")), IsEmpty());
  EXPECT_THAT(Exchange(port(), Concat("GET / HTTP/1.1\r\nX: ", large, "\r\n\r\n")), IsEmpty());
  EXPECT_THAT(Exchange(port(), "GET /livez HTTP/1.1\r\nHost"), IsEmpty()) << "never finished";
  EXPECT_THAT(Exchange(port(), "\x16\x03\x01\x02\r\n\r\n"), IsEmpty());
  EXPECT_THAT(Exchange(port(), "POST /livez HTTP/1.1\r\nContent-Length: 99\r\n\r\nbody"),
              IsEmpty());
  EXPECT_THAT(Get(port(), "/livez"), EndsWith("alive\n")) << "and works on";
}

TEST_F(AdminTest, APortInUseIsAnErrorThatSaysSo) {
  const std::string listen = Concat("127.0.0.1:", port());
  EXPECT_THAT(AdminServer::Start(listen, {}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(Concat("cannot listen on ", listen)),
                             HasSubstr("Address already in use"))));
}

TEST(AdminServer, RefusesWhatIsNoAddress) {
  EXPECT_THAT(AdminServer::Start("9090", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("admin_listen")));
  EXPECT_THAT(AdminServer::Start("somewhere:80", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not an IP address")));
}

TEST(AdminServer, APageThatThrowsIsAnAnswerOf500) {
  auto server = AdminServer::Start(
      "127.0.0.1:0", {[]() -> std::string { throw std::runtime_error("broken"); }, {}, {}});
  ASSERT_THAT(server, IsOk());
  EXPECT_THAT(Get((*server)->port(), "/metrics"), StartsWith("HTTP/1.1 500 "));
}

}  // namespace
}  // namespace tocsin::process
