#include "lib/auth/keys.h"

#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "lib/auth/openssl.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::auth {
namespace {

absl::StatusOr<std::string> PrivatePem(EVP_PKEY* key) {
  const Owned<BIO> bio(BIO_new(BIO_s_secmem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Internal(Concat("cannot write a private key: ", OpensslError()));
  }
  return Contents(bio.get());
}

absl::StatusOr<std::string> CertificatePem(X509* certificate) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return Internal(Concat("cannot write a certificate: ", OpensslError()));
  }
  return Contents(bio.get());
}

absl::Status AddExtension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Internal(Concat("certificate extension '", value, "': ", OpensslError()));
  }
  return absl::OkStatus();
}

// What an authority and a leaf have in common: version 3, random serial number, name, validity,
// key.
absl::StatusOr<Owned<X509>> MakeUnsigned(std::string_view name, WallTime now,
                                         std::chrono::hours lifetime, EVP_PKEY* key) {
  Owned<X509> certificate(X509_new());
  std::array<unsigned char, 16> serial{};
  if (certificate == nullptr || RAND_bytes(serial.data(), serial.size()) != 1) {
    return Internal(Concat("cannot make a certificate: ", OpensslError()));
  }
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, always 16 bytes
  BIGNUM* const number = BN_bin2bn(serial.data(), serial.size(), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  X509_set_version(certificate.get(), X509_VERSION_3);
  // A minute back: the other end's clock may be a little behind.
  const std::time_t from = std::chrono::system_clock::to_time_t(now) - static_cast<std::time_t>(60);
  const std::time_t until =
      from +
      static_cast<std::time_t>(std::chrono::duration_cast<std::chrono::seconds>(lifetime).count());
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  if (ASN1_TIME_set(X509_getm_notBefore(certificate.get()), from) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), until) == nullptr ||
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, Unsigned(name),
                                 static_cast<int>(name.size()), -1, 0) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return Internal(Concat("cannot make a certificate for '", name, "': ", OpensslError()));
  }
  return certificate;
}

absl::StatusOr<Certificate> Finish(X509* certificate, EVP_PKEY* key, EVP_PKEY* signing_key) {
  if (X509_sign(certificate, signing_key, EVP_sha256()) == 0) {
    return Internal(Concat("cannot sign a certificate: ", OpensslError()));
  }
  Certificate made;
  TOCSIN_ASSIGN_OR_RETURN(made.certificate_pem, CertificatePem(certificate));
  TOCSIN_ASSIGN_OR_RETURN(made.key_pem, PrivatePem(key));
  return made;
}

absl::Status SystemError(std::string_view what, std::string_view path) {
  return Internal(Concat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

absl::Status WriteAtomically(std::string_view path, std::string_view bytes, mode_t mode) {
  std::array<unsigned char, 8> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) return Internal("no random numbers");
  const std::string suffix =
      HexEncode(std::string_view(reinterpret_cast<const char*>(random.data()), random.size()));
  const std::string target(path);
  const std::string temporary = Concat(target, ".", suffix, ".tmp");
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (file < 0) return SystemError("create", temporary);
  absl::Status status;
  for (std::string_view rest = bytes; status.ok() && !rest.empty();) {
    const ssize_t written = write(file, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      status = SystemError("write", temporary);
    }
  }
  // The umask may have taken bits away from what the caller asked for.
  if (status.ok() && fchmod(file, mode) != 0) status = SystemError("set the mode of", temporary);
  if (status.ok() && fsync(file) != 0) status = SystemError("sync", temporary);
  if (close(file) != 0 && status.ok()) status = SystemError("close", temporary);
  if (status.ok() && rename(temporary.c_str(), target.c_str()) != 0) {
    status = SystemError("rename a file to", target);
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  const std::string folder = std::filesystem::path(target).parent_path().string();
  const int directory =
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    fsync(directory);
    close(directory);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<KeyPair> MakeEd25519KeyPair() {
  const Owned<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (key == nullptr || bio == nullptr || PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) {
    return Internal(Concat("cannot make an Ed25519 key: ", OpensslError()));
  }
  KeyPair pair;
  pair.public_pem = Contents(bio.get());
  TOCSIN_ASSIGN_OR_RETURN(pair.private_pem, PrivatePem(key.get()));
  return pair;
}

absl::StatusOr<Certificate> MakeAuthority(std::string_view name, WallTime now,
                                          std::chrono::hours lifetime) {
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Internal(Concat("cannot make a P-256 key: ", OpensslError()));
  TOCSIN_ASSIGN_OR_RETURN(const Owned<X509> made, MakeUnsigned(name, now, lifetime, key.get()));
  X509* const certificate = made.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign"));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, certificate, NID_subject_key_identifier, "hash"));
  return Finish(certificate, key.get(), key.get());
}

absl::StatusOr<Certificate> MakeLeaf(const Certificate& authority, const LeafOptions& options,
                                     WallTime now) {
  const Owned<X509> issuer(PEM_read_bio_X509(ReadOnlyBio(authority.certificate_pem).get(), nullptr,
                                             NoPassword, nullptr));
  const Owned<EVP_PKEY> issuer_key(
      PEM_read_bio_PrivateKey(ReadOnlyBio(authority.key_pem).get(), nullptr, NoPassword, nullptr));
  if (issuer == nullptr || issuer_key == nullptr) {
    return InvalidArgument(
        Concat("the authority's certificate or key cannot be read: ", OpensslError()));
  }
  if (X509_check_ca(issuer.get()) == 0) {
    return InvalidArgument("the issuing certificate is not one of an authority");
  }
  if (options.identity.empty()) return InvalidArgument("a certificate needs an identity");
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Internal(Concat("cannot make a P-256 key: ", OpensslError()));
  TOCSIN_ASSIGN_OR_RETURN(const Owned<X509> made,
                          MakeUnsigned(options.identity, now, options.lifetime, key.get()));
  X509* const certificate = made.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer.get()));
  std::vector<std::string> names{Concat("DNS:", options.identity)};
  for (const std::string& name : options.dns_names) names.push_back(Concat("DNS:", name));
  for (const std::string& address : options.ip_addresses) names.push_back(Concat("IP:", address));
  for (const std::string& name : names) {
    // A comma would begin another entry in OpenSSL's little language.
    if (name.find_first_of(",\n\r") != name.npos) {
      return InvalidArgument(Concat("'", name, "' cannot be a name in a certificate"));
    }
  }
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, issuer.get(), NID_basic_constraints, "critical,CA:FALSE"));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, issuer.get(), NID_key_usage, "critical,digitalSignature"));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth"));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, issuer.get(), NID_authority_key_identifier, "keyid"));
  TOCSIN_RETURN_IF_ERROR(
      AddExtension(certificate, issuer.get(), NID_subject_alt_name, Join(names, ",")));
  return Finish(certificate, key.get(), issuer_key.get());
}

absl::StatusOr<WallTime> CertificateExpiry(std::string_view certificate_pem) {
  const Owned<X509> certificate(
      PEM_read_bio_X509(ReadOnlyBio(certificate_pem).get(), nullptr, NoPassword, nullptr));
  std::tm broken_down{};
  if (certificate == nullptr ||
      ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &broken_down) != 1) {
    return InvalidArgument(Concat("not a certificate in PEM: ", OpensslError()));
  }
  return WallTime(std::chrono::seconds(timegm(&broken_down)));
}

absl::Status WriteSecretFile(std::string_view path, std::string_view bytes) {
  return WriteAtomically(path, bytes, S_IRUSR | S_IWUSR);
}

absl::Status WriteFileAtomically(std::string_view path, std::string_view bytes) {
  return WriteAtomically(path, bytes, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
}

absl::StatusOr<std::string> ReadFile(std::string_view path, std::size_t limit) {
  const std::string name(path);
  const int file = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    if (errno == ENOENT) return NotFound(Concat("there is no file ", name));
    return SystemError("open", name);
  }
  std::string bytes;
  std::array<char, 16384> buffer{};
  absl::Status status;
  for (;;) {
    const ssize_t got = read(file, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = SystemError("read", name);
    if (got <= 0) break;
    bytes.append(buffer.data(), static_cast<std::size_t>(got));
    if (bytes.size() > limit) {
      status = InvalidArgument(Concat(name, " is larger than ", limit, " bytes"));
      break;
    }
  }
  close(file);
  if (!status.ok()) return status;
  return bytes;
}

}  // namespace tocsin::auth
