// Clients for tests: a raw TCP socket for input that no client would send, and an HTTP/2 client
// over nghttp2. Both block, with a limit of ten seconds for each wait, on the thread of the test.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/http/message.h"

namespace tocsin::http {

class RawSocket {
 public:
  explicit RawSocket(std::uint16_t port);
  ~RawSocket();
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  // False when the peer has closed.
  bool Send(std::string_view bytes);
  void ShutdownSend();
  // Ends with a reset instead of a close.
  void Abort();
  // Appends what is there to `received`; waits for something. False at the end of the stream or
  // after ten seconds.
  bool Receive();
  // Receives until `text` has come; false when the stream ends before.
  bool ReceiveUntil(std::string_view text);
  // Receives until the peer closes; false when it does not.
  bool ReceiveAll();

  std::string received;
  bool closed = false;
  // The end was a reset.
  bool reset = false;

 private:
  int fd_;
};

// One whole HTTP/1.1 exchange: {status, headers, body} of what `request` gets back.
struct PlainResponse {
  int status = 0;
  Headers headers;
  std::string body;
  Headers trailers;
};
// Parses one response at the front of `bytes` and takes it off; nothing when it is not whole.
std::optional<PlainResponse> TakeResponse(std::string& bytes, bool head_only = false);

class Http2Client {
 public:
  struct Stream {
    int status = 0;
    Headers headers;
    std::string body;
    Headers trailers;
    // The stream is over; with this error of HTTP/2 (0: none).
    bool closed = false;
    std::uint32_t error = 0;
    // Informational: DATA and HEADERS that ended the stream.
    bool ended_by_headers = false;
  };
  struct Options {
    std::uint32_t stream_window = 65535;
    // Take DATA off the window as it comes.
    bool auto_window = true;
  };

  explicit Http2Client(std::uint16_t port) : Http2Client(port, Options{}) {}
  Http2Client(std::uint16_t port, Options options);
  ~Http2Client();

  // Starts a request. Without `body` its sending side stays open: SendData, EndData.
  std::int32_t Start(std::string_view method, std::string_view path, const Headers& headers,
                     std::optional<std::string> body = std::nullopt);
  void SendData(std::int32_t stream, std::string_view data);
  void EndData(std::int32_t stream);
  void Reset(std::int32_t stream, std::uint32_t error);
  void Ping();
  void GrantWindow(std::int32_t stream, int bytes);

  const Stream& stream(std::int32_t id) const;
  // Sends and receives until `done`; false after ten seconds or when the connection ends before.
  bool Until(const std::function<bool()>& done);
  bool UntilClosed(std::int32_t stream) {
    return Until([&] { return this->stream(stream).closed; });
  }
  // Sends all that waits to be sent.
  void Flush();
  // Start with a body, UntilClosed.
  Stream Call(std::string_view method, std::string_view path, const Headers& headers,
              std::string body);

  bool goaway() const;
  std::uint32_t goaway_error() const;
  bool connection_closed() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tocsin::http
