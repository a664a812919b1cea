#include "lib/auth/token.h"

#include <gmock/gmock.h>
#include <openssl/hmac.h>

#include <filesystem>
#include <functional>
#include <random>

#include "lib/auth/keys.h"
#include "lib/auth/openssl.h"
#include "lib/base/hex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::auth {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr WallTime kNow = WallTime(seconds(1'800'000'000));

class TokenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-auth-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    pair_ = MakeEd25519KeyPair().value();
    ASSERT_THAT(WriteSecretFile(Path("local.key"), pair_.private_pem), IsOk());
    ASSERT_THAT(WriteFileAtomically(Path("local.pem"), pair_.public_pem), IsOk());
    std::filesystem::rename(Path("local.key"), Path("local-key"));
    std::filesystem::create_directory(Path("private"));
    std::filesystem::rename(Path("local-key"), Path("private/local.pem"));
    config_.set_issuer("tocsin");
    config_.set_audience("tocsin");
    config_.add_public_key_files(Path("local.pem"));
    signer_ = TokenSigner::Create(Path("private/local.pem"), "tocsin", "tocsin").value();
    verifier_ = TokenVerifier::Create(config_).value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(std::string_view name) const { return Concat(folder_, "/", name); }

  // A token of any content, well signed by the known key: what only the checks after the signature
  // can refuse.
  std::string SignRaw(std::string_view header, std::string_view claims) const {
    const std::string signed_part = Concat(Base64UrlEncode(header), ".", Base64UrlEncode(claims));
    return Concat(signed_part, ".", Base64UrlEncode(Signature(signed_part)));
  }
  std::string Signature(std::string_view text) const {
    const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(ReadOnlyBio(pair_.private_pem).get(), nullptr,
                                                      NoPassword, nullptr));
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    std::string signature(64, '\0');
    std::size_t size = signature.size();
    EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get());
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                   Unsigned(text), text.size());
    return signature;
  }

  std::string folder_;
  KeyPair pair_;
  config::v1::AuthConfig config_;
  std::unique_ptr<TokenSigner> signer_;
  std::unique_ptr<TokenVerifier> verifier_;
};

constexpr std::string_view kHeader = R"({"alg":"EdDSA","typ":"JWT","kid":"local"})";
constexpr std::string_view kClaims =
    R"({"iss":"tocsin","aud":"tocsin","sub":"maria","iat":1800000000,"exp":1800003600,"roles":["viewer"]})";

std::string Replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out(text);
  const std::size_t at = out.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return out.replace(at, from.size(), to);
}

TEST_F(TokenTest, WhatIsSignedIsVerified) {
  const auto token =
      signer_->Sign({"maria", {v1::ROLE_OPERATOR, v1::ROLE_PRODUCER}}, kNow, hours(1));
  ASSERT_THAT(token, IsOk());
  const auto principal = verifier_->Verify(*token, kNow);
  ASSERT_THAT(principal, IsOk());
  EXPECT_EQ(principal->name, "maria");
  EXPECT_THAT(principal->roles.Names(), ElementsAre("operator", "producer"));
  EXPECT_THAT(verifier_->VerifyBearer(Concat("bEaRer ", *token), kNow), IsOk());
  EXPECT_THAT(verifier_->VerifyBearer(*token, kNow),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("Bearer")));
}

TEST_F(TokenTest, ClocksMayDifferByAMinute) {
  const std::string token = signer_->Sign({"maria", {v1::ROLE_VIEWER}}, kNow, hours(1)).value();
  EXPECT_THAT(verifier_->Verify(token, kNow - seconds(60)), IsOk());
  EXPECT_THAT(verifier_->Verify(token, kNow - seconds(61)),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("in the future")));
  EXPECT_THAT(verifier_->Verify(token, kNow + hours(1) + seconds(59)), IsOk());
  EXPECT_THAT(verifier_->Verify(token, kNow + hours(1) + seconds(60)),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("expired")));
}

TEST_F(TokenTest, SignRefusesWhatVerifyWouldRefuse) {
  EXPECT_THAT(signer_->Sign({"", {v1::ROLE_VIEWER}}, kNow, hours(1)), Not(IsOk()));
  EXPECT_THAT(signer_->Sign({"a\nb", {v1::ROLE_VIEWER}}, kNow, hours(1)), Not(IsOk()));
  EXPECT_THAT(signer_->Sign({"maria", {}}, kNow, hours(1)), Not(IsOk()));
  EXPECT_THAT(signer_->Sign({"maria", {v1::ROLE_VIEWER}}, kNow, hours(0)), Not(IsOk()));
  EXPECT_THAT(signer_->Sign({"maria", {v1::ROLE_VIEWER}}, kNow, hours(24 * 367)), Not(IsOk()));
}

TEST_F(TokenTest, RefusesWellSignedTokensByTheirContent) {
  struct Case {
    const char* name;
    std::string header;
    std::string claims;
    const char* reason;
  };
  const std::string header(kHeader);
  const std::string claims(kClaims);
  const auto h = [&](std::string_view from, std::string_view to) {
    return Replaced(header, from, to);
  };
  const auto c = [&](std::string_view from, std::string_view to) {
    return Replaced(claims, from, to);
  };
  const std::vector<Case> cases{
      {"none", h("EdDSA", "none"), claims, "alg"},
      {"None in capitals", h("EdDSA", "None"), claims, "alg"},
      {"empty algorithm", h("EdDSA", ""), claims, "alg"},
      {"HMAC with the public key", h("EdDSA", "HS256"), claims, "alg"},
      {"RSA", h("EdDSA", "RS256"), claims, "alg"},
      {"ECDSA", h("EdDSA", "ES256"), claims, "alg"},
      {"algorithm in another case", h("EdDSA", "eddsa"), claims, "alg"},
      {"algorithm is no string", h("\"EdDSA\"", "1"), claims, "'alg'"},
      {"algorithm is null", h("\"EdDSA\"", "null"), claims, "'alg'"},
      {"algorithm is a list", h("\"EdDSA\"", R"(["EdDSA"])"), claims, "'alg'"},
      {"no algorithm", h(R"("alg":"EdDSA",)", ""), claims, "'alg'"},
      {"no type", h(R"("typ":"JWT",)", ""), claims, "'typ'"},
      {"an access token of another profile", h("JWT", "at+jwt"), claims, "typ"},
      {"a nested token", h("JWT", "JOSE"), claims, "typ"},
      {"no key id", h(R"(,"kid":"local")", ""), claims, "'kid'"},
      {"unknown key", h("local", "other"), claims, "key"},
      {"key id is a path", h("local", "../../dev/null"), claims, "key"},
      {"key id is an absolute path", h("local", "/etc/passwd"), claims, "key"},
      {"key id with SQL", h("local", "local' OR '1'='1"), claims, "key"},
      {"key id with NUL", h("local", "local\\u0000"), claims, "key"},
      {"key id in another case", h("local", "LOCAL"), claims, "key"},
      {"key id is a number", h("\"local\"", "0"), claims, "'kid'"},
      {"critical extension", h("{", R"({"crit":["x"],)"), claims, "crit"},
      {"unencoded payload", h("{", R"({"b64":false,)"), claims, "b64"},
      {"compressed", h("{", R"({"zip":"DEF",)"), claims, "zip"},
      {"encrypted", h("{", R"({"enc":"A256GCM",)"), claims, "enc"},
      {"token in a token", h("{", R"({"cty":"JWT",)"), claims, "cty"},
      {"algorithm twice", h("{", R"({"alg":"EdDSA",)"), claims, "twice"},
      {"key id twice", h("{", R"({"kid":"x",)"), claims, "twice"},
      {"header is a list", "[]", claims, "header"},
      {"header is no JSON", "alg", claims, "header"},
      {"header is empty", "", claims, "header"},
      {"header with a comment", header + "//", claims, "header"},
      {"header with trailing bytes", header + "{}", claims, "header"},
      {"header in invalid UTF-8", h("local", "\xff"), claims, "header"},
      {"header nested deeply", h("{", R"({"jwk":{"a":{"b":{"c":{"d":1}}}},)"), claims, "nested"},
      {"other issuer", header, c(R"("iss":"tocsin")", R"("iss":"evil")"), "issuer"},
      {"issuer with a blank", header, c(R"("iss":"tocsin")", R"("iss":"tocsin ")"), "issuer"},
      {"no issuer", header, c(R"("iss":"tocsin",)", ""), "'iss'"},
      {"issuer list", header, c(R"("iss":"tocsin")", R"("iss":["tocsin"])"), "'iss'"},
      {"issuer twice", header, c("{", R"({"iss":"tocsin",)"), "twice"},
      {"other audience", header, c(R"("aud":"tocsin")", R"("aud":"other")"), "audience"},
      {"no audience", header, c(R"("aud":"tocsin",)", ""), "audience"},
      {"audiences of others", header, c(R"("aud":"tocsin")", R"("aud":["a","b"])"), "audience"},
      {"audience is an object", header, c(R"("aud":"tocsin")", R"("aud":{"tocsin":1})"),
       "audience"},
      {"expired", header, c("1800003600", "1799999940"), "expired"},
      {"no expiry", header, c(R"("exp":1800003600,)", ""), "'exp'"},
      {"expiry is text", header, c("1800003600", "\"1800003600\""), "'exp'"},
      {"expiry is a fraction", header, c("1800003600", "1800003600.5"), "'exp'"},
      {"expiry is an exponent", header, c("1800003600", "1e300"), "'exp'"},
      {"expiry is negative", header, c("1800003600", "-1"), "'exp'"},
      {"expiry beyond 64 bits", header, c("1800003600", "99999999999999999999999"), "'exp'"},
      {"expiry at the last 64-bit value", header, c("1800003600", "18446744073709551615"), "'exp'"},
      {"expiry far away", header, c("1800003600", "253402300799"), "366 days"},
      {"expiry true", header, c("1800003600", "true"), "'exp'"},
      {"expiry twice", header, c("{", R"({"exp":1,)"), "twice"},
      {"issued in the future", header, c("1800000000", "1800000061"), "future"},
      {"no time of issue", header, c(R"("iat":1800000000,)", ""), "'iat'"},
      {"not yet valid", header, c("{", R"({"nbf":1800000061,)"), "not valid yet"},
      {"not-before is text", header, c("{", R"({"nbf":"0",)"), "'nbf'"},
      {"no subject", header, c(R"("sub":"maria",)", ""), "'sub'"},
      {"empty subject", header, c("maria", ""), "sub"},
      {"subject with a line break", header, c("maria", "maria\\nadmin"), "sub"},
      {"subject with NUL", header, c("maria", "maria\\u0000"), "sub"},
      {"subject too long", header, c("maria", std::string(257, 'm')), "sub"},
      {"no roles", header, c(R"(,"roles":["viewer"])", ""), "'roles'"},
      {"roles is text", header, c(R"(["viewer"])", R"("admin")"), "'roles'"},
      {"a role is a number", header, c(R"(["viewer"])", "[4]"), "roles"},
      {"roles twice", header, c("{", R"({"roles":["admin"],)"), "twice"},
      {"claims are a list", header, "[]", "claims"},
      {"claims with trailing bytes", header, claims + "x", "claims"},
      {"claims end early", header, claims.substr(0, claims.size() - 1), "claims"},
      {"claims in UTF-16 mark", header, "\xff\xfe" + claims, "claims"},
  };
  ASSERT_THAT(verifier_->Verify(SignRaw(header, claims), kNow), IsOk());
  for (const Case& one : cases) {
    EXPECT_THAT(verifier_->Verify(SignRaw(one.header, one.claims), kNow),
                StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr(one.reason)))
        << one.name;
  }
}

TEST_F(TokenTest, RefusesTokensByTheirForm) {
  const std::string token = SignRaw(kHeader, kClaims);
  const std::size_t first = token.find('.');
  const std::size_t second = token.rfind('.');
  const std::string signature = token.substr(second + 1);
  std::string flipped_end = token;
  // The last character of 64 bytes carries two bits of data and four that must be zero.
  flipped_end.back() = flipped_end.back() == 'A' ? 'B' : static_cast<char>(flipped_end.back() + 1);
  const std::vector<std::pair<const char*, std::string>> cases{
      {"empty", ""},
      {"a dot", "."},
      {"two dots", ".."},
      {"no signature", token.substr(0, second)},
      {"empty signature", token.substr(0, second + 1)},
      {"signature alone", Concat("..", signature)},
      {"four parts", Concat(token, ".x")},
      {"five parts, as an encrypted token", "a.b.c.d.e"},
      {"blank before", Concat(" ", token)},
      {"blank behind", Concat(token, " ")},
      {"line break behind", Concat(token, "\n")},
      {"padding", Concat(token, "==")},
      {"padding in the header", Concat(token.substr(0, first), "=", token.substr(first))},
      {"non-zero bits at the end", flipped_end},
      {"signature cut", token.substr(0, token.size() - 4)},
      {"signature longer", Concat(token, "AAAA")},
      {"zero signature", Concat(token.substr(0, second + 1), Base64UrlEncode(std::string(64, 0)))},
      {"other alphabet", Concat(token.substr(0, second + 1), std::string(86, '+'))},
      {"claims swapped in",
       Concat(token.substr(0, first + 1),
              Base64UrlEncode(Replaced(kClaims, "[\"viewer\"]", "[\"admin\"]")),
              token.substr(second))},
      {"header swapped in",
       Concat(Base64UrlEncode(Replaced(kHeader, "{", "{ ")), token.substr(first))},
      {"too long", SignRaw(kHeader, Replaced(kClaims, "maria", std::string(9000, 'm')))},
  };
  for (const auto& [name, text] : cases) {
    const auto result = verifier_->Verify(text, kNow);
    EXPECT_THAT(result, StatusIs(absl::StatusCode::kUnauthenticated)) << name;
    EXPECT_THAT(std::string(Message(result.status())), Not(HasSubstr("maria"))) << name;
  }
}

TEST_F(TokenTest, RefusesOtherKeysAndAlgorithms) {
  const std::string signed_part = Concat(Base64UrlEncode(kHeader), ".", Base64UrlEncode(kClaims));
  // The classic: an HMAC keyed with the public key's text.
  unsigned char mac[32];
  unsigned int size = 0;
  HMAC(EVP_sha256(), pair_.public_pem.data(), static_cast<int>(pair_.public_pem.size()),
       Unsigned(signed_part), signed_part.size(), mac, &size);
  const std::string hmac_header = Replaced(kHeader, "EdDSA", "HS256");
  EXPECT_THAT(
      verifier_->Verify(
          Concat(Base64UrlEncode(hmac_header), ".", Base64UrlEncode(kClaims), ".",
                 Base64UrlEncode(std::string_view(reinterpret_cast<const char*>(mac), size))),
          kNow),
      StatusIs(absl::StatusCode::kUnauthenticated));

  const KeyPair stranger = MakeEd25519KeyPair().value();
  ASSERT_THAT(WriteSecretFile(Path("private/stranger.pem"), stranger.private_pem), IsOk());
  std::filesystem::rename(Path("private/stranger.pem"), Path("private/local.pem"));
  const auto forger = TokenSigner::Create(Path("private/local.pem"), "tocsin", "tocsin").value();
  EXPECT_THAT(
      verifier_->Verify(forger->Sign({"maria", {v1::ROLE_ADMIN}}, kNow, hours(1)).value(), kNow),
      StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("signature")));
}

TEST_F(TokenTest, NoMutantOfATokenPasses) {
  const std::string token = SignRaw(kHeader, kClaims);
  std::mt19937_64 random(20261121);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ";
  for (int trial = 0; trial < 5000; ++trial) {
    std::string mutant = token;
    const std::size_t at = random() % mutant.size();
    const char letter = kAlphabet[random() % kAlphabet.size()];
    switch (random() % 4) {
      case 0:
        mutant[at] = letter;
        break;
      case 1:
        mutant.erase(at, 1);
        break;
      case 2:
        mutant.insert(at, 1, letter);
        break;
      default:
        std::swap(mutant[at], mutant[random() % mutant.size()]);
    }
    if (mutant == token) continue;
    EXPECT_THAT(verifier_->Verify(mutant, kNow), StatusIs(absl::StatusCode::kUnauthenticated))
        << mutant;
  }
}

TEST_F(TokenTest, RolesOfTheFutureAreLeftOutAndAudiencesMayBeMany) {
  const auto principal = verifier_->Verify(
      SignRaw(Replaced(kHeader, "{", R"({"jku":"https://evil.example/keys","x5u":"https://e/",)"),
              Replaced(Replaced(kClaims, "[\"viewer\"]", "[\"viewer\",\"emperor\"]"),
                       R"("aud":"tocsin")", R"("aud":["other","tocsin"])")),
      kNow);
  ASSERT_THAT(principal, IsOk());
  EXPECT_THAT(principal->roles.Names(), ElementsAre("viewer"));
}

TEST_F(TokenTest, ConfigurationErrorsNameTheKey) {
  config::v1::AuthConfig config;
  EXPECT_THAT(TokenVerifier::Create(config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("auth.issuer")));
  config.set_issuer("tocsin");
  config.set_audience("tocsin");
  EXPECT_THAT(TokenVerifier::Create(config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("auth.public_key_files")));
  config.add_public_key_files(Path("missing.pem"));
  EXPECT_THAT(TokenVerifier::Create(config),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("missing.pem")));
  config.set_public_key_files(0, Path("private/local.pem"));
  EXPECT_THAT(TokenVerifier::Create(config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not an Ed25519 public key")));
  config.set_public_key_files(0, Path("local.pem"));
  config.add_public_key_files(Path("local.pem"));
  EXPECT_THAT(TokenVerifier::Create(config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two files")));
}

TEST(MeshRolesTest, GivesRolesByCertificateName) {
  config::v1::AuthConfig config;
  (*config.mutable_mesh_roles())["report"].add_roles("schema.write");
  const auto mesh = MeshRoles::Create(config);
  ASSERT_THAT(mesh, IsOk());
  EXPECT_TRUE(mesh->For("report").roles.Holds(v1::ROLE_SCHEMA_READ));
  EXPECT_TRUE(mesh->For("stranger").roles.empty());
  (*config.mutable_mesh_roles())["report"].add_roles("schema.wrte");
  EXPECT_THAT(MeshRoles::Create(config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("schema.write")));
}

}  // namespace
}  // namespace tocsin::auth
