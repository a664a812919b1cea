#include "gateway/wiring.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "gateway/edge.h"
#include "gateway/io.h"
#include "gateway/live/hub.h"
#include "gateway/local.h"
#include "gateway/mesh.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/http/server.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/health.h"
#include "lib/rpc/reflection.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"
#include "tocsin/correlation/v1/state_service.grpc.pb.h"
#include "tocsin/ingest/v1/ingest.grpc.pb.h"
#include "tocsin/live/v1/live.grpc.pb.h"
#include "tocsin/notification/v1/notification.grpc.pb.h"
#include "tocsin/report/v1/report.grpc.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::gateway {
namespace {

using correlation::v1::RuleService;
using correlation::v1::StateService;
using ingest::v1::IngestService;
using live::v1::LiveService;
using notification::v1::NotificationService;
using report::v1::ReportService;
using schema::v1::SchemaRegistryService;

// The method table is read from the generated descriptors. They lie in static libraries, and the
// linker leaves out what nobody names: one message of each contract keeps its file. Health comes
// with lib/rpc.
void LinkContracts() {
  google::protobuf::LinkMessageReflection<ingest::v1::PublishRequest>();
  google::protobuf::LinkMessageReflection<schema::v1::RegisterSchemaRequest>();
  google::protobuf::LinkMessageReflection<correlation::v1::ApplyRuleRequest>();
  google::protobuf::LinkMessageReflection<correlation::v1::GetLagRequest>();
  google::protobuf::LinkMessageReflection<report::v1::ListIncidentsRequest>();
  google::protobuf::LinkMessageReflection<notification::v1::ListNotificationsRequest>();
  google::protobuf::LinkMessageReflection<live::v1::SubscribeRequest>();
}

constexpr std::string_view kDefaultListen = "127.0.0.1:8080";
constexpr std::int64_t kDefaultRingBytes = std::int64_t{64} << 20;
constexpr std::chrono::seconds kDefaultHeartbeat{15};
constexpr std::size_t kConsumerBuffer = std::size_t{16} << 20;

absl::StatusOr<std::string> ReadKey(const std::string& path) {
  if (path.empty()) {
    return InvalidArgument(
        "live.cursor_key_file is not set: a file of 32 random bytes or more, the same for every "
        "replica (head -c 32 /dev/urandom > cursor.key)");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return InvalidArgument(Concat("live.cursor_key_file: cannot read ", path));
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

template <typename Contract>
absl::StatusOr<std::shared_ptr<grpc::Channel>> Peer(std::string_view key,
                                                    const config::v1::PeerConfig& peer,
                                                    const config::v1::TlsConfig& tls) {
  auto channel = rpc::MakeChannel<Contract>(peer, tls);
  if (!channel.ok()) return Annotate(channel.status(), key);
  return channel;
}

absl::StatusOr<Io> MakeIo(const v1::GatewayConfig& config) {
  Io io;
  const config::v1::TlsConfig& tls = config.process().tls();
  TOCSIN_ASSIGN_OR_RETURN(io.ingest, Peer<IngestService>("ingest", config.ingest(), tls));
  TOCSIN_ASSIGN_OR_RETURN(io.registry,
                          Peer<SchemaRegistryService>("registry", config.registry(), tls));
  TOCSIN_ASSIGN_OR_RETURN(io.correlation,
                          Peer<RuleService>("correlation", config.correlation(), tls));
  TOCSIN_ASSIGN_OR_RETURN(io.report, Peer<ReportService>("report", config.report(), tls));
  TOCSIN_ASSIGN_OR_RETURN(io.notification,
                          Peer<NotificationService>("notification", config.notification(), tls));
  if (config.kafka().bootstrap_servers().empty()) {
    return InvalidArgument("kafka.bootstrap_servers is not set: host:port of a broker");
  }
  kafka::Connection connection;
  connection.bootstrap_servers = config.kafka().bootstrap_servers();
  connection.client_id = "gateway";
  connection.log = [](kafka::LogLevel level, std::string_view message) {
    if (level == kafka::LogLevel::kError || level == kafka::LogLevel::kWarning) {
      telemetry::LogWarning("kafka", {{"said", message}});
    }
  };
  TOCSIN_ASSIGN_OR_RETURN(io.admin, kafka::MakeAdmin(connection));
  io.make_consumer = [connection] {
    kafka::ConsumerOptions options;
    options.connection = connection;
    options.isolation = kafka::Isolation::kReadCommitted;
    options.max_buffered_bytes = kConsumerBuffer;
    return kafka::MakeConsumer(options);
  };
  return io;
}

// In the order in which they are stopped: the public port first, what it stands on after.
class Gateway final : public process::Component {
 public:
  Gateway(const v1::GatewayConfig& config, process::Runtime& runtime, Io io, CursorSeal seal,
          std::vector<LiveTopic> topics)
      : runtime_(runtime),
        io_(std::move(io)),
        store_(std::move(topics),
               static_cast<std::size_t>(config.live().ring_bytes() > 0 ? config.live().ring_bytes()
                                                                       : kDefaultRingBytes)),
        replayer_(store_, io_.make_consumer),
        hub_(std::make_shared<LiveHub>(store_, replayer_, std::move(seal), Heartbeat(config),
                                       runtime.clock())),
        tail_(store_, *io_.admin, io_.make_consumer,
              {[this](const std::vector<bool>& news) { hub_->Wake(news); },
               [this](const absl::Status& status) { OnKafka(status); }},
              runtime.clock()),
        collector_([this] {
          static const telemetry::Gauge subscribers = telemetry::GetGauge(
              "tocsin_gateway_subscribers", "Open subscriptions of LiveService.");
          static const telemetry::Gauge connections =
              telemetry::GetGauge("tocsin_gateway_connections", "Open connections of clients.");
          static const telemetry::Gauge ring = telemetry::GetGauge(
              "tocsin_gateway_ring_bytes", "Records kept in memory for subscribers.");
          subscribers.Set(static_cast<double>(hub_->subscribers()));
          connections.Set(server_ == nullptr ? 0 : server_->connections());
          ring.Set(static_cast<double>(store_.bytes()));
        }) {}

  absl::Status Start(const v1::GatewayConfig& config) {
    LinkContracts();
    const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
    MethodTable methods;
    const auto add = [&](const char* service, std::shared_ptr<CallHandler> handler) {
      return methods.Add(pool, service, std::move(handler));
    };
    TOCSIN_RETURN_IF_ERROR(add(IngestService::service_full_name(), MakeMeshHandler(io_.ingest)));
    TOCSIN_RETURN_IF_ERROR(
        add(SchemaRegistryService::service_full_name(), MakeMeshHandler(io_.registry)));
    TOCSIN_RETURN_IF_ERROR(add(RuleService::service_full_name(), MakeMeshHandler(io_.correlation)));
    TOCSIN_RETURN_IF_ERROR(
        add(StateService::service_full_name(), MakeMeshHandler(io_.correlation)));
    TOCSIN_RETURN_IF_ERROR(add(ReportService::service_full_name(), MakeMeshHandler(io_.report)));
    TOCSIN_RETURN_IF_ERROR(
        add(NotificationService::service_full_name(), MakeMeshHandler(io_.notification)));
    TOCSIN_RETURN_IF_ERROR(add(LiveService::service_full_name(), hub_));
    std::vector<std::string> services = methods.services();
    services.insert(services.end(),
                    {grpc::health::v1::Health::service_full_name(),
                     grpc::reflection::v1::ServerReflection::service_full_name(),
                     grpc::reflection::v1alpha::ServerReflection::service_full_name()});
    for (const std::string& service : services) health_.Add(service);
    const auto reflection =
        MakeReflectionHandler(std::make_shared<const rpc::Reflection>(pool, services));
    TOCSIN_RETURN_IF_ERROR(
        add(grpc::health::v1::Health::service_full_name(), MakeHealthHandler(health_)));
    TOCSIN_RETURN_IF_ERROR(
        add(grpc::reflection::v1::ServerReflection::service_full_name(), reflection));
    TOCSIN_RETURN_IF_ERROR(
        add(grpc::reflection::v1alpha::ServerReflection::service_full_name(), reflection));
    TOCSIN_ASSIGN_OR_RETURN(rpc::AccessTable access, rpc::AccessTable::Create(pool, services));
    auto authenticator = rpc::Authenticator::Create(config.process().auth(), runtime_.clock());
    if (!authenticator.ok()) return Annotate(authenticator.status(), "process.auth");

    EdgeOptions edge_options;
    if (config.max_message_bytes() > 0) {
      edge_options.max_message_bytes = static_cast<std::size_t>(config.max_message_bytes());
    }
    edge_options.cors_origins.assign(config.cors_origins().begin(), config.cors_origins().end());
    edge_ = std::make_shared<Edge>(edge_options, std::move(methods), std::move(access),
                                   *std::move(authenticator));

    http::ServerOptions options;
    options.listen =
        config.public_listen().empty() ? std::string(kDefaultListen) : config.public_listen();
    if (config.max_connections() > 0) options.limits.max_connections = config.max_connections();
    options.limits.max_connections_per_address = std::max(config.max_connections_per_address(), 0);
    if (config.io_threads() > 0) options.io_threads = config.io_threads();
    server_ = std::make_unique<http::Server>(options, edge_);
    if (const absl::Status status = server_->Start(); !status.ok()) {
      return Annotate(status, "public_listen");
    }
    telemetry::LogInfo("the public port is open", {{"port", server_->port()}});

    runtime_.readiness().Declare("kafka", "the log has not been read yet");
    runtime_.readiness().OnChange([this](bool ready) {
      health_.SetAll(ready ? rpc::HealthBoard::State::kServing
                           : rpc::HealthBoard::State::kNotServing);
    });
    replayer_.Start();
    tail_.Start();
    return absl::OkStatus();
  }

  void Drain() override {
    if (edge_ != nullptr) edge_->Drain();
  }

  absl::Status Stop(SteadyTime deadline) override {
    Drain();
    tail_.BeginStop();
    replayer_.BeginStop();
    if (server_ != nullptr) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      // A part of the time is kept for the readers below.
      server_->Stop(std::max(left / 2, std::chrono::milliseconds(0)));
    }
    tail_.Stop();
    replayer_.Stop();
    return absl::OkStatus();
  }

 private:
  static std::chrono::milliseconds Heartbeat(const v1::GatewayConfig& config) {
    if (!config.live().has_heartbeat()) return kDefaultHeartbeat;
    return std::chrono::seconds(config.live().heartbeat().seconds()) +
           std::chrono::milliseconds(config.live().heartbeat().nanos() / 1'000'000);
  }

  void OnKafka(const absl::Status& status) {
    if (status.ok()) {
      runtime_.readiness().Met("kafka");
    } else {
      runtime_.readiness().NotMet("kafka", Message(status));
    }
  }

  process::Runtime& runtime_;
  Io io_;
  rpc::HealthBoard health_;
  LogStore store_;
  KafkaReplayer replayer_;
  std::shared_ptr<LiveHub> hub_;
  std::shared_ptr<Edge> edge_;
  std::unique_ptr<http::Server> server_;
  LogTail tail_;
  telemetry::Collector collector_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::GatewayConfig& config,
                                                         process::Runtime& runtime) {
  TOCSIN_ASSIGN_OR_RETURN(std::string key, ReadKey(config.live().cursor_key_file()));
  auto seal = CursorSeal::Create(std::move(key));
  if (!seal.ok()) return Annotate(seal.status(), "live.cursor_key_file");
  TOCSIN_ASSIGN_OR_RETURN(Io io, MakeIo(config));
  const std::vector<std::string> streams(config.live().streams().begin(),
                                         config.live().streams().end());
  auto gateway = std::make_unique<Gateway>(config, runtime, std::move(io), *std::move(seal),
                                           LiveTopics(streams));
  TOCSIN_RETURN_IF_ERROR(gateway->Start(config));
  return gateway;
}

}  // namespace tocsin::gateway
