// Any text as a token. The first byte says how to read the rest: 's', a header and claims with a
// zero byte between them, which are signed with the very key that the verifier trusts; else the
// token itself, which nobody can have signed. Whoever is let in must be somebody whom the signer
// would have named.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "lib/auth/keys.h"
#include "lib/auth/token.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace {

using tocsin::WallTime;
using tocsin::auth::TokenSigner;
using tocsin::auth::TokenVerifier;

constexpr WallTime kNow{std::chrono::seconds(1'800'000'000)};

void Require(bool holds) {
  if (!holds) std::abort();
}

std::string Pem(EVP_PKEY* key, bool secret) {
  BIO* const bio = BIO_new(BIO_s_mem());
  Require(secret ? PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr)
                 : PEM_write_bio_PUBKEY(bio, key));
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  std::string pem(bytes, static_cast<std::size_t>(size));
  BIO_free(bio);
  return pem;
}

// One pair of keys, the same in every run, so that what was found is found again.
class Issuer {
 public:
  Issuer() {
    std::array<unsigned char, 32> seed{};
    for (std::size_t i = 0; i < seed.size(); ++i) seed[i] = static_cast<unsigned char>(i);
    key_ = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size());
    Require(key_ != nullptr);
    std::string folder = (std::filesystem::temp_directory_path() / "tocsin-fuzz-XXXXXX").string();
    Require(mkdtemp(folder.data()) != nullptr);
    const std::string secret_file = folder + "/key";
    const std::string public_file = folder + "/key.pem";
    Require(tocsin::auth::WriteSecretFile(secret_file, Pem(key_, true)).ok());
    Require(tocsin::auth::WriteFileAtomically(public_file, Pem(key_, false)).ok());
    tocsin::config::v1::AuthConfig config;
    config.set_issuer("tocsin");
    config.set_audience("tocsin");
    config.add_public_key_files(public_file);
    verifier = TokenVerifier::Create(config).value();
    signer = TokenSigner::Create(secret_file, "tocsin", "tocsin").value();
    std::filesystem::remove_all(folder);
  }

  std::string Sign(std::string_view header, std::string_view claims) const {
    const std::string text =
        tocsin::Concat(tocsin::Base64UrlEncode(header), ".", tocsin::Base64UrlEncode(claims));
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    std::string signature(64, '\0');
    std::size_t size = signature.size();
    Require(EVP_DigestSignInit(context, nullptr, nullptr, nullptr, key_) == 1);
    Require(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                           reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1);
    EVP_MD_CTX_free(context);
    return tocsin::Concat(text, ".", tocsin::Base64UrlEncode(signature));
  }

  std::unique_ptr<TokenVerifier> verifier;
  std::unique_ptr<TokenSigner> signer;

 private:
  EVP_PKEY* key_;
};

void CheckRefused(const absl::Status& status) {
  Require(status.code() == absl::StatusCode::kUnauthenticated);
  Require(!status.message().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto* const issuer = new Issuer;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const bool is_signed = input[0] == 's';
  input.remove_prefix(1);
  if (!is_signed) {
    CheckRefused(issuer->verifier->Verify(input, kNow).status());
    CheckRefused(issuer->verifier->VerifyBearer(input, kNow).status());
    return 0;
  }
  const std::size_t cut = input.find('\0');
  if (cut == std::string_view::npos) return 0;
  const std::string token = issuer->Sign(input.substr(0, cut), input.substr(cut + 1));
  const auto principal = issuer->verifier->Verify(token, kNow);
  if (!principal.ok()) {
    CheckRefused(principal.status());
    return 0;
  }
  const auto bearer = issuer->verifier->VerifyBearer(tocsin::Concat("Bearer ", token), kNow);
  Require(bearer.ok() && bearer->name == principal->name && bearer->roles == principal->roles);
  if (principal->roles.empty()) return 0;
  const auto signed_again = issuer->signer->Sign(*principal, kNow, std::chrono::hours(1));
  Require(signed_again.ok());
  const auto again = issuer->verifier->Verify(*signed_again, kNow);
  Require(again.ok() && again->name == principal->name && again->roles == principal->roles);
  return 0;
}
