// The tokens that people and programs show: JWT (RFC 7519) signed with Ed25519 (RFC 8037), checked
// by the rules of RFC 8725. The algorithm belongs to the key and never to the token; a key id is
// looked up in a map and used for nothing else.
//
// Claims: iss, aud, sub (the principal's name), iat, exp, optionally nbf, and `roles`, an array of
// role names. Header: alg EdDSA, typ JWT, kid.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "lib/base/clock.h"
#include "tocsin/config/v1/process.pb.h"

namespace tocsin::auth {

// How much the clocks of issuer and verifier may differ.
inline constexpr std::chrono::seconds kClockSkew{60};
inline constexpr std::chrono::hours kLongestLifetime{24 * 366};
inline constexpr std::size_t kLongestToken = 8192;

// Thread-safe. Signing costs some 50 µs and never blocks.
class TokenSigner {
 public:
  // `private_key_file`: PEM (PKCS#8, Ed25519). Its file name without directory and ending is the
  // key id. INVALID_ARGUMENT: not such a key; NOT_FOUND: no such file.
  static absl::StatusOr<std::unique_ptr<TokenSigner>> Create(std::string_view private_key_file,
                                                             std::string_view issuer,
                                                             std::string_view audience);
  virtual ~TokenSigner() = default;

  // INVALID_ARGUMENT: no name, no role, or a lifetime that is not in (0, kLongestLifetime].
  virtual absl::StatusOr<std::string> Sign(const Principal& principal, WallTime now,
                                           std::chrono::seconds lifetime) const = 0;
};

// Thread-safe. Verifying costs some 150 µs and never blocks.
class TokenVerifier {
 public:
  // Reads config.public_key_files now. INVALID_ARGUMENT: no key, not an Ed25519 public key, two
  // files with one key id, or no issuer or audience.
  static absl::StatusOr<std::unique_ptr<TokenVerifier>> Create(
      const config::v1::AuthConfig& config);
  virtual ~TokenVerifier() = default;

  // UNAUTHENTICATED with the reason in words, never with a part of the token. A role that this
  // build does not know is left out.
  virtual absl::StatusOr<Principal> Verify(std::string_view token, WallTime now) const = 0;

  // As Verify, for the value of an `authorization` header: "Bearer <token>" (the scheme in any
  // case).
  absl::StatusOr<Principal> VerifyBearer(std::string_view header, WallTime now) const;
};

// The roles of processes by their certificate's name, from config.mesh_roles. INVALID_ARGUMENT: a
// role that does not exist.
class MeshRoles {
 public:
  static absl::StatusOr<MeshRoles> Create(const config::v1::AuthConfig& config);
  // A name that is not configured has no role.
  Principal For(std::string_view certificate_name) const;

 private:
  std::vector<std::pair<std::string, RoleSet>> roles_;
};

}  // namespace tocsin::auth
