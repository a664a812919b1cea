#include "cli/supervisor/health.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "grpc/health/v1/health.grpc.pb.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/kafka/admin.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"

namespace tocsin::cli {

HealthMonitor::HealthMonitor(std::chrono::milliseconds period)
    : period_(period), thread_([this] { Loop(); }) {}

HealthMonitor::~HealthMonitor() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void HealthMonitor::Add(std::string name, Probe probe) {
  MutexLock lock(mutex_);
  entries_[std::move(name)].probe = std::move(probe);
  changed_.NotifyAll();
}

void HealthMonitor::Forget(std::string_view name) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  found->second.health = Health();
  ++found->second.epoch;
}

Health HealthMonitor::Get(std::string_view name) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  return found == entries_.end() ? Health() : found->second.health;
}

void HealthMonitor::SetPeriod(std::chrono::milliseconds period) {
  MutexLock lock(mutex_);
  period_ = period;
  changed_.NotifyAll();
}

void HealthMonitor::Loop() {
  for (;;) {
    struct Task {
      std::string name;
      Probe probe;
      int epoch;
    };
    std::vector<Task> tasks;
    {
      MutexLock lock(mutex_);
      if (stop_) return;
      for (const auto& [name, entry] : entries_) tasks.push_back({name, entry.probe, entry.epoch});
    }
    for (const Task& task : tasks) {
      const absl::Status status = task.probe();
      MutexLock lock(mutex_);
      if (stop_) return;
      Entry& entry = entries_[task.name];
      if (entry.epoch != task.epoch) continue;
      entry.health = {status.ok(), std::string(Message(status)), Clock::Real().SteadyNow()};
    }
    MutexLock lock(mutex_);
    if (!stop_) changed_.WaitFor(mutex_, period_);
  }
}

HealthMonitor::Probe GrpcHealthProbe(const std::string& address, const std::string& admin,
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
  if (!channel.ok()) return [status = channel.status()] { return status; };
  return [channel = *channel, admin]() -> absl::Status {
    // The admin port first: it says what is missing, and a channel that is only used once the
    // process is there never has to wait for its reconnect back-off.
    TOCSIN_ASSIGN_OR_RETURN(const std::string conditions, HttpGet(admin, "/readyz"));
    if (Trim(conditions) != "ready") {
      return Unavailable(Join(Split(Trim(conditions), '\n'), "; "));
    }
    const auto stub = grpc::health::v1::Health::NewStub(channel);
    rpc::ClientContext context(std::chrono::milliseconds(800));
    grpc::health::v1::HealthCheckResponse response;
    const absl::Status status = rpc::FromGrpc(stub->Check(&context, {}, &response));
    if (!status.ok()) return Unavailable(Concat("its gRPC port: ", Message(status)));
    if (response.status() != grpc::health::v1::HealthCheckResponse::SERVING) {
      return Unavailable("its health to be SERVING");
    }
    return absl::OkStatus();
  };
}

HealthMonitor::Probe BrokerProbe(const std::string& kafka) {
  kafka::Connection connection;
  connection.bootstrap_servers = kafka;
  connection.client_id = "tocsin-supervisor";
  connection.log = [](kafka::LogLevel, std::string_view) {};
  auto made = kafka::MakeAdmin(std::move(connection));
  if (!made.ok()) return [status = made.status()] { return status; };
  return [admin = std::shared_ptr<kafka::Admin>(*std::move(made)), kafka] {
    const absl::Status status = admin->Probe(std::chrono::milliseconds(1000));
    return status.ok() ? status : Unavailable(Concat(kafka, " to answer"));
  };
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
