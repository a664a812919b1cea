#include "lib/http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/http/buffered.h"
#include "lib/http/testing/clients.h"

namespace tocsin::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint32_t kEnhanceYourCalm = 0xb;
constexpr std::uint32_t kCancel = 0x8;
// With one I/O thread the state of one connection is known when the next is accepted.
constexpr int kInTurn = 1;

// What the test hears of from the I/O threads.
class Notes {
 public:
  void Add(const std::string& note) {
    MutexLock lock(mutex_);
    ++notes_[note];
    changed_.NotifyAll();
  }
  bool Await(const std::string& note, int count = 1, int tenths = 100) {
    MutexLock lock(mutex_);
    for (int i = 0; i < tenths && notes_[note] < count; ++i) {
      changed_.WaitFor(mutex_, std::chrono::milliseconds(100));
    }
    return notes_[note] >= count;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, int> notes_ ABSL_GUARDED_BY(mutex_);
};

// A handler with one behaviour for each path.
class TestHandler final : public Handler {
 public:
  void Handle(std::shared_ptr<Exchange> exchange) override {
    const std::string path(exchange->request().path());
    if (path == "/echo") return Echo(exchange, true);
    if (path == "/trailers") return Echo(exchange, false);
    if (path == "/hello") {
      exchange->SendHead({200, {{"content-type", "text/plain"}}});
      exchange->Write({Slice(std::string("hello "))});
      exchange->Write({Slice(std::string("world"))});
      exchange->Finish({{"x-sum", "11"}});
      return;
    }
    if (path == "/only-head") {
      return exchange->SendHead({200, {{"grpc-status", "5"}}}, true);
    }
    if (path == "/endless") return Endless(exchange);
    if (path == "/wait") {
      exchange->SendHead({200, {}});
      exchange->OnCancelled([this, exchange] { notes.Add("cancelled"); });
      notes.Add("waiting");
      return;
    }
    if (path == "/hold") {
      MutexLock lock(mutex_);
      held_.push_back(exchange);
      notes.Add("held");
      return;
    }
    if (path == "/never-read") {
      exchange->OnCancelled([exchange] {});
      return;
    }
    if (path == "/abandon") return;
    if (path == "/reset") {
      exchange->SendHead({200, {}});
      exchange->Write({Slice(std::string("part"))});
      exchange->WhenWritable([exchange] { exchange->Reset(); });
      return;
    }
    if (path == "/big") {
      auto bytes = std::make_shared<const std::string>(3'000'000, 'b');
      exchange->SendHead({200, {}});
      exchange->Write({Slice(bytes, *bytes)});
      exchange->Finish();
      return;
    }
    if (path == "/flood") {
      exchange->SendHead({200, {}});
      const auto piece = std::make_shared<const std::string>(1 << 20, 'f');
      for (int i = 0; i < 64; ++i) exchange->Write({Slice(piece, *piece)});
      exchange->OnCancelled([this] { notes.Add("overrun"); });
      return;
    }
    exchange->SendHead({404, {}}, true);
  }

  std::vector<std::shared_ptr<Exchange>> TakeHeld() {
    MutexLock lock(mutex_);
    return std::move(held_);
  }

  Notes notes;

 private:
  void Echo(const std::shared_ptr<Exchange>& exchange, bool at_once) {
    exchange->SendHead({200, {{"content-type", "application/octet-stream"}}});
    EchoNext(exchange, at_once);
  }
  void EchoNext(const std::shared_ptr<Exchange>& exchange, bool at_once) {
    exchange->Read([this, exchange, at_once](absl::StatusOr<BodyPart> part) {
      if (!part.ok()) {
        notes.Add(std::string(absl::StatusCodeToString(part.status().code())));
        if (part.status().code() == absl::StatusCode::kResourceExhausted) exchange->Finish();
        return;
      }
      if (!part->data.empty()) exchange->Write({part->data});
      if (part->end) {
        exchange->Finish(at_once ? Headers{} : Headers{{"x-done", "yes"}});
      } else {
        exchange->WhenWritable([this, exchange, at_once] { EchoNext(exchange, at_once); });
      }
    });
  }
  void Endless(const std::shared_ptr<Exchange>& exchange) {
    exchange->SendHead({200, {}});
    const auto over = std::make_shared<bool>(false);
    exchange->OnCancelled([this, over] {
      *over = true;
      notes.Add("endless cancelled");
    });
    More(exchange, over);
  }
  void More(const std::shared_ptr<Exchange>& exchange, const std::shared_ptr<bool>& over) {
    if (*over) return;
    if (exchange->unsent() > std::size_t{512} * 1024) notes.Add("too much");
    exchange->Write({Slice(std::string(std::size_t{32} * 1024, 'x'))});
    exchange->WhenWritable([this, exchange, over] { More(exchange, over); });
    notes.Add("wrote");
  }

  Mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> held_ ABSL_GUARDED_BY(mutex_);
};

class ServerTest : public ::testing::Test {
 protected:
  void Start(Limits limits = {}, int io_threads = 2) {
    ServerOptions options;
    options.io_threads = io_threads;
    options.limits = limits;
    options.tick = std::chrono::milliseconds(5);
    options.clock = &clock_;
    server_ = std::make_unique<Server>(options, handler_);
    ASSERT_THAT(server_->Start(), IsOk());
  }
  // One request on a connection of its own.
  std::optional<PlainResponse> Plain(std::string_view request, bool head_only = false) {
    RawSocket socket(server_->port());
    socket.Send(request);
    for (;;) {
      if (auto response = TakeResponse(socket.received, head_only)) return response;
      if (!socket.Receive()) return std::nullopt;
    }
  }

  FakeClock clock_;
  std::shared_ptr<TestHandler> handler_ = std::make_shared<TestHandler>();
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, ServesBothVersionsOnOnePort) {
  Start();
  const auto plain = Plain("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->status, 200);
  EXPECT_EQ(plain->body, "hello world");

  Http2Client client(server_->port());
  const auto stream = client.Call("GET", "/hello", {}, "");
  EXPECT_EQ(stream.status, 200);
  EXPECT_EQ(stream.body, "hello world");
  EXPECT_EQ(stream.trailers.Get("x-sum"), "11");
  EXPECT_EQ(stream.error, 0u);
}

TEST_F(ServerTest, HeadAloneIsOneFrame) {
  Start();
  Http2Client client(server_->port());
  const auto stream = client.Call("POST", "/only-head", {}, "body");
  EXPECT_EQ(stream.headers.Get("grpc-status"), "5");
  EXPECT_TRUE(stream.ended_by_headers);
  const auto plain = Plain("POST /only-head HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->headers.Get("content-length"), "0");
}

TEST_F(ServerTest, EchoesBodiesOfAllSizes) {
  Start();
  Http2Client client(server_->port());
  for (const std::size_t size : {0u, 1u, 16384u, 65535u, 65536u, 1'000'000u, 5'000'000u}) {
    std::string body(size, 'a');
    for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + i % 23);
    const auto stream = client.Call("POST", "/trailers", {}, body);
    EXPECT_EQ(stream.status, 200);
    EXPECT_TRUE(stream.body == body) << size;
    EXPECT_EQ(stream.trailers.Get("x-done"), "yes");
    const auto plain =
        Plain(Concat("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ", size, "\r\n\r\n", body));
    ASSERT_TRUE(plain.has_value());
    EXPECT_TRUE(plain->body == body) << size;
  }
}

TEST_F(ServerTest, TakesInputCutAtEveryByte) {
  Start();
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (std::size_t cut = 1; cut < request.size(); ++cut) {
    RawSocket socket(server_->port());
    socket.Send(request.substr(0, cut));
    socket.Send(request.substr(cut));
    ASSERT_TRUE(socket.ReceiveUntil("0\r\n\r\n")) << cut << socket.received;
    const auto response = TakeResponse(socket.received);
    ASSERT_TRUE(response.has_value()) << cut;
    EXPECT_EQ(response->body, "abc") << cut;
  }
  // The client's preface and first frames, byte by byte.
  RawSocket socket(server_->port());
  const std::string http2("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  for (const char byte : http2) socket.Send(std::string_view(&byte, 1));
  // SETTINGS and an acknowledgement of ours.
  const std::string ack("\0\0\0\4\1\0\0\0\0", 9);
  EXPECT_TRUE(socket.ReceiveUntil(ack));
}

TEST_F(ServerTest, KeepsConnectionsAndServesPipelinedRequestsInOrder) {
  Start();
  RawSocket socket(server_->port());
  socket.Send(
      "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"
      "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(socket.ReceiveAll());
  EXPECT_EQ(TakeResponse(socket.received)->body, "hello world");
  EXPECT_EQ(TakeResponse(socket.received)->body, "one");
  EXPECT_EQ(TakeResponse(socket.received)->body, "two");
  const auto last = TakeResponse(socket.received);
  EXPECT_EQ(last->status, 404);
  EXPECT_EQ(last->headers.Get("connection"), "close");
  EXPECT_EQ(socket.received, "");
}

TEST_F(ServerTest, Http10GetsNoChunks) {
  Start();
  RawSocket socket(server_->port());
  socket.Send("POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
  ASSERT_TRUE(socket.ReceiveAll());
  EXPECT_THAT(socket.received, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(socket.received, ::testing::EndsWith("\r\n\r\nabc"));
}

TEST_F(ServerTest, ContinuesWhenTheBodyIsWanted) {
  Start();
  RawSocket socket(server_->port());
  // The head of the response goes out first here, so no 100 is due; the body is taken all the same.
  socket.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  ASSERT_TRUE(socket.ReceiveUntil("\r\n\r\n"));
  socket.Send("ab");
  EXPECT_TRUE(socket.ReceiveUntil("2\r\nab\r\n"));
}

TEST_F(ServerTest, SendsTrailersOverHttp1OnlyWhenAsked) {
  Start();
  const auto asked = Plain("GET /hello HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
  EXPECT_EQ(asked->trailers.Get("x-sum"), "11");
  const auto not_asked = Plain("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(not_asked->trailers.empty());
}

TEST_F(ServerTest, HeadHasNoBody) {
  Start();
  RawSocket socket(server_->port());
  socket.Send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(socket.ReceiveUntil("hello world"));
  EXPECT_EQ(TakeResponse(socket.received, true)->status, 200);
  EXPECT_EQ(TakeResponse(socket.received)->body, "hello world");
  Http2Client client(server_->port());
  EXPECT_EQ(client.Call("HEAD", "/hello", {}, "").body, "");
}

struct BadInput {
  std::string name;
  std::string bytes;
  // 0: closed without a word.
  int status;
};

TEST_F(ServerTest, RefusesWhatIsNotHttp) {
  Limits limits;
  limits.max_header_bytes = 4096;
  limits.max_header_count = 10;
  Start(limits);
  std::string many;
  for (int i = 0; i < 20; ++i) many += Concat("x-", i, ": 1\r\n");
  const std::vector<BadInput> table = {
      {"no http", "INVALID CONNECTION PREFACE\r\n\r\n", 0},
      {"preface cut short", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0},
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"version", "GET / HTTP/3.1\r\nHost: a\r\n\r\n", 0},
      {"long field", Concat("GET / HTTP/1.1\r\nHost: a\r\nx: ", std::string(5000, 'x'), "\r\n\r\n"),
       431},
      {"endless head", Concat("GET / HTTP/1.1\r\nHost: a\r\nx: ", std::string(9000, 'x')), 431},
      {"many fields", Concat("GET / HTTP/1.1\r\nHost: a\r\n", many, "\r\n"), 431},
      {"length twice",
       "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"length and chunks",
       "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"chunks and length",
       "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
       400},
      {"other coding", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"coding twice", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
       501},
      {"negative length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
      {"space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"NUL", std::string("GET / HTTP/1.1\r\nHost: a\r\nx: \0\r\n\r\n", 33), 400},
  };
  for (const BadInput& input : table) {
    RawSocket socket(server_->port());
    socket.Send(input.bytes);
    EXPECT_TRUE(socket.ReceiveAll()) << input.name;
    if (input.status == 0) {
      EXPECT_EQ(socket.received, "") << input.name;
    } else {
      EXPECT_THAT(socket.received, StartsWith(Concat("HTTP/1.1 ", input.status, " ")))
          << input.name;
    }
  }
}

TEST_F(ServerTest, ClosesAfterBadChunk) {
  Start();
  RawSocket socket(server_->port());
  socket.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
  EXPECT_TRUE(socket.ReceiveAll());
  EXPECT_TRUE(handler_->notes.Await("CANCELLED"));
}

TEST_F(ServerTest, Http2HeaderLimits) {
  Limits limits;
  limits.max_header_bytes = 8192;
  limits.max_header_count = 20;
  Start(limits);
  Http2Client client(server_->port());
  Headers large;
  for (int i = 0; i < 10; ++i) large.Add(Concat("x-", i), std::string(1000, 'x'));
  EXPECT_EQ(client.Call("GET", "/hello", large, "").status, 431);
  Headers many;
  for (int i = 0; i < 30; ++i) many.Add(Concat("x-", i), "1");
  EXPECT_EQ(client.Call("GET", "/hello", many, "").status, 431);
  EXPECT_EQ(client.Call("GET", "/hello", {}, "").status, 200);
}

TEST_F(ServerTest, BodyOverTheLimitIsAnError) {
  Limits limits;
  limits.max_body = 100'000;
  Start(limits);
  Http2Client client(server_->port());
  for (int i = 0; i < 5; ++i) {
    // More than the connection's window in all: what is dropped must be given back.
    const auto stream = client.Call("POST", "/echo", {}, std::string(300'000, 'x'));
    EXPECT_TRUE(stream.closed) << i;
  }
  EXPECT_TRUE(handler_->notes.Await("RESOURCE_EXHAUSTED", 5));
  EXPECT_EQ(client.Call("POST", "/echo", {}, "small").body, "small");
  RawSocket socket(server_->port());
  socket.Send(Concat("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n",
                     std::string(200'000, 'x')));
  EXPECT_TRUE(socket.ReceiveAll());
}

TEST_F(ServerTest, ConcurrentStreamsAreLimitedAndInterleave) {
  Limits limits;
  limits.max_streams = 3;
  Start(limits);
  Http2Client client(server_->port());
  client.Until([] { return true; });
  client.Call("GET", "/hello", {}, "");  // our settings have come by now
  std::vector<std::int32_t> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(client.Start("GET", "/wait", {}, ""));
  ASSERT_TRUE(client.Until([&] { return client.stream(waiting[2]).status == 200; }));
  const std::int32_t queued = client.Start("GET", "/hello", {}, "");
  client.Reset(waiting[0], kCancel);
  EXPECT_TRUE(handler_->notes.Await("cancelled"));
  EXPECT_TRUE(client.UntilClosed(queued));
  EXPECT_EQ(client.stream(queued).body, "hello world");
}

TEST_F(ServerTest, ASlowReaderHoldsTheWriterNotTheMemory) {
  Start();
  Http2Client::Options options;
  options.auto_window = false;
  Http2Client client(server_->port(), options);
  const std::int32_t id = client.Start("GET", "/endless", {}, "");
  // All that the window lets through comes, and then nothing: the handler stopped by itself.
  ASSERT_TRUE(client.Until([&] { return client.stream(id).body.size() == 65535; }));
  EXPECT_EQ(client.Call("GET", "/only-head", {}, "").status, 200);
  EXPECT_EQ(client.stream(id).body.size(), 65535u);
  client.GrantWindow(id, 100'000);
  ASSERT_TRUE(client.Until([&] { return client.stream(id).body.size() == 165535; }));
  client.Reset(id, kCancel);
  EXPECT_TRUE(handler_->notes.Await("endless cancelled"));
}

TEST_F(ServerTest, ASlowReaderOverHttp1HoldsTheWriter) {
  Start();
  RawSocket socket(server_->port());
  socket.Send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  while (socket.received.size() < 20'000'000) ASSERT_TRUE(socket.Receive());
  socket.Abort();
  EXPECT_TRUE(handler_->notes.Await("endless cancelled"));
}

TEST_F(ServerTest, AWriterThatOverrunsItsLimitIsReset) {
  Start();
  Http2Client::Options options;
  options.auto_window = false;
  Http2Client client(server_->port(), options);
  const std::int32_t id = client.Start("GET", "/flood", {}, "");
  EXPECT_TRUE(client.UntilClosed(id));
  EXPECT_NE(client.stream(id).error, 0u);
  EXPECT_TRUE(handler_->notes.Await("overrun"));
}

TEST_F(ServerTest, AReaderThatDoesNotReadHoldsTheClient) {
  Limits limits;
  limits.body_window = 65536;
  Start(limits);
  Http2Client client(server_->port());
  const std::int32_t stuck = client.Start("POST", "/never-read", {}, std::string(500'000, 'x'));
  // The rest of the connection goes on.
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(client.Call("POST", "/echo", {}, std::string(50'000, 'y')).body.size(), 50'000u);
  }
  EXPECT_FALSE(client.stream(stuck).closed);
}

TEST_F(ServerTest, SendsLargeSharedSlices) {
  Start();
  Http2Client::Options options;
  options.stream_window = 1 << 20;
  Http2Client client(server_->port(), options);
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 10; ++i) streams.push_back(client.Start("GET", "/big", {}, ""));
  for (const std::int32_t id : streams) {
    EXPECT_TRUE(client.UntilClosed(id));
    EXPECT_EQ(client.stream(id).body.size(), 3'000'000u);
    EXPECT_EQ(client.stream(id).body.find_first_not_of('b'), std::string::npos);
  }
}

TEST_F(ServerTest, HearsWhenTheClientGoes) {
  Start();
  {
    RawSocket socket(server_->port());
    socket.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(handler_->notes.Await("waiting"));
  }
  EXPECT_TRUE(handler_->notes.Await("cancelled"));
  {
    Http2Client client(server_->port());
    client.Start("GET", "/wait", {}, "");
    ASSERT_TRUE(handler_->notes.Await("waiting", 2));
  }
  EXPECT_TRUE(handler_->notes.Await("cancelled", 2));
}

TEST_F(ServerTest, AnAbandonedExchangeIsAnswered) {
  Start();
  Http2Client client(server_->port());
  EXPECT_EQ(client.Call("GET", "/abandon", {}, "").status, 500);
  EXPECT_EQ(Plain("GET /abandon HTTP/1.1\r\nHost: a\r\n\r\n")->status, 500);
}

TEST_F(ServerTest, ResetShowsThatTheBodyIsNotWhole) {
  Start();
  Http2Client client(server_->port());
  EXPECT_NE(client.Call("GET", "/reset", {}, "").error, 0u);
  RawSocket socket(server_->port());
  socket.Send("GET /reset HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(socket.ReceiveAll());
  EXPECT_FALSE(TakeResponse(socket.received).has_value());
}

TEST_F(ServerTest, RapidResetsEndTheConnection) {
  Limits limits;
  limits.nuisance_burst = 50;
  Start(limits);
  Http2Client client(server_->port());
  for (int i = 0; i < 200 && !client.goaway(); ++i) {
    const std::int32_t id = client.Start("GET", "/wait", {}, "");
    client.Reset(id, kCancel);
  }
  EXPECT_TRUE(client.Until([&] { return client.goaway(); }));
  EXPECT_EQ(client.goaway_error(), kEnhanceYourCalm);
}

TEST_F(ServerTest, ResetsThatTheClientProvokesCountAsWell) {
  Limits limits;
  limits.nuisance_burst = 50;
  Start(limits);
  Http2Client client(server_->port());
  for (int i = 0; i < 200 && !client.goaway() && !client.connection_closed(); ++i) {
    // A content-length that the body contradicts is a fault of the stream.
    client.Start("POST", "/wait", {{"content-length", "1"}}, "too long");
    client.Until([] { return true; });
  }
  EXPECT_TRUE(client.Until([&] { return client.goaway(); }));
  EXPECT_EQ(client.goaway_error(), kEnhanceYourCalm);
}

TEST_F(ServerTest, PingFloodEndsTheConnection) {
  Limits limits;
  limits.nuisance_burst = 50;
  Start(limits);
  Http2Client client(server_->port());
  for (int i = 0; i < 2000 && !client.connection_closed(); ++i) client.Ping();
  EXPECT_TRUE(client.Until([&] { return client.goaway(); }));
}

TEST_F(ServerTest, SlowHeadsAreCutOff) {
  Start();
  RawSocket silent(server_->port());
  RawSocket slow(server_->port());
  slow.Send("GET /hello HTTP/1.1\r\nHo");
  // A HEADERS frame without END_HEADERS: the head is never whole.
  RawSocket open_block(server_->port());
  open_block.Send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33));
  open_block.Send(std::string("\0\0\1\1\0\0\0\0\1\x82", 10));
  const std::string ack("\0\0\0\4\1\0\0\0\0", 9);
  ASSERT_TRUE(open_block.ReceiveUntil(ack));
  RawSocket served(server_->port());
  served.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(handler_->notes.Await("waiting"));
  // `served` is as old as the others, so they have been accepted.
  clock_.Advance(std::chrono::seconds(11));
  EXPECT_TRUE(silent.ReceiveAll());
  EXPECT_TRUE(slow.ReceiveAll());
  EXPECT_THAT(slow.received, StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(open_block.ReceiveAll());
}

TEST_F(ServerTest, ABodyHasItsTimeFromTheHeadOn) {
  Limits limits;
  limits.body_timeout = std::chrono::seconds(30);
  Start(limits);
  RawSocket slow(server_->port());
  slow.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  ASSERT_TRUE(slow.ReceiveUntil("\r\n\r\n"));
  Http2Client http2(server_->port());
  const std::int32_t id = http2.Start("POST", "/echo", {});
  ASSERT_TRUE(http2.Until([&] { return http2.stream(id).status == 200; }));
  // On every I/O thread: when they are cut off, timeouts have been looked at.
  std::vector<std::unique_ptr<RawSocket>> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(std::make_unique<RawSocket>(server_->port()));
  RawSocket accepted(server_->port());
  accepted.Send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(accepted.ReceiveUntil("world"));
  clock_.Advance(std::chrono::seconds(20));
  for (const auto& socket : silent) EXPECT_TRUE(socket->ReceiveAll());
  slow.Send("hello");
  EXPECT_TRUE(slow.ReceiveUntil("hello"));
  http2.SendData(id, "hello");
  EXPECT_TRUE(http2.Until([&] { return http2.stream(id).body == "hello"; }));
  // The echo may be here before its handler waits for more; after another request on each I/O
  // thread it does.
  EXPECT_EQ(http2.Call("GET", "/hello", {}, "").status, 200);
  accepted.received.clear();
  accepted.Send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(accepted.ReceiveUntil("world"));
  clock_.Advance(std::chrono::seconds(31));
  EXPECT_TRUE(slow.ReceiveAll());
  EXPECT_TRUE(http2.UntilClosed(id));
}

// The kernel would go on to send what it has, megabytes, for as long as the client cares to take of
// it.
TEST_F(ServerTest, WhoTakesNothingIsCutOffWithWhatTheKernelHolds) {
  Start();
  RawSocket socket(server_->port());
  socket.Send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(socket.ReceiveUntil("200 OK"));
  // What the kernel takes at first is progress.
  bool cut_off = false;
  for (int i = 0; i < 100 && !cut_off; ++i) {
    clock_.Advance(std::chrono::seconds(61));
    cut_off = handler_->notes.Await("endless cancelled", 1, 1);
  }
  ASSERT_TRUE(cut_off);
  EXPECT_TRUE(socket.ReceiveAll());
  EXPECT_TRUE(socket.reset);
}

TEST_F(ServerTest, IdleConnectionsAreClosed) {
  Start();
  RawSocket idle(server_->port());
  idle.Send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(idle.ReceiveUntil("0\r\n\r\n") || idle.received.find("world") != std::string::npos);
  Http2Client http2(server_->port());
  ASSERT_EQ(http2.Call("GET", "/hello", {}, "").status, 200);
  clock_.Advance(std::chrono::seconds(121));
  EXPECT_TRUE(idle.ReceiveAll());
  http2.Until([&] { return http2.connection_closed(); });
  EXPECT_TRUE(http2.goaway());
  EXPECT_EQ(http2.goaway_error(), 0u);
}

TEST_F(ServerTest, ConnectionsAreLimited) {
  Limits limits;
  limits.max_connections = 2;
  Start(limits, kInTurn);
  RawSocket first(server_->port());
  first.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  RawSocket second(server_->port());
  second.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(handler_->notes.Await("waiting", 2));
  RawSocket third(server_->port());
  EXPECT_TRUE(third.ReceiveAll());
  EXPECT_EQ(third.received, "");
}

TEST_F(ServerTest, ConnectionsThatOnlyWaitKeepNobodyOut) {
  Limits limits;
  limits.max_connections = 4;
  Start(limits, kInTurn);
  RawSocket busy(server_->port());
  busy.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(handler_->notes.Await("held"));
  RawSocket silent(server_->port());
  RawSocket half(server_->port());
  half.Send("GET /hello HTTP/1.1\r\nHo");
  Http2Client idle(server_->port());
  ASSERT_EQ(idle.Call("GET", "/hello", {}, "").status, 200);
  const auto served = [&](RawSocket& socket) {
    socket.Send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    return socket.ReceiveUntil("world");
  };
  RawSocket first(server_->port());
  EXPECT_TRUE(served(first));
  // In the order in which their waiting began, and no more than are in the way.
  EXPECT_TRUE(silent.ReceiveAll());
  half.Send("st: a\r\n\r\n");
  EXPECT_TRUE(half.ReceiveUntil("world"));
  std::vector<std::unique_ptr<RawSocket>> more;
  for (int i = 0; i < 50; ++i) {
    more.push_back(std::make_unique<RawSocket>(server_->port()));
    EXPECT_TRUE(served(*more.back())) << i;
  }
  EXPECT_TRUE(half.ReceiveAll());
  idle.Until([&] { return idle.connection_closed(); });
  EXPECT_TRUE(idle.connection_closed());
  for (const auto& exchange : handler_->TakeHeld()) {
    exchange->SendHead({200, {{"x-done", "yes"}}}, true);
  }
  EXPECT_TRUE(busy.ReceiveUntil("x-done: yes")) << "who is being served is left alone";
}

TEST_F(ServerTest, WhoOwesABodyThatHasItsTimeGivesThePlace) {
  for (const bool timed : {false, true}) {
    Limits limits;
    limits.max_connections = 1;
    if (timed) limits.body_timeout = std::chrono::seconds(30);
    Start(limits, kInTurn);
    RawSocket slow(server_->port());
    slow.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    ASSERT_TRUE(slow.ReceiveUntil("\r\n\r\n"));
    const auto served = Plain("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(served.has_value(), timed);
    if (timed) {
      EXPECT_TRUE(slow.ReceiveAll());
    } else {
      slow.Send("0123456789");
      EXPECT_TRUE(slow.ReceiveUntil("0123456789"));
    }
  }
}

TEST_F(ServerTest, WhoTakesNoFinishedResponseGivesThePlace) {
  Limits limits;
  limits.max_connections = 1;
  Start(limits, kInTurn);
  Http2Client::Options options;
  options.stream_window = 0;
  options.auto_window = false;
  Http2Client shut(server_->port(), options);
  const std::int32_t id = shut.Start("GET", "/hello", {}, "");
  ASSERT_TRUE(shut.Until([&] { return shut.stream(id).status == 200; }));
  EXPECT_TRUE(Plain("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").has_value());
  shut.Until([&] { return shut.connection_closed(); });
  EXPECT_TRUE(shut.connection_closed());
}

TEST_F(ServerTest, OneAddressHasItsShareOfTheConnections) {
  Limits limits;
  limits.max_connections_per_address = 2;
  Start(limits, kInTurn);
  RawSocket silent(server_->port());
  RawSocket busy(server_->port());
  busy.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(handler_->notes.Await("waiting"));
  RawSocket third(server_->port());
  third.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(handler_->notes.Await("waiting", 2));
  EXPECT_TRUE(silent.ReceiveAll());
  RawSocket fourth(server_->port());
  EXPECT_TRUE(fourth.ReceiveAll());
  EXPECT_EQ(fourth.received, "");
}

TEST_F(ServerTest, StopLetsRunningExchangesEnd) {
  Start();
  Http2Client client(server_->port());
  const std::int32_t id = client.Start("GET", "/hold", {}, "");
  ASSERT_TRUE(handler_->notes.Await("held"));
  RawSocket idle(server_->port());
  idle.Send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(idle.ReceiveUntil("world"));
  std::thread stopping([&] { server_->Stop(std::chrono::seconds(20)); });
  EXPECT_TRUE(client.Until([&] { return client.goaway(); }));
  EXPECT_TRUE(idle.ReceiveAll());
  for (const auto& exchange : handler_->TakeHeld()) exchange->SendHead({200, {}}, true);
  EXPECT_TRUE(client.UntilClosed(id));
  EXPECT_EQ(client.stream(id).status, 200);
  client.Until([&] { return client.connection_closed(); });
  // Our client keeps its socket open after the server's last byte; the server does not wait long.
  clock_.Advance(std::chrono::seconds(1));
  stopping.join();
  EXPECT_EQ(server_->connections(), 0);
}

TEST_F(ServerTest, StopCutsWhatDoesNotEnd) {
  Start();
  Http2Client client(server_->port());
  const std::int32_t id = client.Start("GET", "/wait", {}, "");
  ASSERT_TRUE(handler_->notes.Await("waiting"));
  server_->Stop(std::chrono::milliseconds(50));
  EXPECT_TRUE(handler_->notes.Await("cancelled"));
  client.UntilClosed(id);
  EXPECT_TRUE(client.connection_closed());
}

TEST_F(ServerTest, APortInUseIsAClearError) {
  Start();
  ServerOptions options;
  options.listen = Concat("127.0.0.1:", server_->port());
  Server second(options, handler_);
  EXPECT_THAT(second.Start(),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("the port is in use")));
  options.listen = "nowhere";
  Server third(options, handler_);
  EXPECT_THAT(third.Start(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ServerTest, AnExchangeMayOutliveTheServer) {
  Start();
  Http2Client client(server_->port());
  client.Start("GET", "/hold", {}, "");
  ASSERT_TRUE(handler_->notes.Await("held"));
  server_ = nullptr;
  for (const auto& exchange : handler_->TakeHeld()) {
    exchange->SendHead({200, {}});
    exchange->Write({Slice(std::string("too late"))});
    exchange->Finish();
  }
}

TEST(BufferedTest, GivesWholeRequestsAndTakesWholeResponses) {
  Server server({}, MakeBuffered([](const Request& request, const Responder& respond) {
                  Response response;
                  response.headers.Set("content-type", "text/plain");
                  response.body =
                      Concat(request.method, " ", Join(ParsePath(request.path).value(), "|"), " ",
                             request.Parameter("deleted").value_or("-"), " ", request.body);
                  respond(std::move(response));
                  respond({500, {}, "a second answer does not count"});
                }));
  ASSERT_THAT(server.Start(), IsOk());
  Http2Client client(server.port());
  const auto stream =
      client.Call("PUT", "/subjects/a%2Fb/versions?deleted=tr%75e&x", {}, "content");
  EXPECT_EQ(stream.body, "PUT subjects|a/b|versions true content");
  RawSocket socket(server.port());
  socket.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(socket.ReceiveUntil("GET x - "));
  EXPECT_EQ(TakeResponse(socket.received)->body, "GET x - ");
  const auto refused = client.Call("GET", "/x?deleted=%t", {}, "");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, StartsWith("the '%' at character 9 of the query begins no escape"));
}

TEST(BufferedTest, AnswersForAHandlerThatDoesNot) {
  BufferedOptions options;
  options.max_body = 10;
  Server server({}, MakeBuffered([](const Request&, const Responder&) {}, options));
  ASSERT_THAT(server.Start(), IsOk());
  Http2Client client(server.port());
  EXPECT_EQ(client.Call("GET", "/", {}, "").status, 500);
  EXPECT_EQ(client.Call("POST", "/", {}, "eleven byte").status, 413);
}

}  // namespace
}  // namespace tocsin::http
