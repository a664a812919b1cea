#include "lib/http/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::http {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// The most that one TLS record holds.
constexpr std::size_t kRecord = std::size_t{16} * 1024;
constexpr std::size_t kLargestFile = std::size_t{1} << 20;
// Ciphers of TLS 1.2 that HTTP/2 allows: with forward secrecy and authenticated.
constexpr char kCiphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

constexpr std::string_view kPlainAnswer =
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 63\r\n"
    "connection: close\r\n\r\n"
    "this port speaks HTTPS only: write https:// before the address\n";

// A key with a password must fail, not ask for it.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

absl::StatusOr<std::string> ReadFile(std::string_view what, const std::string& path) {
  if (path.empty()) {
    return InvalidArgument(
        Concat(what, " is not set: TLS needs both a certificate and its private key"));
  }
  std::ifstream file(path, std::ios::binary);
  std::string bytes(kLargestFile + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (bytes.empty()) {
    return InvalidArgument(Concat(what, ": ", path,
                                  " cannot be read; check that it is there, and that this process "
                                  "may read it"));
  }
  if (bytes.size() > kLargestFile) {
    return InvalidArgument(Concat(what, ": ", path, " is larger than 1 MiB, so it is no PEM file"));
  }
  return bytes;
}

Owned<BIO> Memory(const std::string& bytes) {
  return Owned<BIO>(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

absl::Status UseCertificate(SSL_CTX* context, const std::string& path) {
  constexpr std::string_view kWhat = "certificate_file";
  TOCSIN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(kWhat, path));
  const Owned<BIO> bio = Memory(pem);
  const Owned<X509> leaf(PEM_read_bio_X509_AUX(bio.get(), nullptr, NoPassword, nullptr));
  if (leaf == nullptr) {
    return InvalidArgument(Concat(kWhat, ": ", path, " holds no certificate in PEM form"));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(leaf.get())) < 0) {
    return InvalidArgument(Concat(kWhat, ": the certificate in ", path,
                                  " has expired, so every client would refuse it; renew it"));
  }
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return InvalidArgument(Concat(kWhat, ": the certificate in ", path, " cannot be used for TLS"));
  }
  for (;;) {
    Owned<X509> next(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
    if (next == nullptr) break;
    // Takes it over when it succeeds.
    if (SSL_CTX_add0_chain_cert(context, next.get()) == 1) static_cast<void>(next.release());
  }
  return absl::OkStatus();
}

absl::Status UseKey(SSL_CTX* context, const std::string& path,
                    const std::string& certificate_path) {
  constexpr std::string_view kWhat = "private_key_file";
  TOCSIN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(kWhat, path));
  const Owned<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(Memory(pem).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return InvalidArgument(
        Concat(kWhat, ": ", path, " holds no private key in PEM form without a password"));
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return InvalidArgument(Concat(kWhat, ": the key in ", path,
                                  " does not belong to the certificate in ", certificate_path));
  }
  return absl::OkStatus();
}

int ChooseProtocol(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size,
                   const unsigned char* offered, unsigned int offered_size, void* /*data*/) {
  static constexpr unsigned char kOurs[] = "\x02h2\x08http/1.1";
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, chosen_size, kOurs, sizeof(kOurs) - 1, offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = selected;
  return SSL_TLSEXT_ERR_OK;
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(SSL_CTX* context, std::unique_ptr<Transport> plain,
               std::function<void(std::function<void()>)> post)
      : plain_(std::move(plain)), post_(std::move(post)), ssl_(SSL_new(context)) {
    BIO* bio = BIO_new(Method());
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    // The connection owns the BIO.
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_accept_state(ssl_.get());
  }
  ~TlsTransport() override { *closed_ = true; }

  Transfer Read(char* buffer, std::size_t size) override {
    std::size_t total = 0;
    while (total < size) {
      std::size_t got = 0;
      ERR_clear_error();
      const int done = SSL_read_ex(ssl_.get(), buffer + total, size - total, &got);
      if (done == 1) {
        total += got;
        continue;
      }
      const Result result = Outcome(done, read_waits_to_write_);
      if (result == Result::kWouldBlock || total > 0) {
        // An end or an error comes again with the next read.
        return {total > 0 ? Result::kOk : Result::kWouldBlock, total};
      }
      if (spoke_plain_) AnswerPlain();
      return {result, 0};
    }
    return {Result::kOk, total};
  }

  Transfer Write(const iovec* buffers, int count) override {
    std::size_t left = 0;
    for (int i = 0; i < count; ++i) left += buffers[i].iov_len;
    std::size_t total = 0;
    std::size_t offset = 0;
    std::array<char, kRecord> gathered;
    while (left > 0) {
      // After a write that had to wait OpenSSL wants to see the same bytes again, or more of them:
      // the front of what is to be sent is always cut alike.
      const std::size_t length = std::min(left, kRecord);
      const char* bytes = static_cast<const char*>(buffers->iov_base) + offset;
      if (buffers->iov_len - offset < length) {
        GatherFront(buffers, offset, length, gathered.data());
        bytes = gathered.data();
      }
      std::size_t sent = 0;
      ERR_clear_error();
      const int done = SSL_write_ex(ssl_.get(), bytes, length, &sent);
      if (done != 1) {
        const Result result = Outcome(done, write_waits_to_write_);
        if (total > 0) return {Result::kOk, total};
        return {result == Result::kEnd ? Result::kError : result, 0};
      }
      total += sent;
      left -= sent;
      for (offset += sent; left > 0 && offset >= buffers->iov_len; ++buffers) {
        offset -= buffers->iov_len;
      }
    }
    return {Result::kOk, total};
  }

  void WhenReadable(std::function<void()> ready) override {
    if (read_waits_to_write_) return plain_->WhenWritable(std::move(ready));
    if (SSL_has_pending(ssl_.get()) == 0) return plain_->WhenReadable(std::move(ready));
    // Decrypted already: the socket would not tell.
    post_([ready = std::move(ready), closed = closed_] {
      if (!*closed) ready();
    });
  }

  void WhenWritable(std::function<void()> ready) override {
    if (write_waits_to_write_) return plain_->WhenWritable(std::move(ready));
    plain_->WhenReadable(std::move(ready));
  }

  void ShutdownSend() override {
    ERR_clear_error();
    if (SSL_is_init_finished(ssl_.get()) != 0) SSL_shutdown(ssl_.get());
    plain_->ShutdownSend();
  }

  void Close() override {
    *closed_ = true;
    plain_->Close();
  }

  void Abort() override {
    *closed_ = true;
    plain_->Abort();
  }

 private:
  static void GatherFront(const iovec* buffers, std::size_t offset, std::size_t length, char* out) {
    while (length > 0) {
      const std::size_t here = std::min(length, buffers->iov_len - offset);
      std::memcpy(out, static_cast<const char*>(buffers->iov_base) + offset, here);
      out += here;
      length -= here;
      offset = 0;
      ++buffers;
    }
  }

  Result Outcome(int done, bool& waits_to_write) {
    switch (SSL_get_error(ssl_.get(), done)) {
      case SSL_ERROR_WANT_READ:
        waits_to_write = false;
        return Result::kWouldBlock;
      case SSL_ERROR_WANT_WRITE:
        waits_to_write = true;
        return Result::kWouldBlock;
      case SSL_ERROR_ZERO_RETURN:
        return Result::kEnd;
      default:
        return Result::kError;
    }
  }

  // To who took the port for one without TLS, before the connection is closed.
  void AnswerPlain() {
    spoke_plain_ = false;
    iovec answer{const_cast<char*>(kPlainAnswer.data()), kPlainAnswer.size()};
    plain_->Write(&answer, 1);
    // What is left unread would make the kernel take the answer back.
    std::array<char, 4096> rest;
    for (int i = 0; i < 16 && plain_->Read(rest.data(), rest.size()).result == Result::kOk; ++i) {
    }
    plain_->ShutdownSend();
  }

  // --- OpenSSL's view of the socket: nonblocking, and without SIGPIPE.
  static const BIO_METHOD* Method() {
    static const BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
      BIO_meth_set_read(made, ReadBelow);
      BIO_meth_set_write(made, WriteBelow);
      BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long {
        return command == BIO_CTRL_FLUSH ? 1 : 0;
      });
      return made;
    }();
    return method;
  }
  static int ReadBelow(BIO* bio, char* buffer, int size) {
    auto* self = static_cast<TlsTransport*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (self->spoke_plain_) return -1;
    const Transfer got = self->plain_->Read(buffer, static_cast<std::size_t>(size));
    if (got.result == Result::kWouldBlock) BIO_set_retry_read(bio);
    if (got.result == Result::kEnd) return 0;
    if (got.result != Result::kOk) return -1;
    if (self->untouched_) {
      self->untouched_ = false;
      // The methods of HTTP begin with a capital; no TLS record does.
      self->spoke_plain_ = buffer[0] >= 'A' && buffer[0] <= 'Z';
      if (self->spoke_plain_) return -1;
    }
    return static_cast<int>(got.bytes);
  }
  static int WriteBelow(BIO* bio, const char* bytes, int size) {
    auto* self = static_cast<TlsTransport*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const iovec buffer{const_cast<char*>(bytes), static_cast<std::size_t>(size)};
    const Transfer sent = self->plain_->Write(&buffer, 1);
    if (sent.result == Result::kWouldBlock) BIO_set_retry_write(bio);
    return sent.result == Result::kOk ? static_cast<int>(sent.bytes) : -1;
  }

  const std::unique_ptr<Transport> plain_;
  const std::function<void(std::function<void()>)> post_;
  const std::shared_ptr<bool> closed_ = std::make_shared<bool>(false);
  bool read_waits_to_write_ = false;
  bool write_waits_to_write_ = true;
  bool untouched_ = true;
  bool spoke_plain_ = false;
  // The last: its BIO refers to the rest.
  const Owned<SSL> ssl_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Create(const TlsOptions& options) {
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return Internal("OpenSSL gives no context for TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE |
                                         SSL_OP_PRIORITIZE_CHACHA);
  // A connection at rest keeps no buffers.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_cipher_list(context.get(), kCiphers);
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseProtocol, nullptr);
  const absl::Status certificate = UseCertificate(context.get(), options.certificate_file);
  const absl::Status key =
      certificate.ok() ? UseKey(context.get(), options.private_key_file, options.certificate_file)
                       : certificate;
  ERR_clear_error();
  TOCSIN_RETURN_IF_ERROR(key);
  return std::shared_ptr<const TlsContext>(new TlsContext(context.release()));
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

std::unique_ptr<Transport> TlsContext::Wrap(std::unique_ptr<Transport> plain,
                                            std::function<void(std::function<void()>)> post) const {
  return std::make_unique<TlsTransport>(context_, std::move(plain), std::move(post));
}

TlsFiles::TlsFiles(TlsOptions options, Versions versions, std::shared_ptr<const TlsContext> context,
                   SteadyTime now)
    : options_(std::move(options)),
      versions_(versions),
      context_(std::move(context)),
      looked_at_(now) {}

absl::StatusOr<std::unique_ptr<TlsFiles>> TlsFiles::Open(TlsOptions options, SteadyTime now) {
  // Before they are read: what is written meanwhile is seen as a change.
  const Versions versions = VersionsOf(options);
  TOCSIN_ASSIGN_OR_RETURN(auto context, TlsContext::Create(options));
  return std::unique_ptr<TlsFiles>(
      new TlsFiles(std::move(options), versions, std::move(context), now));
}

const TlsContext& TlsFiles::Current(SteadyTime now) {
  constexpr std::chrono::seconds kInterval{1};
  if (now - looked_at_ < kInterval) return *context_;
  looked_at_ = now;
  const Versions versions = VersionsOf(options_);
  if (versions == versions_) return *context_;
  versions_ = versions;
  auto context = TlsContext::Create(options_);
  if (context.ok()) context_ = *std::move(context);
  if (options_.on_change) options_.on_change(context.status());
  return *context_;
}

TlsFiles::Versions TlsFiles::VersionsOf(const TlsOptions& options) {
  return {VersionOf(options.certificate_file), VersionOf(options.private_key_file)};
}

TlsFiles::Version TlsFiles::VersionOf(const std::string& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return {};
  return {static_cast<std::int64_t>(file.st_ino),
          static_cast<std::int64_t>(file.st_size),
          file.st_mtim.tv_sec,
          file.st_mtim.tv_nsec,
          file.st_ctim.tv_sec,
          file.st_ctim.tv_nsec};
}

}  // namespace tocsin::http
