// Makes keys and certificates for a system that has no other source of them: Ed25519 pairs for
// tokens; a certificate authority and leaves (ECDSA P-256, which every TLS library speaks) for the
// mesh. And writes them so that nobody else can read them and a crash leaves no half file.
//
// Threads: all functions may be called from any thread. They do file I/O and key generation (a few
// ms).
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"

namespace tocsin::auth {

struct KeyPair {
  std::string private_pem;  // PKCS#8
  std::string public_pem;   // SubjectPublicKeyInfo
};
absl::StatusOr<KeyPair> MakeEd25519KeyPair();

struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
};

absl::StatusOr<Certificate> MakeAuthority(std::string_view name, WallTime now,
                                          std::chrono::hours lifetime);

// A certificate for both ends of a TLS connection: subject common name and the first DNS name are
// `identity`; further names and IP addresses (text) as given.
struct LeafOptions {
  std::string identity;
  std::vector<std::string> dns_names{"localhost"};
  std::vector<std::string> ip_addresses{"127.0.0.1"};
  std::chrono::hours lifetime{24 * 365};
};
absl::StatusOr<Certificate> MakeLeaf(const Certificate& authority, const LeafOptions& options,
                                     WallTime now);

// When the first certificate in `certificate_pem` ends.
absl::StatusOr<WallTime> CertificateExpiry(std::string_view certificate_pem);

// Writes `bytes` to `path` with mode 0600 by way of a temporary file in the same folder, synced
// before it takes the name. The folder must exist. INTERNAL names the path and the reason.
absl::Status WriteSecretFile(std::string_view path, std::string_view bytes);
// The same for what others may read (mode 0644): certificates, public keys, configuration.
absl::Status WriteFileAtomically(std::string_view path, std::string_view bytes);
// NOT_FOUND: no such file; INVALID_ARGUMENT: larger than `limit` bytes.
absl::StatusOr<std::string> ReadFile(std::string_view path, std::size_t limit = 1 << 20);

}  // namespace tocsin::auth
