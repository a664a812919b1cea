#include "cli/supervisor/layout.h"

#include <openssl/rand.h>

#include <cstdlib>

#include "lib/auth/keys.h"
#include "lib/auth/token.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;

constexpr hours kAuthorityLifetime{24 * 3650};
constexpr hours kRenewBefore{24 * 30};
constexpr hours kTokenLifetime{24 * 90};
constexpr hours kTokenRenewBefore{24 * 7};

bool GoodUntil(const fs::path& certificate, WallTime when) {
  const auto pem = auth::ReadFile(certificate.string());
  if (!pem.ok()) return false;
  const auto expiry = auth::CertificateExpiry(*pem);
  return expiry.ok() && *expiry > when;
}

absl::Status EnsureCertificates(const Layout& layout, WallTime now) {
  const fs::path authority_key = layout.data() / "keys/ca.key";
  const bool renew_all = !GoodUntil(layout.Authority(), now + kRenewBefore) ||
                         !auth::ReadFile(authority_key.string()).ok();
  auth::Certificate authority;
  if (renew_all) {
    TOCSIN_ASSIGN_OR_RETURN(authority,
                            auth::MakeAuthority("Tocsin local authority", now, kAuthorityLifetime));
    TOCSIN_RETURN_IF_ERROR(auth::WriteSecretFile(authority_key.string(), authority.key_pem));
    TOCSIN_RETURN_IF_ERROR(
        auth::WriteFileAtomically(layout.Authority().string(), authority.certificate_pem));
  } else {
    TOCSIN_ASSIGN_OR_RETURN(authority.certificate_pem, auth::ReadFile(layout.Authority().string()));
    TOCSIN_ASSIGN_OR_RETURN(authority.key_pem, auth::ReadFile(authority_key.string()));
  }
  for (const std::string& identity : MeshIdentities()) {
    const fs::path certificate = layout.CertificateOf(identity);
    const fs::path key = layout.KeyOf(identity);
    if (!renew_all && GoodUntil(certificate, now + kRenewBefore) &&
        auth::ReadFile(key.string()).ok()) {
      continue;
    }
    auth::LeafOptions options;
    options.identity = identity;
    TOCSIN_ASSIGN_OR_RETURN(const auto leaf, auth::MakeLeaf(authority, options, now));
    TOCSIN_RETURN_IF_ERROR(auth::WriteSecretFile(key.string(), leaf.key_pem));
    TOCSIN_RETURN_IF_ERROR(auth::WriteFileAtomically(certificate.string(), leaf.certificate_pem));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& MeshIdentities() {
  static const auto* const names = new std::vector<std::string>{
      "schema-registry", "ingest", "correlation", "report", "notification", "gateway", "cli"};
  return *names;
}

fs::path Layout::Log(std::string_view process) const {
  return data_ / "logs" / Concat(process, ".log");
}
fs::path Layout::CertificateOf(std::string_view identity) const {
  return data_ / "keys" / Concat(identity, ".pem");
}
fs::path Layout::KeyOf(std::string_view identity) const {
  return data_ / "keys" / Concat(identity, ".key");
}

absl::Status Layout::MakeFolders() const {
  for (const fs::path& folder :
       {data_, data_ / "run", data_ / "keys", data_ / "keys/tokens", data_ / "keys/tokens/private",
        data_ / "config", data_ / "logs", data_ / "broker", data_ / "state"}) {
    std::error_code error;
    const bool made = fs::create_directories(folder, error);
    if (!error && made) fs::permissions(folder, fs::perms::owner_all, error);
    if (error) {
      return FailedPrecondition(Concat("cannot make the folder ", folder.string(), ": ",
                                       error.message(), ". --data DIR puts all state elsewhere."));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> EnsureKeys(const Layout& layout, std::string_view user, WallTime now) {
  TOCSIN_RETURN_IF_ERROR(EnsureCertificates(layout, now));
  if (!auth::ReadFile(layout.TokenKey().string()).ok() ||
      !auth::ReadFile(layout.TokenPublicKey().string()).ok()) {
    TOCSIN_ASSIGN_OR_RETURN(const auth::KeyPair pair, auth::MakeEd25519KeyPair());
    TOCSIN_RETURN_IF_ERROR(auth::WriteSecretFile(layout.TokenKey().string(), pair.private_pem));
    TOCSIN_RETURN_IF_ERROR(
        auth::WriteFileAtomically(layout.TokenPublicKey().string(), pair.public_pem));
  }
  if (!auth::ReadFile(layout.CursorKey().string()).ok()) {
    unsigned char bytes[32];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) return Internal("no random numbers");
    TOCSIN_RETURN_IF_ERROR(
        auth::WriteSecretFile(layout.CursorKey().string(),
                              HexEncode({reinterpret_cast<const char*>(bytes), sizeof(bytes)})));
  }
  config::v1::AuthConfig config;
  config.set_issuer(kIssuer);
  config.set_audience(kAudience);
  config.add_public_key_files(layout.TokenPublicKey().string());
  TOCSIN_ASSIGN_OR_RETURN(const auto verifier, auth::TokenVerifier::Create(config));
  if (const auto kept = auth::ReadFile(layout.Token().string()); kept.ok()) {
    const auto principal = verifier->Verify(*kept, now + kTokenRenewBefore);
    if (principal.ok() && principal->name == user) return *kept;
  }
  TOCSIN_ASSIGN_OR_RETURN(
      const auto signer, auth::TokenSigner::Create(layout.TokenKey().string(), kIssuer, kAudience));
  TOCSIN_ASSIGN_OR_RETURN(
      std::string token,
      signer->Sign({std::string(user), {auth::v1::ROLE_ADMIN}}, now, kTokenLifetime));
  TOCSIN_RETURN_IF_ERROR(auth::WriteSecretFile(layout.Token().string(), token));
  return token;
}

}  // namespace tocsin::cli
