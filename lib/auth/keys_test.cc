#include "lib/auth/keys.h"

#include <gmock/gmock.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>

#include "lib/auth/openssl.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::auth {
namespace {

using std::chrono::hours;
using ::testing::HasSubstr;

Owned<X509> Parse(const std::string& pem) {
  return Owned<X509>(PEM_read_bio_X509(ReadOnlyBio(pem).get(), nullptr, nullptr, nullptr));
}

// As a TLS peer would: chain to `authority`, for the purpose, with host or address.
bool Accepts(const std::string& authority, const std::string& leaf, int purpose, const char* host,
             const char* address) {
  X509_STORE* const store = X509_STORE_new();
  const Owned<X509> root = Parse(authority);
  const Owned<X509> certificate = Parse(leaf);
  X509_STORE_add_cert(store, root.get());
  X509_STORE_CTX* const context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, certificate.get(), nullptr);
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_purpose(parameters, purpose);
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  if (host != nullptr) X509_VERIFY_PARAM_set1_host(parameters, host, 0);
  if (address != nullptr) X509_VERIFY_PARAM_set1_ip_asc(parameters, address);
  const bool accepted = X509_verify_cert(context) == 1;
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  return accepted;
}

TEST(KeysTest, LeavesAreTrustedForBothEndsUnderTheirNamesOnly) {
  const WallTime now = Clock::Real().Now();
  const Certificate authority = MakeAuthority("Tocsin local", now, hours(24 * 3650)).value();
  const Certificate stranger = MakeAuthority("Tocsin local", now, hours(24 * 3650)).value();
  LeafOptions options;
  options.identity = "ingest";
  const auto leaf = MakeLeaf(authority, options, now);
  ASSERT_THAT(leaf, IsOk());
  const std::string& pem = leaf->certificate_pem;
  const std::string& root = authority.certificate_pem;
  EXPECT_TRUE(Accepts(root, pem, X509_PURPOSE_SSL_SERVER, "ingest", nullptr));
  EXPECT_TRUE(Accepts(root, pem, X509_PURPOSE_SSL_CLIENT, "localhost", nullptr));
  EXPECT_TRUE(Accepts(root, pem, X509_PURPOSE_SSL_SERVER, nullptr, "127.0.0.1"));
  EXPECT_FALSE(Accepts(root, pem, X509_PURPOSE_SSL_SERVER, "report", nullptr));
  EXPECT_FALSE(Accepts(root, pem, X509_PURPOSE_SSL_SERVER, nullptr, "127.0.0.2"));
  EXPECT_FALSE(Accepts(stranger.certificate_pem, pem, X509_PURPOSE_SSL_SERVER, "ingest", nullptr));

  options.lifetime = hours(0);
  const auto expired = MakeLeaf(authority, options, now - hours(1));
  ASSERT_THAT(expired, IsOk());
  EXPECT_FALSE(Accepts(root, expired->certificate_pem, X509_PURPOSE_SSL_SERVER, "ingest", nullptr));
}

TEST(KeysTest, ALeafCannotSign) {
  const WallTime now = Clock::Real().Now();
  const Certificate authority = MakeAuthority("Tocsin local", now, hours(24)).value();
  LeafOptions options;
  options.identity = "ingest";
  const Certificate leaf = MakeLeaf(authority, options, now).value();
  options.identity = "forged";
  EXPECT_THAT(MakeLeaf(leaf, options, now),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("authority")));
}

TEST(KeysTest, ExpiryAndBadInput) {
  const WallTime now = WallTime(std::chrono::seconds(1'800'000'000));
  const Certificate authority = MakeAuthority("Tocsin local", now, hours(24)).value();
  EXPECT_THAT(CertificateExpiry(authority.certificate_pem),
              IsOkAndHolds(now + hours(24) - std::chrono::seconds(60)));
  EXPECT_THAT(CertificateExpiry("no certificate"), StatusIs(absl::StatusCode::kInvalidArgument));
  LeafOptions options;
  options.identity = "a,DNS:report";
  EXPECT_THAT(MakeLeaf(authority, options, now), StatusIs(absl::StatusCode::kInvalidArgument));
  options.identity = "ingest";
  EXPECT_THAT(MakeLeaf({"", ""}, options, now), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(KeysTest, SecretFilesAreForTheOwnerAloneAndReplacedWhole) {
  std::string folder = (std::filesystem::temp_directory_path() / "tocsin-keys-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = Concat(folder, "/secret");
  ASSERT_THAT(WriteSecretFile(path, "first, and longer"), IsOk());
  ASSERT_THAT(WriteSecretFile(path, "second"), IsOk());
  EXPECT_THAT(ReadFile(path), IsOkAndHolds("second"));
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  EXPECT_THAT(ReadFile(path, 3), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path)));
  EXPECT_THAT(ReadFile(Concat(folder, "/no")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(WriteSecretFile(Concat(folder, "/no/x"), "x"),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("/no/x")));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tocsin::auth
