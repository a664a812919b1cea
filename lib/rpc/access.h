// Who may call what, decided without gRPC: the server asks here before any handler runs, and the
// gateway can ask the same.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "lib/auth/token.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "tocsin/config/v1/process.pb.h"

namespace google::protobuf {
class DescriptorPool;
}  // namespace google::protobuf

namespace tocsin::rpc {

// The methods that a server has, and what each asks for. What is not in the table does not exist.
// Immutable: thread-safe.
class AccessTable {
 public:
  struct Entry {
    // Without the slash at the beginning: "tocsin.ingest.v1.IngestService/Publish".
    std::string method;
    // Unset: open to every peer (health alone).
    std::optional<auth::Role> role;
    bool streaming = false;
  };

  // From the options in the contracts. Health is open and reflection needs viewer, whose contracts
  // are not ours to annotate. INTERNAL: a method without the option (tocsin.auth.v1.access), or a
  // service that the pool does not know; names it.
  static absl::StatusOr<AccessTable> Create(const google::protobuf::DescriptorPool& pool,
                                            const std::vector<std::string>& services);

  // `path` as on the wire: "/tocsin.ingest.v1.IngestService/Publish". Null: no such method.
  const Entry* Find(std::string_view path) const;

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

// What a call shows of its origin.
struct Credentials {
  // The value of the metadata `authorization`; unset: none came.
  std::optional<std::string_view> authorization;
  // More than one such value came: never accepted, since proxies disagree on which one counts.
  bool ambiguous = false;
  // The DNS names of the peer's certificate; empty outside mutual TLS.
  std::vector<std::string> certificate_names;
};

// Thread-safe. Cheap: a token that was verified in the last 5 seconds is not verified again.
class Authenticator {
 public:
  // INVALID_ARGUMENT: the keys or roles in `config` cannot be used.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Create(const config::v1::AuthConfig& config,
                                                               const Clock& clock = Clock::Real());
  Authenticator(std::unique_ptr<auth::TokenVerifier> verifier, auth::MeshRoles mesh,
                const Clock& clock);

  // The token's principal; without a token the certificate's, which may have no roles.
  // UNAUTHENTICATED: a token that is not good (a good certificate does not make up for it).
  absl::StatusOr<auth::Principal> Authenticate(const Credentials& credentials);

  // UNIMPLEMENTED: no such method. UNAUTHENTICATED: no or a bad token. PERMISSION_DENIED: not the
  // role. Each says what is needed and how to get it.
  absl::StatusOr<auth::Principal> Authorize(const AccessTable& table, std::string_view path,
                                            const Credentials& credentials);

 private:
  struct Verified {
    auth::Principal principal;
    SteadyTime until;
  };

  std::unique_ptr<auth::TokenVerifier> verifier_;
  auth::MeshRoles mesh_;
  const Clock& clock_;
  Mutex mutex_;
  // By a hash of the token. Bounded.
  std::map<std::string, Verified> verified_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::rpc
