// Internal: TLS between a connection and its socket, by OpenSSL.
#pragma once

#include <openssl/types.h>

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "lib/http/server.h"
#include "lib/http/transport.h"

namespace tocsin::http {

// What all connections of a server share. Thread-safe.
class TlsContext {
 public:
  // Reads the files now. INVALID_ARGUMENT names the file and what is wrong with it.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> Create(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // A transport that speaks TLS over `plain`. It runs its callbacks by way of `post` where no
  // socket has to be waited for. The handshake takes place within Read and Write.
  std::unique_ptr<Transport> Wrap(std::unique_ptr<Transport> plain,
                                  std::function<void(std::function<void()>)> post) const;

 private:
  explicit TlsContext(SSL_CTX* context) : context_(context) {}
  SSL_CTX* const context_;
};

}  // namespace tocsin::http
