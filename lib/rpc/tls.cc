#include "lib/rpc/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string>
#include <string_view>

#include "lib/auth/keys.h"
#include "lib/base/status.h"

namespace tocsin::rpc {
namespace {

namespace grpc_tls = grpc::experimental;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// A key with a password must fail, not ask for it.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

absl::StatusOr<std::string> Read(std::string_view key, const std::string& path) {
  if (path.empty()) {
    return InvalidArgument(Concat("tls.", key, " is not set: the mesh speaks mutual TLS only"));
  }
  auto bytes = auth::ReadFile(path);
  if (!bytes.ok()) return InvalidArgument(Concat("tls.", key, ": ", Message(bytes.status())));
  return bytes;
}

Owned<X509> ParseCertificate(const std::string& pem) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Owned<X509>(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
}

unsigned int Seconds(std::chrono::seconds refresh) {
  return static_cast<unsigned int>(std::max<std::int64_t>(1, refresh.count()));
}

}  // namespace

absl::Status CheckTlsFiles(const config::v1::TlsConfig& tls) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string certificate_pem,
                          Read("certificate_file", tls.certificate_file()));
  TOCSIN_ASSIGN_OR_RETURN(const std::string key_pem, Read("key_file", tls.key_file()));
  TOCSIN_ASSIGN_OR_RETURN(const std::string ca_pem, Read("ca_file", tls.ca_file()));
  const Owned<X509> certificate = ParseCertificate(certificate_pem);
  if (certificate == nullptr) {
    return InvalidArgument(Concat("tls.certificate_file: ", tls.certificate_file(),
                                  " is not a certificate in PEM form"));
  }
  if (ParseCertificate(ca_pem) == nullptr) {
    return InvalidArgument(
        Concat("tls.ca_file: ", tls.ca_file(), " is not a certificate in PEM form"));
  }
  const Owned<BIO> bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return InvalidArgument(Concat("tls.key_file: ", tls.key_file(),
                                  " is not a private key in PEM form without a password"));
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return InvalidArgument(
        Concat("tls.key_file: ", tls.key_file(), " does not belong to ", tls.certificate_file()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const config::v1::TlsConfig& tls, std::chrono::seconds refresh) {
  TOCSIN_RETURN_IF_ERROR(CheckTlsFiles(tls));
  grpc_tls::TlsServerCredentialsOptions options(
      std::make_shared<grpc_tls::FileWatcherCertificateProvider>(
          tls.key_file(), tls.certificate_file(), tls.ca_file(), Seconds(refresh)));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc_tls::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const config::v1::TlsConfig& tls, std::chrono::seconds refresh) {
  TOCSIN_RETURN_IF_ERROR(CheckTlsFiles(tls));
  grpc_tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<grpc_tls::FileWatcherCertificateProvider>(
      tls.key_file(), tls.certificate_file(), tls.ca_file(), Seconds(refresh)));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_verify_server_certs(true);
  options.set_check_call_host(true);
  return grpc_tls::TlsCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakePublicCredentials(
    const std::string& ca_file) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string pem, auth::ReadFile(ca_file));
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = pem;
  return grpc::SslCredentials(options);
}

}  // namespace tocsin::rpc
