#include "lib/auth/token.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "lib/auth/keys.h"
#include "lib/auth/openssl.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::auth {
namespace {

using nlohmann::json;

constexpr std::size_t kSignatureSize = 64;
constexpr std::size_t kLongestName = 256;
constexpr std::size_t kMostRoles = 32;
// 9999-12-31: beyond it no honest clock goes, and seconds still fit into microseconds.
constexpr std::int64_t kLastSecond = 253'402'300'799;

std::string KeyId(std::string_view file) { return std::filesystem::path(file).stem().string(); }

std::int64_t Seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

// A flat-minded reader: an object, no name twice at any depth (RFC 8725 section 2.4 and RFC 7515
// section 4), at most four levels.
absl::StatusOr<json> ParseObject(std::string_view text, std::string_view what) {
  constexpr int kDeepest = 4;
  bool duplicate = false;
  bool deep = false;
  std::vector<std::set<std::string>> names;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    deep = deep || depth > kDeepest;
    if (event == json::parse_event_t::object_start) {
      names.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      names.pop_back();
    } else if (event == json::parse_event_t::key) {
      duplicate = duplicate || !names.back().insert(parsed.get<std::string>()).second;
    }
    return true;
  };
  json object = json::parse(text, watch, /*allow_exceptions=*/false);
  if (object.is_discarded() || !object.is_object()) {
    return Unauthenticated(Concat("the token's ", what, " is not a JSON object"));
  }
  if (deep) return Unauthenticated(Concat("the token's ", what, " is nested too deeply"));
  if (duplicate) return Unauthenticated(Concat("the token's ", what, " has one name twice"));
  return object;
}

absl::StatusOr<std::string> StringMember(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    return Unauthenticated(Concat("the token has no '", name, "' that is a string"));
  }
  return found->get<std::string>();
}

absl::StatusOr<std::int64_t> TimeMember(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer() ||
      (found->is_number_unsigned() &&
       found->get<std::uint64_t>() > static_cast<std::uint64_t>(kLastSecond)) ||
      found->get<std::int64_t>() < 0) {
    return Unauthenticated(
        Concat("the token has no '", name, "' that is a whole number of seconds since 1970"));
  }
  return found->get<std::int64_t>();
}

bool IsFor(const json& claims, const std::string& audience) {
  const auto found = claims.find("aud");
  if (found == claims.end()) return false;
  if (found->is_string()) return found->get_ref<const std::string&>() == audience;
  if (!found->is_array() || found->size() > kMostRoles) return false;
  return std::any_of(found->begin(), found->end(), [&](const json& one) {
    return one.is_string() && one.get_ref<const std::string&>() == audience;
  });
}

bool IsPrintable(std::string_view name) {
  return std::none_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

class Ed25519Signer : public TokenSigner {
 public:
  Ed25519Signer(Owned<EVP_PKEY> key, std::string key_id, std::string_view issuer,
                std::string_view audience)
      : key_(std::move(key)), key_id_(std::move(key_id)), issuer_(issuer), audience_(audience) {}

  absl::StatusOr<std::string> Sign(const Principal& principal, WallTime now,
                                   std::chrono::seconds lifetime) const override {
    if (principal.name.empty() || principal.name.size() > kLongestName ||
        !IsPrintable(principal.name)) {
      return InvalidArgument("a token needs a name of 1 to 256 printable characters");
    }
    if (principal.roles.empty()) return InvalidArgument("a token needs at least one role");
    if (lifetime <= std::chrono::seconds::zero() || lifetime > kLongestLifetime) {
      return InvalidArgument("a token lives more than 0 seconds and at most 366 days");
    }
    const json header = {{"alg", "EdDSA"}, {"typ", "JWT"}, {"kid", key_id_}};
    const json claims = {{"iss", issuer_},
                         {"aud", audience_},
                         {"sub", principal.name},
                         {"iat", Seconds(now)},
                         {"exp", Seconds(now) + lifetime.count()},
                         {"roles", principal.roles.Names()}};
    std::string signed_part;
    try {
      signed_part = Concat(Base64UrlEncode(header.dump()), ".", Base64UrlEncode(claims.dump()));
    } catch (const json::exception&) {
      return InvalidArgument("a token's name must be valid UTF-8");
    }
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    std::array<unsigned char, kSignatureSize> signature{};
    std::size_t size = signature.size();
    if (context == nullptr ||
        EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), signature.data(), &size, Unsigned(signed_part),
                       signed_part.size()) != 1) {
      return Internal(Concat("signing the token failed: ", OpensslError()));
    }
    return Concat(
        signed_part, ".",
        Base64UrlEncode(std::string_view(reinterpret_cast<const char*>(signature.data()), size)));
  }

 private:
  const Owned<EVP_PKEY> key_;
  const std::string key_id_;
  const std::string issuer_;
  const std::string audience_;
};

class Ed25519Verifier : public TokenVerifier {
 public:
  using Keys = std::map<std::string, Owned<EVP_PKEY>, std::less<>>;
  Ed25519Verifier(Keys keys, std::string issuer, std::string audience)
      : keys_(std::move(keys)), issuer_(std::move(issuer)), audience_(std::move(audience)) {}

  absl::StatusOr<Principal> Verify(std::string_view token, WallTime now) const override {
    if (token.empty()) return Unauthenticated("the token is empty");
    if (token.size() > kLongestToken) return Unauthenticated("the token is longer than 8 KiB");
    const std::size_t first = token.find('.');
    const std::size_t second = first == token.npos ? token.npos : token.find('.', first + 1);
    if (second == token.npos || token.find('.', second + 1) != token.npos) {
      return Unauthenticated("the token is not of the form header.claims.signature");
    }
    const auto header_text = Base64UrlDecode(token.substr(0, first));
    const auto claims_text = Base64UrlDecode(token.substr(first + 1, second - first - 1));
    const auto signature = Base64UrlDecode(token.substr(second + 1));
    if (!header_text.ok() || !claims_text.ok() || !signature.ok()) {
      return Unauthenticated("a part of the token is not base64url without padding");
    }
    TOCSIN_ASSIGN_OR_RETURN(const EVP_PKEY* const key, KeyOf(*header_text));
    TOCSIN_RETURN_IF_ERROR(CheckSignature(key, token.substr(0, second), *signature));
    return CheckClaims(*claims_text, now);
  }

 private:
  absl::StatusOr<const EVP_PKEY*> KeyOf(std::string_view header_text) const {
    TOCSIN_ASSIGN_OR_RETURN(const json header, ParseObject(header_text, "header"));
    TOCSIN_ASSIGN_OR_RETURN(const std::string algorithm, StringMember(header, "alg"));
    TOCSIN_ASSIGN_OR_RETURN(const std::string type, StringMember(header, "typ"));
    TOCSIN_ASSIGN_OR_RETURN(const std::string key_id, StringMember(header, "kid"));
    if (type != "JWT") return Unauthenticated("the token's typ is not JWT");
    // What these ask for changes the meaning of the rest, and none of it is done here.
    for (const char* const name : {"crit", "b64", "zip", "enc", "cty"}) {
      if (header.contains(name)) {
        return Unauthenticated(
            Concat("the token's header has '", name, "', which is not accepted"));
      }
    }
    const auto found = keys_.find(key_id);
    if (found == keys_.end())
      return Unauthenticated("the token names a key that is not known here");
    // Every key here is an Ed25519 key, so this is the only algorithm that it can be used with.
    if (algorithm != "EdDSA") return Unauthenticated("the token's alg does not belong to its key");
    return found->second.get();
  }

  static absl::Status CheckSignature(const EVP_PKEY* key, std::string_view signed_part,
                                     std::string_view signature) {
    if (signature.size() != kSignatureSize) {
      return Unauthenticated("the token's signature is not 64 bytes long");
    }
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    // OpenSSL takes the key as mutable for its reference count alone.
    if (context == nullptr || EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr,
                                                   const_cast<EVP_PKEY*>(key)) != 1) {
      return Internal(Concat("cannot verify tokens: ", OpensslError()));
    }
    if (EVP_DigestVerify(context.get(), Unsigned(signature), signature.size(),
                         Unsigned(signed_part), signed_part.size()) != 1) {
      ERR_clear_error();
      return Unauthenticated("the token's signature does not fit its content");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Principal> CheckClaims(std::string_view claims_text, WallTime now) const {
    TOCSIN_ASSIGN_OR_RETURN(const json claims, ParseObject(claims_text, "claims"));
    TOCSIN_ASSIGN_OR_RETURN(const std::string issuer, StringMember(claims, "iss"));
    if (issuer != issuer_) return Unauthenticated("the token is from another issuer");
    if (!IsFor(claims, audience_)) return Unauthenticated("the token is for another audience");
    TOCSIN_ASSIGN_OR_RETURN(const std::int64_t issued, TimeMember(claims, "iat"));
    TOCSIN_ASSIGN_OR_RETURN(const std::int64_t expires, TimeMember(claims, "exp"));
    const std::int64_t at = Seconds(now);
    const std::int64_t skew = kClockSkew.count();
    if (at >= expires + skew) {
      return Unauthenticated(
          "the token has expired: ask for a new one, on this machine with `tocsin token`");
    }
    if (issued > at + skew) return Unauthenticated("the token was issued in the future");
    if (expires - issued > std::chrono::seconds(kLongestLifetime).count()) {
      return Unauthenticated("the token lives longer than 366 days");
    }
    if (claims.contains("nbf")) {
      TOCSIN_ASSIGN_OR_RETURN(const std::int64_t not_before, TimeMember(claims, "nbf"));
      if (not_before > at + skew) return Unauthenticated("the token is not valid yet");
    }
    Principal principal;
    principal.expires = WallTime(std::chrono::seconds(expires));
    TOCSIN_ASSIGN_OR_RETURN(principal.name, StringMember(claims, "sub"));
    if (principal.name.empty() || principal.name.size() > kLongestName ||
        !IsPrintable(principal.name)) {
      return Unauthenticated("the token's sub is not a name of 1 to 256 printable characters");
    }
    const auto roles = claims.find("roles");
    if (roles == claims.end() || !roles->is_array() || roles->size() > kMostRoles) {
      return Unauthenticated("the token has no 'roles' that is an array of at most 32");
    }
    for (const json& role : *roles) {
      if (!role.is_string()) return Unauthenticated("the token's roles are not all strings");
      if (const auto known = ParseRole(role.get_ref<const std::string&>()); known.ok()) {
        principal.roles.Add(*known);
      }
    }
    return principal;
  }

  const Keys keys_;
  const std::string issuer_;
  const std::string audience_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TokenSigner>> TokenSigner::Create(std::string_view private_key_file,
                                                                 std::string_view issuer,
                                                                 std::string_view audience) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(private_key_file));
  Owned<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(ReadOnlyBio(pem).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) {
    ERR_clear_error();
    return InvalidArgument(
        Concat(private_key_file, " is not an Ed25519 private key in PEM without a password"));
  }
  return std::make_unique<Ed25519Signer>(std::move(key), KeyId(private_key_file), issuer, audience);
}

absl::StatusOr<std::unique_ptr<TokenVerifier>> TokenVerifier::Create(
    const config::v1::AuthConfig& config) {
  if (config.issuer().empty() || config.audience().empty()) {
    return InvalidArgument("auth.issuer and auth.audience must be set");
  }
  if (config.public_key_files().empty()) {
    return InvalidArgument("auth.public_key_files is empty: no token could ever be verified");
  }
  Ed25519Verifier::Keys keys;
  for (const std::string& file : config.public_key_files()) {
    TOCSIN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(file));
    Owned<EVP_PKEY> key(PEM_read_bio_PUBKEY(ReadOnlyBio(pem).get(), nullptr, NoPassword, nullptr));
    if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) {
      ERR_clear_error();
      return InvalidArgument(
          Concat("auth.public_key_files: ", file, " is not an Ed25519 public key in PEM"));
    }
    if (!keys.emplace(KeyId(file), std::move(key)).second) {
      return InvalidArgument(Concat("auth.public_key_files: two files have the key id '",
                                    KeyId(file), "' (the file name without its ending)"));
    }
  }
  return std::make_unique<Ed25519Verifier>(std::move(keys), config.issuer(), config.audience());
}

absl::StatusOr<Principal> TokenVerifier::VerifyBearer(std::string_view header, WallTime now) const {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() <= kScheme.size() || AsciiLower(header.substr(0, kScheme.size())) != kScheme) {
    return Unauthenticated("the authorization header is not of the form 'Bearer <token>'");
  }
  return Verify(header.substr(kScheme.size()), now);
}

absl::StatusOr<MeshRoles> MeshRoles::Create(const config::v1::AuthConfig& config) {
  MeshRoles mesh;
  for (const auto& [name, list] : config.mesh_roles()) {
    RoleSet roles;
    for (const std::string& text : list.roles()) {
      const auto role = ParseRole(text);
      if (!role.ok()) {
        return Annotate(role.status(), Concat("auth.mesh_roles.", name));
      }
      roles.Add(*role);
    }
    mesh.roles_.emplace_back(name, roles);
  }
  return mesh;
}

Principal MeshRoles::For(std::string_view certificate_name) const {
  Principal principal{std::string(certificate_name), {}};
  for (const auto& [name, roles] : roles_) {
    if (name == certificate_name) principal.roles = roles;
  }
  return principal;
}

}  // namespace tocsin::auth
