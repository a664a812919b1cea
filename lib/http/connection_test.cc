// A connection over a transport that the test opens and shuts.
#include "lib/http/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "lib/base/testing/fake_clock.h"
#include "lib/http/buffered.h"

namespace tocsin::http {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::size_t kMinSendBytes = 200'000;

// The test's end of the bytes.
struct Wire {
  std::string to_server;
  std::string to_client;
  bool client_takes = true;
  // What it takes at most until it is asked again.
  std::size_t client_window = SIZE_MAX;
  bool closed = false;
  std::function<void()> readable;
  std::function<void()> writable;
};

class FakeTransport final : public Transport {
 public:
  explicit FakeTransport(Wire& wire) : wire_(wire) {}

  Transfer Read(char* buffer, std::size_t size) override {
    if (wire_.to_server.empty()) return {Result::kWouldBlock, 0};
    const std::size_t got = wire_.to_server.copy(buffer, size);
    wire_.to_server.erase(0, got);
    return {Result::kOk, got};
  }
  Transfer Write(const iovec* buffers, int count) override {
    if (!wire_.client_takes || wire_.client_window == 0) return {Result::kWouldBlock, 0};
    std::size_t sent = 0;
    for (int i = 0; i < count; ++i) {
      const std::size_t taken = std::min(buffers[i].iov_len, wire_.client_window);
      wire_.to_client.append(static_cast<const char*>(buffers[i].iov_base), taken);
      wire_.client_window -= taken;
      sent += taken;
    }
    return {Result::kOk, sent};
  }
  void WhenReadable(std::function<void()> ready) override { wire_.readable = std::move(ready); }
  void WhenWritable(std::function<void()> ready) override { wire_.writable = std::move(ready); }
  void ShutdownSend() override {}
  void Close() override { wire_.closed = true; }
  void Abort() override { wire_.closed = true; }

 private:
  Wire& wire_;
};

// Keeps the last exchange; the test answers it.
class HoldingHandler final : public Handler {
 public:
  void Handle(std::shared_ptr<Exchange> exchange) override { held = std::move(exchange); }
  std::shared_ptr<Exchange> held;
};

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() {
    SessionContext context;
    context.loop = loop_;
    context.handler = handler_;
    context.limits.send_timeout = seconds(60);
    context.limits.min_send_bytes = kMinSendBytes;
    context.clock = &clock_;
    connection_ = std::make_shared<Connection>(
        std::move(context), std::make_unique<FakeTransport>(wire_), table_->Enter("192.0.2.1:5"),
        [](const std::shared_ptr<Connection>&) {});
    connection_->Start();
  }
  ~ConnectionTest() override {
    handler_->held = nullptr;
    connection_->Close();
    loop_->RunPosted();
    loop_->Stop();
  }

  void Receive(std::string_view bytes) {
    wire_.to_server += bytes;
    std::exchange(wire_.readable, nullptr)();
    loop_->RunPosted();
  }
  void Write(std::string_view text) {
    handler_->held->Write({Slice(std::string(text))});
    loop_->RunPosted();
  }
  void Take(std::size_t bytes) {
    wire_.client_window = bytes;
    ASSERT_NE(wire_.writable, nullptr);
    std::exchange(wire_.writable, nullptr)();
    loop_->RunPosted();
  }
  void Pass(seconds time) {
    clock_.Advance(time);
    connection_->Tick(clock_.SteadyNow());
    loop_->RunPosted();
  }

  FakeClock clock_;
  Wire wire_;
  std::shared_ptr<ConnectionTable> table_ = std::make_shared<ConnectionTable>(1, 0);
  std::shared_ptr<Loop> loop_ = Loop::Create();
  std::shared_ptr<HoldingHandler> handler_ = std::make_shared<HoldingHandler>();
  std::shared_ptr<Connection> connection_;
};

TEST_F(ConnectionTest, WhatIsSentAfterALongSilenceHasTheWholeSendTimeout) {
  loop_->RunPosted();
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  ASSERT_NE(handler_->held, nullptr);
  handler_->held->SendHead({200, {}});
  Write("first");
  ASSERT_THAT(wire_.to_client, HasSubstr("first"));
  Pass(seconds(600));
  wire_.client_takes = false;
  Write("second");
  Pass(seconds(59));
  EXPECT_FALSE(wire_.closed) << "it has waited for 59 s";
  // What comes meanwhile is no progress.
  Write("third");
  Pass(seconds(2));
  EXPECT_TRUE(wire_.closed) << "it has waited for 61 s";
}

TEST_F(ConnectionTest, AClientThatTakesInTimeGetsAllOfIt) {
  loop_->RunPosted();
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  handler_->held->SendHead({200, {}});
  Pass(seconds(600));
  wire_.client_takes = false;
  Write("second");
  Pass(seconds(59));
  wire_.client_takes = true;
  ASSERT_NE(wire_.writable, nullptr);
  std::exchange(wire_.writable, nullptr)();
  Pass(seconds(600));
  EXPECT_THAT(wire_.to_client, HasSubstr("second"));
  EXPECT_FALSE(wire_.closed);
}

TEST_F(ConnectionTest, ThePlaceOfWhoDoesNotTakeAFinishedResponseIsWanted) {
  loop_->RunPosted();
  wire_.client_takes = false;
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  handler_->held->SendHead({200, {}});
  Write("part");
  EXPECT_EQ(table_->Enter("192.0.2.1:6"), nullptr) << "the handler is at work";
  handler_->held->Finish();
  connection_->Tick(clock_.SteadyNow());
  EXPECT_NE(table_->Enter("192.0.2.1:6"), nullptr);
  connection_->LeaveWhereAsked();
  EXPECT_TRUE(wire_.closed);
}

TEST_F(ConnectionTest, WhoTakesAByteNowAndThenIsClosed) {
  loop_->RunPosted();
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  handler_->held->SendHead({200, {}});
  wire_.client_window = 0;
  Write(std::string(2'000'000, 'x'));
  for (int i = 0; i < 3; ++i) {
    Pass(seconds(19));
    EXPECT_FALSE(wire_.closed);
    Take(1);
  }
  Pass(seconds(4));
  EXPECT_TRUE(wire_.closed) << "61 s, and 3 bytes taken";
}

TEST_F(ConnectionTest, WhoTakesSlowlyButSteadilyGetsAllOfIt) {
  loop_->RunPosted();
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  handler_->held->SendHead({200, {}});
  wire_.client_window = 0;
  // More than a connection takes from its exchanges at a time: that its queue runs empty between
  // two parts gives nobody more time.
  Write(std::string(5 * kMinSendBytes, 'x'));
  for (int i = 0; i < 15; ++i) {
    Pass(seconds(19));
    ASSERT_FALSE(wire_.closed) << i;
    Take(kMinSendBytes / 3 + 1'000);
  }
  EXPECT_GT(wire_.to_client.size(), 5 * kMinSendBytes);
  // What was taken by the way does not count for what comes after a silence.
  Pass(seconds(600));
  wire_.client_window = 0;
  Write(std::string(kMinSendBytes, 'x'));
  Pass(seconds(59));
  EXPECT_FALSE(wire_.closed);
  Take(kMinSendBytes - 1);
  Pass(seconds(2));
  EXPECT_TRUE(wire_.closed);
}

TEST_F(ConnectionTest, AQueueThatRunsEmptyBetweenTwoPartsIsNoProgress) {
  loop_->RunPosted();
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  handler_->held->SendHead({200, {}});
  wire_.client_window = 0;
  Write(std::string(2'000'000, 'x'));
  Pass(seconds(59));
  // All that the connection has taken from the response, and a little of the next part.
  Take(150'000);
  EXPECT_FALSE(wire_.closed);
  Pass(seconds(2));
  EXPECT_TRUE(wire_.closed);
}

TEST_F(ConnectionTest, WhatIsHeldForAResponseIsLetGoWithItsLastByte) {
  loop_->RunPosted();
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = held;
  wire_.client_takes = false;
  const auto buffered = MakeBuffered(
      [&](const Request&, const Responder& respond) {
        Response response{200, {}, std::string(300'000, 'x')};
        response.held = std::move(held);
        respond(std::move(response));
      },
      {.worker_threads = 0});
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  buffered->Handle(std::exchange(handler_->held, nullptr));
  loop_->RunPosted();
  EXPECT_FALSE(watched.expired()) << "the client has not taken it";
  wire_.client_takes = true;
  ASSERT_NE(wire_.writable, nullptr);
  std::exchange(wire_.writable, nullptr)();
  EXPECT_GT(wire_.to_client.size(), 300'000U);
  EXPECT_TRUE(watched.expired());
  EXPECT_FALSE(wire_.closed);
}

TEST_F(ConnectionTest, WhatIsHeldForAResponseThatNobodyReadsIsLetGoAfterTheSendTimeout) {
  loop_->RunPosted();
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = held;
  wire_.client_takes = false;
  const auto buffered = MakeBuffered(
      [&](const Request&, const Responder& respond) {
        Response response{200, {}, std::string(300'000, 'x')};
        response.held = std::move(held);
        respond(std::move(response));
      },
      {.worker_threads = 0});
  Receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  buffered->Handle(std::exchange(handler_->held, nullptr));
  loop_->RunPosted();
  Pass(seconds(59));
  EXPECT_FALSE(watched.expired());
  Pass(seconds(2));
  EXPECT_TRUE(wire_.closed);
  EXPECT_TRUE(watched.expired());
}

TEST_F(ConnectionTest, WhoMovesBeforeTheyAreLookedAtStays) {
  EXPECT_NE(table_->Enter("192.0.2.1:6"), nullptr);
  loop_->RunPosted();
  wire_.to_server = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  connection_->LeaveWhereAsked();
  EXPECT_FALSE(wire_.closed);
  EXPECT_NE(handler_->held, nullptr);
}

}  // namespace
}  // namespace tocsin::http
