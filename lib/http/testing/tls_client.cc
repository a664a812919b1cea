#include "lib/http/testing/tls_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>

namespace tocsin::http {

struct TlsClient::Impl {
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  int fd = -1;

  ~Impl() {
    SSL_free(ssl);
    SSL_CTX_free(context);
    if (fd >= 0) ::close(fd);
  }
};

TlsClient::TlsClient(std::uint16_t port, const TlsClientOptions& options)
    : impl_(std::make_unique<Impl>()) {
  // OpenSSL writes to the socket without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  impl_->fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const timeval limit{10, 0};
  ::setsockopt(impl_->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(impl_->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(impl_->fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return;
  }
  impl_->context = SSL_CTX_new(TLS_client_method());
  if (options.newest_version != 0) {
    SSL_CTX_set_min_proto_version(impl_->context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(impl_->context, options.newest_version);
    SSL_CTX_set_security_level(impl_->context, 0);
  }
  impl_->ssl = SSL_new(impl_->context);
  SSL_set_fd(impl_->ssl, impl_->fd);
  if (!options.protocols.empty()) {
    SSL_set_alpn_protos(impl_->ssl,
                        reinterpret_cast<const unsigned char*>(options.protocols.data()),
                        static_cast<unsigned int>(options.protocols.size()));
  }
  connected_ = SSL_connect(impl_->ssl) == 1;
}

TlsClient::~TlsClient() = default;

std::string TlsClient::protocol() const {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(impl_->ssl, &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

std::string TlsClient::certificate() const {
  X509* const shown = SSL_get1_peer_certificate(impl_->ssl);
  if (shown == nullptr) return "";
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, shown);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  std::string pem(text, static_cast<std::size_t>(size));
  BIO_free(bio);
  X509_free(shown);
  return pem;
}

std::string TlsClient::version() const { return SSL_get_version(impl_->ssl); }

bool TlsClient::Send(std::string_view bytes) {
  std::size_t sent = 0;
  while (!bytes.empty()) {
    if (SSL_write_ex(impl_->ssl, bytes.data(), bytes.size(), &sent) != 1) return false;
    bytes.remove_prefix(sent);
  }
  return true;
}

bool TlsClient::Receive(bool& ended) {
  char buffer[16384];
  std::size_t got = 0;
  const int done = SSL_read_ex(impl_->ssl, buffer, sizeof(buffer), &got);
  if (done == 1) {
    received.append(buffer, got);
    return true;
  }
  ended = SSL_get_error(impl_->ssl, done) == SSL_ERROR_ZERO_RETURN;
  return false;
}

bool TlsClient::ReceiveUntil(std::string_view text) {
  bool ended = false;
  while (received.find(text) == std::string::npos) {
    if (!Receive(ended)) return false;
  }
  return true;
}

bool TlsClient::ReceiveAll() {
  bool ended = false;
  while (Receive(ended)) {
  }
  return ended;
}

bool TlsClient::Renegotiate() {
  if (SSL_renegotiate(impl_->ssl) != 1) return false;
  return SSL_do_handshake(impl_->ssl) == 1 && SSL_renegotiate_pending(impl_->ssl) == 0 &&
         SSL_num_renegotiations(impl_->ssl) > 0;
}

}  // namespace tocsin::http
