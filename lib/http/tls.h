// Internal: TLS between a connection and its socket, by OpenSSL.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
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

// The TlsContext of the files as they are: read again when they have changed. On one thread.
class TlsFiles {
 public:
  // As TlsContext::Create.
  static absl::StatusOr<std::unique_ptr<TlsFiles>> Open(TlsOptions options, SteadyTime now);

  // For a connection that has just been accepted. Looks at the files once a second at most; where
  // they cannot serve it tells TlsOptions::on_change and goes on with what it has, until they
  // change again. Connections keep the context that they began with.
  const TlsContext& Current(SteadyTime now);

 private:
  // Of one file, what changes when it is written or replaced; zeros where there is none.
  using Version = std::array<std::int64_t, 6>;
  using Versions = std::array<Version, 2>;
  TlsFiles(TlsOptions options, Versions versions, std::shared_ptr<const TlsContext> context,
           SteadyTime now);
  static Version VersionOf(const std::string& path);
  static Versions VersionsOf(const TlsOptions& options);

  const TlsOptions options_;
  Versions versions_;
  std::shared_ptr<const TlsContext> context_;
  SteadyTime looked_at_;
};

}  // namespace tocsin::http
