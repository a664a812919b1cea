#include "lib/http/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/auth/keys.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/http/buffered.h"
#include "lib/http/testing/clients.h"
#include "lib/http/testing/tls_client.h"

namespace tocsin::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    std::filesystem::create_directories(folder_);
    const auto now = Clock::Real().Now();
    const auto authority = auth::MakeAuthority("test", now, std::chrono::hours(24)).value();
    const auto leaf = auth::MakeLeaf(authority, {.identity = "localhost"}, now).value();
    options_.certificate_file = Write("cert.pem", leaf.certificate_pem);
    options_.private_key_file = Write("key.pem", leaf.key_pem);
    authority_ = authority;
  }
  ~TlsTest() override {
    server_ = nullptr;
    std::filesystem::remove_all(folder_);
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(auth::WriteSecretFile(path, text).ok());
    return path;
  }

  absl::Status Start(ServerOptions options = {}) {
    options.tls = options_;
    server_ = std::make_unique<Server>(
        options, MakeBuffered(
                     [](const Request& request, Responder respond) {
                       Response response;
                       response.body = request.path == "/echo" ? request.body : "hello";
                       respond(std::move(response));
                     },
                     {.max_body = std::size_t{32} << 20}));
    return server_->Start();
  }

  const std::string folder_ = ::testing::TempDir() + "tls_test_" + std::to_string(::getpid());
  auth::Certificate authority_;
  TlsOptions options_;
  // The server looks at it until it ends.
  FakeClock clock_;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsTest, AnswersOverTls) {
  ASSERT_THAT(Start(), IsOk());
  TlsClient client(server_->port());
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.version(), "TLSv1.3");
  EXPECT_EQ(client.protocol(), "");
  for (int i = 0; i < 3; ++i) {
    client.received.clear();
    ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    ASSERT_TRUE(client.ReceiveUntil("hello"));
    EXPECT_THAT(client.received, StartsWith("HTTP/1.1 200 OK\r\n"));
  }
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
  EXPECT_TRUE(client.ReceiveAll()) << "the end is said by TLS, so that nothing can be cut off";
}

TEST_F(TlsTest, TheProtocolIsAgreedOn) {
  ASSERT_THAT(Start(), IsOk());
  TlsClient both(server_->port(), {.protocols = std::string("\x08http/1.1\x02h2", 12)});
  ASSERT_TRUE(both.connected());
  EXPECT_EQ(both.protocol(), "h2");
  // An empty SETTINGS frame follows the preface; the server's own comes back.
  ASSERT_TRUE(both.Send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") +
                        std::string("\0\0\0\4\0\0\0\0\0", 9)));
  ASSERT_TRUE(both.ReceiveUntil(std::string("\4", 1)));
  EXPECT_EQ(both.received[3], 4) << "SETTINGS";
  TlsClient old(server_->port(), {.protocols = "\x08http/1.1"});
  EXPECT_EQ(old.protocol(), "http/1.1");
  TlsClient other(server_->port(), {.protocols = "\x06spdy/3"});
  EXPECT_FALSE(other.connected());
}

TEST_F(TlsTest, OldVersionsAreRefused) {
  ASSERT_THAT(Start(), IsOk());
  EXPECT_FALSE(TlsClient(server_->port(), {.newest_version = 0x0302}).connected());
  TlsClient twelve(server_->port(), {.newest_version = 0x0303});
  ASSERT_TRUE(twelve.connected());
  EXPECT_EQ(twelve.version(), "TLSv1.2");
  EXPECT_FALSE(twelve.Renegotiate());
}

TEST_F(TlsTest, LargeBodiesGoBothWays) {
  ASSERT_THAT(Start(), IsOk());
  TlsClient client(server_->port());
  ASSERT_TRUE(client.connected());
  std::string body(std::size_t{8} << 20, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('a' + i * i % 23);
  ASSERT_TRUE(
      client.Send("POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: " +
                  std::to_string(body.size()) + "\r\n\r\n"));
  ASSERT_TRUE(client.Send(body));
  ASSERT_TRUE(client.ReceiveAll());
  const std::size_t head = client.received.find("\r\n\r\n");
  ASSERT_NE(head, std::string::npos);
  EXPECT_TRUE(client.received.substr(head + 4) == body);
}

TEST_F(TlsTest, WhoSpeaksPlainHttpIsTold) {
  ASSERT_THAT(Start(), IsOk());
  RawSocket plain(server_->port());
  ASSERT_TRUE(plain.Send("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  EXPECT_TRUE(plain.ReceiveAll());
  auto response = TakeResponse(plain.received);
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 400);
  EXPECT_EQ(response->body, "this port speaks HTTPS only: write https:// before the address\n");
  RawSocket noise(server_->port());
  ASSERT_TRUE(noise.Send(std::string("\x01\x02\x03 nonsense", 12)));
  EXPECT_TRUE(noise.ReceiveAll());
  EXPECT_EQ(TlsClient(server_->port()).connected(), true) << "the others are served on";
}

TEST_F(TlsTest, AHandshakeThatDoesNotEndIsEnded) {
  ServerOptions options;
  options.clock = &clock_;
  options.tick = std::chrono::milliseconds(5);
  ASSERT_THAT(Start(options), IsOk());
  RawSocket silent(server_->port());
  RawSocket slow(server_->port());
  // The beginning of a ClientHello.
  ASSERT_TRUE(slow.Send(std::string("\x16\x03\x01\x02\x00\x01", 6)));
  // It came last, so the others have been accepted.
  TlsClient last(server_->port());
  ASSERT_TRUE(last.connected());
  clock_.Advance(std::chrono::seconds(9));
  EXPECT_EQ(server_->connections(), 3);
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_TRUE(silent.ReceiveAll());
  EXPECT_TRUE(slow.ReceiveAll());
}

TEST_F(TlsTest, FilesThatChangeAreReadAgain) {
  std::vector<absl::Status> changes;
  options_.on_change = [&](const absl::Status& status) { changes.push_back(status); };
  ServerOptions options;
  options.clock = &clock_;
  ASSERT_THAT(Start(options), IsOk());
  TlsClient first(server_->port());
  const std::string old = first.certificate();
  const auto shown = [&] { return TlsClient(server_->port()).certificate(); };

  const auto leaf =
      auth::MakeLeaf(authority_, {.identity = "localhost"}, Clock::Real().Now()).value();
  Write("cert.pem", leaf.certificate_pem);
  EXPECT_EQ(shown(), old) << "the files are looked at once a second";
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(shown(), old) << "the certificate and the key are not a pair yet";
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(shown(), old);
  Write("key.pem", leaf.key_pem);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(shown(), leaf.certificate_pem);
  std::filesystem::remove(options_.certificate_file);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(shown(), leaf.certificate_pem);

  // Connections that were there go on.
  ASSERT_TRUE(first.Send("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  EXPECT_TRUE(first.ReceiveUntil("hello"));
  // The thread that wrote them has ended.
  server_ = nullptr;
  ASSERT_EQ(changes.size(), 3u) << "what cannot serve is told once";
  EXPECT_THAT(changes[0], StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("does not belong to the certificate")));
  EXPECT_THAT(changes[1], IsOk());
  EXPECT_THAT(changes[2],
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cannot be read")));
}

TEST_F(TlsTest, FilesThatCannotServeAreNamed) {
  const TlsOptions good = options_;
  const auto start_with = [&](std::string certificate, std::string key) {
    options_ = {std::move(certificate), std::move(key)};
    return Start();
  };
  const auto refused = [](const std::string& text) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text));
  };
  EXPECT_THAT(start_with("", good.private_key_file), refused("certificate_file is not set"));
  EXPECT_THAT(start_with(good.certificate_file, ""), refused("private_key_file is not set"));
  EXPECT_THAT(start_with("/nowhere.pem", good.private_key_file),
              refused("certificate_file: /nowhere.pem cannot be read"));
  EXPECT_THAT(start_with(good.private_key_file, good.private_key_file),
              refused("holds no certificate in PEM form"));
  EXPECT_THAT(start_with(good.certificate_file, good.certificate_file),
              refused("holds no private key in PEM form without a password"));
  const auto other =
      auth::MakeLeaf(authority_, {.identity = "localhost"}, Clock::Real().Now()).value();
  EXPECT_THAT(start_with(good.certificate_file, Write("other.pem", other.key_pem)),
              refused("does not belong to the certificate in " + good.certificate_file));
  const auto past = Clock::Real().Now() - std::chrono::hours(48);
  const auto expired =
      auth::MakeLeaf(auth::MakeAuthority("t", past, std::chrono::hours(24)).value(),
                     {.identity = "localhost", .lifetime = std::chrono::hours(1)}, past)
          .value();
  EXPECT_THAT(start_with(Write("expired.pem", expired.certificate_pem),
                         Write("expired_key.pem", expired.key_pem)),
              refused("has expired"));
  EXPECT_THAT(start_with(good.certificate_file, good.private_key_file), IsOk());
}

}  // namespace
}  // namespace tocsin::http
