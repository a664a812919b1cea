// One TCP port that speaks HTTP/1.1 and HTTP/2 (with prior knowledge, or over TLS), told apart by
// the first bytes of each connection. Meant to face clients that are not trusted: everything is
// bounded.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/http/exchange.h"

namespace tocsin::http {

struct Limits {
  // Open connections. Whoever comes then takes the place of the connection that has waited longest
  // for its client: for a handshake, a head, the next request, a body with a body_timeout, to take
  // the rest of a finished response, the close at the end. Where the server is at work for all of
  // them, the new one is closed at once.
  int max_connections = 10'000;
  // The same for those of one address (IPv6: of one network of 64 bits); 0: no limit. Not where
  // clients come through a proxy or load balancer: they share its address.
  int max_connections_per_address = 0;
  // Streams at a time on one HTTP/2 connection.
  std::uint32_t max_streams = 100;
  // All header fields of a request, name + value + 32 each. More: 431; 414 where the request line
  // of HTTP/1.1 alone is longer.
  std::size_t max_header_bytes = std::size_t{16} * 1024;
  std::size_t max_header_count = 100;
  // The body of one request; 0: no limit. More: Read gives RESOURCE_EXHAUSTED.
  std::uint64_t max_body = 0;
  // Body bytes that a client may send on one stream before the handler reads them.
  std::size_t body_window = std::size_t{256} * 1024;
  // The same over all streams of one HTTP/2 connection.
  std::size_t connection_window = std::size_t{1024} * 1024;
  // See Exchange::WhenWritable and Exchange::Write.
  std::size_t unsent_low_water = std::size_t{64} * 1024;
  std::size_t max_unsent = std::size_t{16} * 1024 * 1024;
  // From the first byte of a connection or request to the end of its head.
  std::chrono::milliseconds header_timeout{10'000};
  // Between requests of a connection.
  std::chrono::milliseconds idle_timeout{120'000};
  // While the handler waits in Read and the client sends nothing; then Read gives
  // DEADLINE_EXCEEDED. 0: for ever, as a client stream needs that is quiet for long.
  std::chrono::milliseconds body_timeout{0};
  // While bytes wait to be sent and the client takes fewer than min_send_bytes of them: the
  // connection is closed. A stream of HTTP/2 whose response is finished and whose client takes
  // fewer of the rest, because it grants no window, is reset.
  std::chrono::milliseconds send_timeout{60'000};
  // 1: whoever takes anything at all may go on. More ends what is read so slowly that it only keeps
  // memory; the end of a response, when it is shorter, must be taken in one send_timeout.
  std::size_t min_send_bytes = 1;
  // Frames that cost the server more than the client (RST_STREAM in either direction after a fault
  // of the client, SETTINGS, PRIORITY, empty DATA): so many at once on a connection, refilled per
  // second; beyond that GOAWAY(ENHANCE_YOUR_CALM).
  int nuisance_burst = 1000;
  int nuisance_per_second = 50;
};

// TLS 1.2 or later, ALPN h2 and http/1.1, no renegotiation. The files are read again when they have
// changed: looked at when a connection comes, once a second at most. Where they cannot serve, what
// was read before does.
struct TlsOptions {
  // PEM: the server's certificate, followed by those that lead to the authority.
  std::string certificate_file;
  // PEM, without a password.
  std::string private_key_file;
  // Called on an I/O thread after the files were read again: OK, or why they cannot serve. Must not
  // block. Empty: nobody hears of it.
  std::function<void(const absl::Status&)> on_change{};
};

struct ServerOptions {
  // host:port; port 0 takes a free one.
  std::string listen = "127.0.0.1:0";
  // Then the port speaks TLS only. The handshake is part of what Limits::header_timeout bounds.
  std::optional<TlsOptions> tls;
  int io_threads = 2;
  Limits limits;
  // How often timeouts are looked at.
  std::chrono::milliseconds tick{250};
  const Clock* clock = &Clock::Real();
};

// Thread-safe. The destructor calls Stop(0).
class Server {
 public:
  Server(ServerOptions options, std::shared_ptr<Handler> handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and serves. Errors are for people and name the address: INVALID_ARGUMENT (not host:port),
  // ALREADY_EXISTS (the port is in use), FAILED_PRECONDITION; or the file of `tls` and what is
  // wrong with it (INVALID_ARGUMENT).
  absl::Status Start();

  // The port that is listened on; 0 before Start.
  std::uint16_t port() const;

  // Accepts no more, tells clients to go (GOAWAY, "connection: close"), lets running exchanges end
  // until `grace` has passed, then closes what is left and joins the threads. Idempotent. Handlers
  // must end their endless streams themselves. Not to be called on an I/O thread.
  void Stop(std::chrono::milliseconds grace);

  // Connections open now.
  int connections() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tocsin::http
