// Sessions without sockets: bytes in, ticks of a clock that the test moves, bytes out.
#include "lib/http/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/uio.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/text.h"
#include "lib/http/buffered.h"
#include "lib/http/loop.h"

namespace tocsin::http {
namespace {

using std::chrono::seconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr seconds kBodyTimeout{30};

std::string Frame(char type, char flags, std::string_view payload) {
  const char head[] = {0,
                       static_cast<char>(payload.size() >> 8),
                       static_cast<char>(payload.size()),
                       type,
                       flags,
                       0,
                       0,
                       0,
                       1};
  return Concat(std::string_view(head, sizeof(head)), payload);
}
// POST / to "a", without the end of the stream.
std::string Http2Head() {
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  return Concat("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings,
                Frame(1, 4,
                      "\x83\x86\x84\x41\x01"
                      "a"));
}
std::string Http2Body(std::string_view text, bool end) { return Frame(0, end ? 1 : 0, text); }

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    context_.loop = Loop::Create();
    BufferedOptions options;
    options.worker_threads = 0;
    context_.handler = MakeBuffered(
        [this](const Request& request, const Responder& respond) {
          ++served_;
          respond({200, {}, Concat("got ", request.body)});
        },
        options);
    context_.limits.body_timeout = kBodyTimeout;
    context_.clock = &clock_;
    context_.peer = "192.0.2.1:5";
    context_.wake = [] {};
  }
  ~SessionTest() override {
    if (session_ != nullptr) session_->Lost();
    context_.loop->RunPosted();
    context_.loop->Stop();
  }

  void Http1() { session_ = MakeHttp1Session(context_); }
  void Http2() { session_ = MakeHttp2Session(context_); }
  void Receive(std::string_view bytes) {
    session_->Receive(bytes);
    Settle();
  }
  void TickAfter(std::chrono::milliseconds time) {
    clock_.Advance(time);
    session_->Tick(clock_.SteadyNow());
    Settle();
  }
  void Settle() {
    context_.loop->RunPosted();
    OutQueue out;
    session_->Collect(out, std::size_t{1} << 20);
    std::array<iovec, 64> buffers{};
    const int count = out.Gather(buffers.data(), static_cast<int>(buffers.size()));
    for (int i = 0; i < count; ++i) {
      sent_.append(static_cast<const char*>(buffers[i].iov_base), buffers[i].iov_len);
    }
  }

  FakeClock clock_;
  SessionContext context_;
  std::unique_ptr<Session> session_;
  std::string sent_;
  int served_ = 0;
};

constexpr std::string_view kHead = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";

TEST_F(SessionTest, ABodyMayComeLaterThanItsHead) {
  Http1();
  Receive(kHead);
  TickAfter(std::chrono::milliseconds(250));
  TickAfter(seconds(29));
  EXPECT_EQ(sent_, "");
  Receive("a");
  // Each part has the time for itself.
  TickAfter(seconds(29));
  Receive("bc");
  EXPECT_THAT(sent_, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(sent_, EndsWith("\r\n\r\ngot abc"));
  EXPECT_FALSE(session_->Finished());
}

TEST_F(SessionTest, TheSecondBodyOfAConnectionMayComeLaterToo) {
  Http1();
  Receive(Concat(kHead, "abc"));
  sent_.clear();
  TickAfter(seconds(60));
  Receive(kHead);
  TickAfter(std::chrono::milliseconds(250));
  Receive("def");
  EXPECT_THAT(sent_, EndsWith("got def"));
}

TEST_F(SessionTest, WhoExpectsContinueHasTimeAfterIt) {
  Http1();
  Receive("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(sent_, "HTTP/1.1 100 Continue\r\n\r\n");
  sent_.clear();
  TickAfter(std::chrono::milliseconds(250));
  Receive("abc");
  EXPECT_THAT(sent_, StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(SessionTest, ABodyThatDoesNotComeIs408) {
  Http1();
  Receive(kHead);
  TickAfter(std::chrono::milliseconds(250));
  Receive("a");
  TickAfter(std::chrono::milliseconds(30'001));
  EXPECT_THAT(sent_, StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  EXPECT_THAT(sent_, HasSubstr("connection: close\r\n"));
  EXPECT_THAT(sent_,
              EndsWith("nothing more of the request's body came for 30s, and it is not whole; "
                       "send the request again\n"));
  EXPECT_TRUE(session_->Finished());
  EXPECT_EQ(served_, 0);
}

TEST_F(SessionTest, WithoutABodyTimeoutABodyMayTakeForEver) {
  context_.limits.body_timeout = std::chrono::milliseconds(0);
  Http1();
  Receive(kHead);
  TickAfter(std::chrono::hours(24));
  Receive("abc");
  EXPECT_THAT(sent_, EndsWith("got abc"));
}

TEST_F(SessionTest, ABodyMayComeLaterThanItsHeadOverHttp2) {
  Http2();
  Receive(Http2Head());
  TickAfter(std::chrono::milliseconds(250));
  TickAfter(seconds(29));
  Receive(Http2Body("a", false));
  TickAfter(seconds(29));
  Receive(Http2Body("bc", true));
  EXPECT_THAT(sent_, EndsWith("got abc"));
}

TEST_F(SessionTest, ABodyThatDoesNotComeOverHttp2IsAnsweredAndItsStreamReset) {
  Http2();
  Receive(Http2Head());
  TickAfter(std::chrono::milliseconds(250));
  EXPECT_THAT(sent_, Not(HasSubstr("body")));
  TickAfter(seconds(30));
  EXPECT_THAT(sent_, HasSubstr("nothing more of the request's body came for 30s"));
  // RST_STREAM(NO_ERROR): the rest is not wanted.
  EXPECT_THAT(sent_, EndsWith(std::string("\0\0\4\3\0\0\0\0\1\0\0\0\0", 13)));
  EXPECT_EQ(served_, 0);
  EXPECT_FALSE(session_->Finished()) << "other streams go on";
}

TEST_F(SessionTest, AFinishedResponseForWhichNoWindowIsGrantedIsDroppedAfterTheSendTimeout) {
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = held;
  BufferedOptions options;
  options.worker_threads = 0;
  context_.limits.send_timeout = seconds(20);
  context_.handler = MakeBuffered(
      [&](const Request&, const Responder& respond) {
        Response response{200, {}, std::string(300'000, 'x')};
        response.held = std::move(held);
        respond(std::move(response));
      },
      options);
  Http2();
  Receive(Http2Head());
  Receive(Http2Body("", true));
  TickAfter(seconds(19));
  EXPECT_FALSE(watched.expired()) << "the window of 64 KiB is all that the client takes";
  // A little more window: it goes on, and has its whole time again.
  const std::string window = Frame(8, 0, std::string("\0\0\0\x10", 4));
  std::string of_connection = window;
  of_connection[8] = 0;
  Receive(Concat(of_connection, window));
  TickAfter(seconds(19));
  EXPECT_FALSE(watched.expired());
  TickAfter(seconds(2));
  EXPECT_TRUE(watched.expired());
  // RST_STREAM(INTERNAL_ERROR)
  EXPECT_THAT(sent_, EndsWith(std::string("\0\0\4\3\0\0\0\0\1\0\0\0\2", 13)));
  EXPECT_FALSE(session_->Finished()) << "other streams go on";
}

TEST_F(SessionTest, WhoGrantsAByteOfWindowNowAndThenLosesTheStream) {
  BufferedOptions options;
  options.worker_threads = 0;
  context_.limits.send_timeout = seconds(20);
  context_.limits.min_send_bytes = 10'000;
  context_.handler = MakeBuffered(
      [&](const Request&, const Responder& respond) {
        respond({200, {}, std::string(300'000, 'x')});
      },
      options);
  Http2();
  Receive(Http2Head());
  Receive(Http2Body("", true));
  const auto grant = [&](std::uint16_t bytes) {
    const char window[] = {0, 0, static_cast<char>(bytes >> 8), static_cast<char>(bytes)};
    const std::string of_stream = Frame(8, 0, std::string_view(window, sizeof(window)));
    std::string of_connection = of_stream;
    of_connection[8] = 0;
    Receive(Concat(of_connection, of_stream));
  };
  const std::string reset("\0\0\4\3\0\0\0\0\1\0\0\0\2", 13);
  for (int i = 0; i < 4; ++i) {
    TickAfter(seconds(10));
    grant(5'000);
    EXPECT_THAT(sent_, Not(EndsWith(reset))) << "half of the least in half of the time";
  }
  TickAfter(seconds(19));
  grant(1);
  TickAfter(seconds(2));
  EXPECT_THAT(sent_, EndsWith(reset));
  EXPECT_FALSE(session_->Finished()) << "other streams go on";
}

// Reads only when it is told to.
class Hesitant final : public Handler {
 public:
  void Handle(std::shared_ptr<Exchange> exchange) override { held = std::move(exchange); }
  std::shared_ptr<Exchange> held;
};

TEST_F(SessionTest, AHandlerThatReadsLateDoesNotCostTheClientItsTime) {
  const auto handler = std::make_shared<Hesitant>();
  context_.handler = handler;
  Http1();
  Receive(kHead);
  TickAfter(seconds(60));
  absl::StatusOr<BodyPart> part;
  handler->held->Read([&](absl::StatusOr<BodyPart> got) { part = std::move(got); });
  TickAfter(seconds(29));
  Receive("abc");
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(part->data.view(), "abc");
  handler->held = nullptr;
}

TEST_F(SessionTest, TheAbsoluteFormOfATargetIsTaken) {
  std::vector<std::string> asked;
  BufferedOptions options;
  options.worker_threads = 0;
  context_.handler = MakeBuffered(
      [&](const Request& request, const Responder& respond) {
        asked.push_back(Concat(request.path, " ", request.Parameter("deleted").value_or("")));
        respond({200, {}, ""});
      },
      options);
  Http1();
  for (const char* const target : {"http://a/subjects?deleted=true", "https://a:8081/", "http://a",
                                   "/http://a/b", "http://a?deleted=b"}) {
    Receive(Concat("GET ", target, " HTTP/1.1\r\nHost: a\r\n\r\n"));
  }
  EXPECT_THAT(asked, ::testing::ElementsAre("/subjects true", "/ ", "/ ", "/http://a/b ", "/ b"));
}

TEST_F(SessionTest, HeadsThatAreTooLargeAreAnswered) {
  context_.limits.max_header_bytes = 4096;
  const std::string line = "GET /subjects HTTP/1.1\r\nHost: a\r\n";
  const std::pair<std::string, std::string> table[] = {
      {Concat(line, "x: ", std::string(9000, 'x'), "\r\n\r\n"),
       "431 Request Header Fields Too Large"},
      {Concat(line, "x: ", std::string(9000, 'x')), "431 Request Header Fields Too Large"},
      {Concat("GET /", std::string(9000, 'x'), " HTTP/1.1\r\nHost: a\r\n\r\n"), "414 URI Too Long"},
      {Concat("GET /", std::string(9000, 'x')), "414 URI Too Long"},
      {Concat("DELETE http://a/", std::string(9000, 'x')), "414 URI Too Long"},
  };
  for (const auto& [request, status] : table) {
    for (const std::size_t piece : {request.size(), std::size_t{1000}, std::size_t{7}}) {
      for (const bool first : {true, false}) {
        Http1();
        if (!first) Receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        sent_.clear();
        for (std::size_t at = 0; at < request.size() && session_->WantsInput(); at += piece) {
          Receive(std::string_view(request).substr(at, piece));
        }
        EXPECT_THAT(sent_, StartsWith(Concat("HTTP/1.1 ", status, "\r\n")))
            << request.substr(0, 40) << " in pieces of " << piece << (first ? ", first" : "");
        EXPECT_THAT(sent_, HasSubstr("connection: close\r\n"));
        EXPECT_THAT(sent_, HasSubstr(" shorter "));
        EXPECT_TRUE(session_->Finished());
      }
    }
  }
}

TEST_F(SessionTest, WhatIsNotHttpIsNotAnsweredHoweverLong) {
  context_.limits.max_header_bytes = 4096;
  for (const std::string& bytes :
       {std::string(9000, 'x'), Concat("PRI ", std::string(9000, '*')),
        Concat(std::string("\x16\x03\x01\x02\x00", 5), std::string(9000, '/')),
        Concat("get /", std::string(9000, 'x'))}) {
    Http1();
    sent_.clear();
    Receive(bytes);
    EXPECT_EQ(sent_, "") << bytes.substr(0, 10);
    EXPECT_TRUE(session_->Finished()) << bytes.substr(0, 10);
  }
}

}  // namespace
}  // namespace tocsin::http
