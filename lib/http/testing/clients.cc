#include "lib/http/testing/clients.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "lib/base/text.h"
#include "lib/http/http2_field.h"

namespace tocsin::http {
namespace {

constexpr int kWaitMilliseconds = 10'000;

int Connect(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    std::perror("connect");
    std::abort();
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

bool Readable(int fd, int milliseconds) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, milliseconds) > 0;
}

}  // namespace

RawSocket::RawSocket(std::uint16_t port) : fd_(Connect(port)) {}
RawSocket::~RawSocket() {
  if (fd_ >= 0) ::close(fd_);
}

bool RawSocket::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void RawSocket::ShutdownSend() { ::shutdown(fd_, SHUT_WR); }

void RawSocket::Abort() {
  const linger hard{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  ::close(fd_);
  fd_ = -1;
}

bool RawSocket::Receive() {
  if (!Readable(fd_, kWaitMilliseconds)) return false;
  char buffer[16384];
  const ssize_t got = ::recv(fd_, buffer, sizeof(buffer), 0);
  if (got <= 0) {
    closed = true;
    reset = got < 0 && errno == ECONNRESET;
    return false;
  }
  received.append(buffer, static_cast<std::size_t>(got));
  return true;
}

bool RawSocket::ReceiveUntil(std::string_view text) {
  while (received.find(text) == std::string::npos) {
    if (!Receive()) return false;
  }
  return true;
}

bool RawSocket::ReceiveAll() {
  while (Receive()) {
  }
  return closed;
}

std::optional<PlainResponse> TakeResponse(std::string& bytes, bool head_only) {
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  PlainResponse response;
  const auto parse_fields = [](std::string_view lines, Headers& into) {
    for (const std::string& line : Split(lines, '\n')) {
      const std::size_t colon = line.find(':');
      if (colon == std::string::npos) continue;
      into.Add(Trim(std::string_view(line).substr(0, colon)),
               Trim(std::string_view(line).substr(colon + 1)));
    }
  };
  const std::size_t first = bytes.find("\r\n");
  response.status = std::atoi(bytes.substr(9, 3).c_str());
  parse_fields(std::string_view(bytes).substr(first, end - first), response.headers);
  std::size_t at = end + 4;
  if (head_only || response.status == 204 || response.status == 304 || response.status == 100) {
    bytes.erase(0, at);
    return response;
  }
  if (const auto length = response.headers.Get("content-length")) {
    const auto size = static_cast<std::size_t>(std::atoll(std::string(*length).c_str()));
    if (bytes.size() < at + size) return std::nullopt;
    response.body = bytes.substr(at, size);
    bytes.erase(0, at + size);
    return response;
  }
  for (;;) {
    const std::size_t line = bytes.find("\r\n", at);
    if (line == std::string::npos) return std::nullopt;
    const auto size = std::strtoull(bytes.c_str() + at, nullptr, 16);
    at = line + 2;
    if (size == 0) break;
    if (bytes.size() < at + size + 2) return std::nullopt;
    response.body.append(bytes, at, size);
    at += size + 2;
  }
  const std::size_t last = bytes.compare(at, 2, "\r\n") == 0 ? at : bytes.find("\r\n\r\n", at);
  if (last == std::string::npos) return std::nullopt;
  parse_fields(std::string_view(bytes).substr(at, last - at), response.trailers);
  bytes.erase(0, last == at ? at + 2 : last + 4);
  return response;
}

class Http2Client::Impl {
 public:
  Impl(std::uint16_t port, Options options) : fd_(Connect(port)), options_(options) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                      std::uint8_t, void* user) {
          auto& self = *static_cast<Impl*>(user);
          Stream& stream = self.streams_[frame->hd.stream_id].seen;
          const std::string key(reinterpret_cast<const char*>(name), name_size);
          const std::string text(reinterpret_cast<const char*>(value), value_size);
          if (key == ":status") {
            stream.status = std::atoi(text.c_str());
          } else if (frame->headers.cat == NGHTTP2_HCAT_RESPONSE) {
            stream.headers.Add(key, text);
          } else {
            stream.trailers.Add(key, text);
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          auto& self = *static_cast<Impl*>(user);
          if (frame->hd.type == NGHTTP2_GOAWAY) {
            self.goaway_ = true;
            self.goaway_error_ = frame->goaway.error_code;
          }
          if (frame->hd.type == NGHTTP2_HEADERS &&
              (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
            self.streams_[frame->hd.stream_id].seen.ended_by_headers = true;
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                      std::size_t size, void* user) {
          static_cast<Impl*>(user)->streams_[id].seen.body.append(
              reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
          Stream& stream = static_cast<Impl*>(user)->streams_[id].seen;
          stream.closed = true;
          stream.error = error;
          return 0;
        });
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    if (!options_.auto_window) nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_client_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 1);
    Flush();
  }

  ~Impl() {
    nghttp2_session_del(session_);
    ::close(fd_);
  }

  struct Sending {
    Stream seen;
    std::string waiting;
    bool end = false;
  };

  std::int32_t Start(std::string_view method, std::string_view path, const Headers& headers,
                     std::optional<std::string> body) {
    std::vector<nghttp2_nv> block;
    const auto add = [&block](std::string_view name, std::string_view value) {
      block.push_back(Http2Field(name, value));
    };
    add(":method", method);
    add(":scheme", "http");
    add(":authority", "localhost");
    add(":path", path);
    for (const Headers::Field& field : headers) add(field.name, field.value);
    if (body.has_value() && body->empty()) {
      const std::int32_t id =
          nghttp2_submit_request(session_, nullptr, block.data(), block.size(), nullptr, nullptr);
      streams_[id].end = true;
      return id;
    }
    nghttp2_data_provider provider;
    provider.source.ptr = this;
    provider.read_callback = [](nghttp2_session*, std::int32_t id, std::uint8_t* buffer,
                                std::size_t length, std::uint32_t* flags,
                                nghttp2_data_source* source, void*) -> ssize_t {
      Sending& stream = static_cast<Impl*>(source->ptr)->streams_[id];
      const std::size_t size = stream.waiting.copy(reinterpret_cast<char*>(buffer), length);
      stream.waiting.erase(0, size);
      if (size == 0 && !stream.end) return NGHTTP2_ERR_DEFERRED;
      if (stream.waiting.empty() && stream.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(size);
    };
    const std::int32_t id =
        nghttp2_submit_request(session_, nullptr, block.data(), block.size(), &provider, nullptr);
    Sending& stream = streams_[id];
    if (body.has_value()) {
      stream.waiting = std::move(*body);
      stream.end = true;
    }
    return id;
  }

  void Flush() {
    for (;;) {
      const std::uint8_t* data = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size <= 0) return;
      ssize_t sent = 0;
      while (sent < size) {
        // The server may be waiting for us to read before it reads more.
        pollfd wait{fd_, POLLOUT | POLLIN, 0};
        ::poll(&wait, 1, kWaitMilliseconds);
        if ((wait.revents & POLLIN) != 0 && !ReceiveSome(false)) return;
        if ((wait.revents & POLLOUT) == 0) continue;
        const ssize_t part = ::send(fd_, data + sent, static_cast<std::size_t>(size - sent),
                                    MSG_NOSIGNAL | MSG_DONTWAIT);
        if (part < 0 && errno == EAGAIN) continue;
        if (part < 0) {
          closed_ = true;
          return;
        }
        sent += part;
      }
    }
  }

  bool ReceiveSome(bool process) {
    char buffer[65536];
    const ssize_t got = ::recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      closed_ = true;
      return false;
    }
    pending_.append(buffer, static_cast<std::size_t>(got));
    if (process) Process();
    return true;
  }

  void Process() {
    const std::string bytes = std::move(pending_);
    pending_.clear();
    if (nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                 bytes.size()) < 0) {
      closed_ = true;
    }
  }

  bool Until(const std::function<bool()>& done) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(kWaitMilliseconds);
    for (;;) {
      do {
        Process();
        Flush();
      } while (!pending_.empty());
      if (done()) return true;
      if (closed_ || std::chrono::steady_clock::now() > deadline) return false;
      if (Readable(fd_, 1000)) ReceiveSome(true);
    }
  }

  int fd_;
  Options options_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, Sending> streams_;
  std::string pending_;
  bool goaway_ = false;
  std::uint32_t goaway_error_ = 0;
  bool closed_ = false;
};

Http2Client::Http2Client(std::uint16_t port, Options options)
    : impl_(std::make_unique<Impl>(port, options)) {}
Http2Client::~Http2Client() = default;

std::int32_t Http2Client::Start(std::string_view method, std::string_view path,
                                const Headers& headers, std::optional<std::string> body) {
  const std::int32_t id = impl_->Start(method, path, headers, std::move(body));
  impl_->Flush();
  return id;
}

void Http2Client::SendData(std::int32_t stream, std::string_view data) {
  impl_->streams_[stream].waiting.append(data);
  nghttp2_session_resume_data(impl_->session_, stream);
  impl_->Flush();
}

void Http2Client::EndData(std::int32_t stream) {
  impl_->streams_[stream].end = true;
  nghttp2_session_resume_data(impl_->session_, stream);
  impl_->Flush();
}

void Http2Client::Reset(std::int32_t stream, std::uint32_t error) {
  nghttp2_submit_rst_stream(impl_->session_, NGHTTP2_FLAG_NONE, stream, error);
  impl_->Flush();
}

void Http2Client::Ping() {
  nghttp2_submit_ping(impl_->session_, NGHTTP2_FLAG_NONE, nullptr);
  impl_->Flush();
}

void Http2Client::GrantWindow(std::int32_t stream, int bytes) {
  nghttp2_submit_window_update(impl_->session_, NGHTTP2_FLAG_NONE, stream, bytes);
  nghttp2_submit_window_update(impl_->session_, NGHTTP2_FLAG_NONE, 0, bytes);
  impl_->Flush();
}

const Http2Client::Stream& Http2Client::stream(std::int32_t id) const {
  return impl_->streams_[id].seen;
}

bool Http2Client::Until(const std::function<bool()>& done) { return impl_->Until(done); }
void Http2Client::Flush() { impl_->Flush(); }

Http2Client::Stream Http2Client::Call(std::string_view method, std::string_view path,
                                      const Headers& headers, std::string body) {
  const std::int32_t id = Start(method, path, headers, std::move(body));
  UntilClosed(id);
  return stream(id);
}

bool Http2Client::goaway() const { return impl_->goaway_; }
std::uint32_t Http2Client::goaway_error() const { return impl_->goaway_error_; }
bool Http2Client::connection_closed() const { return impl_->closed_; }

}  // namespace tocsin::http
