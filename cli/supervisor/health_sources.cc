#include "cli/supervisor/health_sources.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/kafka/admin.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"

namespace tocsin::cli {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One Watch of a server's health. Each of its messages is news, and its end is.
class HealthWatch final : public grpc::ClientReadReactor<HealthCheckResponse> {
 public:
  HealthWatch(grpc::health::v1::Health::Stub& stub, std::function<void()> news)
      : news_(std::move(news)) {
    stub.async()->Watch(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  ~HealthWatch() override {
    context_.TryCancel();
    MutexLock lock(mutex_);
    while (!done_) ended_.Wait(mutex_);
  }

  bool done() const {
    MutexLock lock(mutex_);
    return done_;
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    news_();
    StartRead(&response_);
  }
  void OnDone(const grpc::Status&) override {
    news_();
    MutexLock lock(mutex_);
    done_ = true;
    ended_.NotifyAll();
  }

  const std::function<void()> news_;
  rpc::StreamContext context_;
  const HealthCheckRequest request_;
  HealthCheckResponse response_;
  mutable Mutex mutex_;
  CondVar ended_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

class GrpcHealth final : public HealthSource {
 public:
  GrpcHealth(std::shared_ptr<grpc::Channel> channel, std::string admin)
      : stub_(grpc::health::v1::Health::NewStub(std::move(channel))), admin_(std::move(admin)) {}

  absl::Status Ask() override {
    // The admin port first: it says what is missing, and a channel that is only used once the
    // process is there never has to wait for its reconnect back-off.
    TOCSIN_ASSIGN_OR_RETURN(const std::string conditions, HttpGet(admin_, "/readyz"));
    if (std::string missing = WhatIsMissing(conditions); !missing.empty()) {
      return Unavailable(missing);
    }
    rpc::ClientContext context(std::chrono::milliseconds(800));
    HealthCheckResponse response;
    const absl::Status status = rpc::FromGrpc(stub_->Check(&context, {}, &response));
    if (!status.ok()) return Unavailable(Concat("its gRPC port: ", Message(status)));
    if (watch_ == nullptr || watch_->done()) watch_ = std::make_unique<HealthWatch>(*stub_, news_);
    if (response.status() != HealthCheckResponse::SERVING) {
      return Unavailable("its health to be SERVING");
    }
    return absl::OkStatus();
  }

  void OnNews(std::function<void()> news) override { news_ = std::move(news); }
  // A process that stands still gives no news.
  std::chrono::milliseconds Believed() const override { return std::chrono::seconds(2); }

 private:
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  const std::string admin_;
  std::function<void()> news_;
  std::unique_ptr<HealthWatch> watch_;
};

class BrokerHealth final : public HealthSource {
 public:
  BrokerHealth(std::unique_ptr<kafka::Admin> admin, std::string kafka)
      : admin_(std::move(admin)), kafka_(std::move(kafka)) {}
  absl::Status Ask() override {
    const absl::Status status = admin_->Probe(std::chrono::milliseconds(1000));
    return status.ok() ? status : Unavailable(Concat(kafka_, " to answer"));
  }

 private:
  const std::unique_ptr<kafka::Admin> admin_;
  const std::string kafka_;
};

// One that can never be asked, and why.
class NoHealth final : public HealthSource {
 public:
  explicit NoHealth(absl::Status why) : why_(std::move(why)) {}
  absl::Status Ask() override { return why_; }

 private:
  const absl::Status why_;
};

}  // namespace

std::unique_ptr<HealthSource> MakeGrpcHealth(const std::string& address, const std::string& admin,
                                             const MeshFiles* certificates) {
  const std::vector<std::string> services{grpc::health::v1::Health::service_full_name()};
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel;
  if (certificates == nullptr) {
    channel = rpc::MakePublicChannel(address, "", services);
  } else {
    config::v1::PeerConfig peer;
    peer.set_target(address);
    config::v1::TlsConfig tls;
    tls.set_certificate_file(certificates->certificate);
    tls.set_key_file(certificates->key);
    tls.set_ca_file(certificates->authority);
    channel = rpc::MakeChannel(peer, tls, services);
  }
  if (!channel.ok()) return std::make_unique<NoHealth>(channel.status());
  return std::make_unique<GrpcHealth>(*std::move(channel), admin);
}

std::unique_ptr<HealthSource> MakeBrokerHealth(const std::string& kafka) {
  kafka::Connection connection;
  connection.bootstrap_servers = kafka;
  connection.client_id = "tocsin-supervisor";
  connection.log = [](kafka::LogLevel, std::string_view) {};
  auto made = kafka::MakeAdmin(std::move(connection));
  if (!made.ok()) return std::make_unique<NoHealth>(made.status());
  return std::make_unique<BrokerHealth>(*std::move(made), kafka);
}

std::string WhatIsMissing(std::string_view readyz) {
  if (Trim(readyz) == "ready") return {};
  std::vector<std::string> missing;
  for (const std::string& each : Split(Trim(readyz), '\n')) {
    std::string_view line = each;
    constexpr std::string_view kPrefix = "not ready: ";
    if (line.starts_with(kPrefix)) line.remove_prefix(kPrefix.size());
    // Since when is told beside it, by the step's own clock.
    if (const auto since = line.rfind(" (since "); since != std::string_view::npos) {
      line = line.substr(0, since);
    }
    missing.emplace_back(line);
  }
  const std::string all = Join(missing, "; ");
  return all.empty() ? "an answer on its admin port" : all;
}

absl::StatusOr<std::string> HttpGet(const std::string& address, std::string_view path) {
  TOCSIN_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort(address));
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(where.port);
  if (inet_pton(AF_INET, where.host.c_str(), &peer.sin_addr) != 1) {
    return InvalidArgument(Concat(where.host, " is not an IPv4 address"));
  }
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval timeout{0, 500'000};
  setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  const std::string request =
      Concat("GET ", path, " HTTP/1.1\r\nHost: ", address, "\r\nConnection: close\r\n\r\n");
  std::string answer;
  if (connect(socket_fd, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)) == 0 &&
      send(socket_fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char buffer[4096];
    constexpr std::size_t kLimit = 65536;
    for (ssize_t got = 0; answer.size() < kLimit;) {
      got = recv(socket_fd, buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      answer.append(buffer, static_cast<std::size_t>(got));
    }
  }
  close(socket_fd);
  const std::size_t body = answer.find("\r\n\r\n");
  if (body == std::string::npos) return Unavailable("its first answer");
  return answer.substr(body + 4);
}

}  // namespace tocsin::cli
