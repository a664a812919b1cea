// A TLS client for tests. Blocks, with a limit of ten seconds for each wait, on the thread of the
// test; takes whatever certificate the server shows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace tocsin::http {

struct TlsClientOptions {
  // In the form of the extension: "\x02h2\x08http/1.1"; empty: none offered.
  std::string protocols{};
  // E.g. 0x0302 for TLS 1.1; 0: OpenSSL's choice.
  int newest_version = 0;
};

class TlsClient {
 public:
  // Connects and shakes hands; see connected().
  TlsClient(std::uint16_t port, const TlsClientOptions& options);
  explicit TlsClient(std::uint16_t port) : TlsClient(port, {}) {}
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool connected() const { return connected_; }
  // "h2"; empty: none was agreed on.
  std::string protocol() const;
  // The certificate that the server shows, in PEM.
  std::string certificate() const;
  // "TLSv1.3"
  std::string version() const;
  bool Send(std::string_view bytes);
  // Appends what comes to `received` until `text` has come; false when the stream ends before.
  bool ReceiveUntil(std::string_view text);
  // Until the server ends the stream; false when it does not.
  bool ReceiveAll();
  // Asks for a new handshake (TLS 1.2); true when there was one.
  bool Renegotiate();

  std::string received;

 private:
  struct Impl;
  bool Receive(bool& ended);

  const std::unique_ptr<Impl> impl_;
  bool connected_ = false;
};

}  // namespace tocsin::http
