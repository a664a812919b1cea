#include "lib/process/admin.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"

namespace tocsin::process {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr std::uint32_t kMaxHeader = 8 << 10;
constexpr int kMaxConnections = 64;

struct Shared {
  AdminPages pages;
  std::chrono::milliseconds header_timeout;
  int connections = 0;  // touched by the one thread only
};

using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

Response Answer(const AdminPages& pages, const Request& request) {
  Response response;
  response.version(request.version());
  response.keep_alive(request.keep_alive());
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.set(http::field::cache_control, "no-store");
  const std::string_view target(request.target().data(), request.target().size());
  const std::string_view path = target.substr(0, target.find('?'));
  try {
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      response.result(http::status::method_not_allowed);
      response.set(http::field::allow, "GET, HEAD");
      response.body() = "only GET and HEAD\n";
    } else if (path == "/livez") {
      response.body() = "alive\n";
    } else if (path == "/readyz") {
      auto [ready, text] = pages.readiness();
      response.result(ready ? http::status::ok : http::status::service_unavailable);
      response.body() = std::move(text);
    } else if (path == "/metrics") {
      response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
      response.body() = pages.metrics();
    } else if (path == "/config") {
      response.set(http::field::content_type, "application/yaml; charset=utf-8");
      response.body() = pages.config();
    } else {
      response.result(http::status::not_found);
      response.body() = "/livez /readyz /metrics /config\n";
    }
  } catch (const std::exception& error) {
    response.result(http::status::internal_server_error);
    response.body() = Concat(error.what(), "\n");
  }
  response.prepare_payload();
  if (request.method() == http::verb::head) response.body().clear();
  return response;
}

// Owns itself through its handlers; all of them run on the server's thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Shared& shared) : stream_(std::move(socket)), shared_(shared) {
    ++shared_.connections;
  }
  ~Connection() { --shared_.connections; }

  void Read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeader);
    parser_->body_limit(0);
    stream_.expires_after(shared_.header_timeout);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       if (!error) self->Write();
                     });
  }

 private:
  void Write() {
    response_ = Answer(shared_.pages, parser_->get());
    stream_.expires_after(shared_.header_timeout);
    http::async_write(stream_, response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        if (!error && self->response_.keep_alive()) {
                          self->Read();
                        } else {
                          beast::error_code ignored;
                          self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
                        }
                      });
  }

  beast::tcp_stream stream_;
  Shared& shared_;
  beast::flat_buffer buffer_{kMaxHeader};
  std::optional<http::request_parser<http::empty_body>> parser_;
  Response response_;
};

class BeastAdminServer final : public AdminServer {
 public:
  BeastAdminServer(AdminPages pages, std::chrono::milliseconds header_timeout)
      : shared_{std::move(pages), header_timeout} {}

  ~BeastAdminServer() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(const std::string& listen) {
    auto address = ParseHostPort(listen);
    if (!address.ok()) return Annotate(address.status(), "admin_listen");
    beast::error_code error;
    const std::string& host = address->host;
    const auto ip = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
    if (error) {
      return InvalidArgument(
          Concat("admin_listen: '", host, "' is not an IP address (0.0.0.0 means every one)"));
    }
    const tcp::endpoint endpoint(ip, address->port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return FailedPrecondition(Concat("cannot listen on ", listen, ": ", error.message(),
                                       "; stop what has the port, or set another `admin_listen`"));
    }
    port_ = acceptor_.local_endpoint().port();
    Accept();
    thread_ = std::thread([this] { context_.run(); });
    return absl::OkStatus();
  }

  std::uint16_t port() const override { return port_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](beast::error_code error, tcp::socket socket) {
      // Over the limit the socket is closed at once, by its destructor.
      if (!error && shared_.connections < kMaxConnections) {
        std::make_shared<Connection>(std::move(socket), shared_)->Read();
      }
      if (error != asio::error::operation_aborted) Accept();
    });
  }

  Shared shared_;
  asio::io_context context_{1};
  tcp::acceptor acceptor_{context_};
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(
    const std::string& listen, AdminPages pages, std::chrono::milliseconds header_timeout) {
  auto server = std::make_unique<BeastAdminServer>(std::move(pages), header_timeout);
  try {
    TOCSIN_RETURN_IF_ERROR(server->Listen(listen));
  } catch (const std::exception& error) {
    return Internal(Concat("admin_listen: ", error.what()));
  }
  return server;
}

}  // namespace tocsin::process
