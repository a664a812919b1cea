#include "services/notification/wiring.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/stop_signal.h"
#include "lib/base/text.h"
#include "lib/config/duration.h"
#include "lib/events/own_topic.h"
#include "lib/events/registry_client.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/server.h"
#include "lib/sql/sqlite.h"
#include "lib/telemetry/log.h"
#include "services/notification/deliverer.h"
#include "services/notification/dispatcher.h"
#include "services/notification/http_client.h"
#include "services/notification/io.h"
#include "services/notification/notification_core.h"
#include "services/notification/notification_service.h"
#include "services/notification/notification_store.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::notification {
namespace {
using std::chrono::milliseconds;

constexpr milliseconds kProbeTimeout{2'000};
constexpr milliseconds kProbePause{1'000};
constexpr std::chrono::hours kExpireEvery{1};

// All routes together, and what no route has less of.
constexpr std::size_t kMaxOutstanding = 10'000;
constexpr std::size_t kMaxOutstandingBytes = 64U << 20;
constexpr std::size_t kMaxOutstandingPerRoute = 1'000;
constexpr std::size_t kLeastBytes = 64U << 10;

// Of the time that a stop has, for a broker that does not answer.
constexpr milliseconds kCommitTimeout{2'000};
constexpr milliseconds kCloseTimeout{1'000};

absl::StatusOr<std::string> Secret(const v1::Route& route) {
  const v1::Webhook& webhook = route.webhook();
  if (webhook.secret_file().empty()) return webhook.secret();
  if (!webhook.secret().empty()) {
    return InvalidArgument(
        Concat("routes: '", route.name(), "': both secret and secret_file are set; keep one"));
  }
  std::ifstream file(webhook.secret_file(), std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) {
    return InvalidArgument(Concat("routes: '", route.name(), "': secret_file ",
                                  webhook.secret_file(), " cannot be read, or is empty"));
  }
  return text;
}

// What one route may hold: an equal share of what all may, or its own limit where that is less.
DispatcherOptions ShareOf(const v1::NotificationConfig& config) {
  const auto routes = static_cast<std::size_t>(std::max(config.routes_size(), 1));
  const auto or_default = [](std::int64_t value, std::size_t otherwise) {
    return value > 0 ? static_cast<std::size_t>(value) : otherwise;
  };
  DispatcherOptions options;
  if (config.workers_per_route() > 0) options.workers = std::min(config.workers_per_route(), 64);
  options.max_outstanding = std::min(
      or_default(config.max_outstanding_per_route(), kMaxOutstandingPerRoute),
      std::max<std::size_t>(or_default(config.max_outstanding(), kMaxOutstanding) / routes, 1));
  options.max_outstanding_bytes = std::max(
      or_default(config.max_outstanding_bytes(), kMaxOutstandingBytes) / routes, kLeastBytes);
  return options;
}

// What the world consists of.
struct World {
  std::unique_ptr<sql::Database> database;
  std::unique_ptr<events::RegistryClient> registry;
  std::unique_ptr<kafka::Producer> producer;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<NotificationStore> store;
};

class NotificationProcess final : public process::Component {
 public:
  // Makes a consumer that is a member of a route's group.
  using MakeMember =
      std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(std::string group)>;

  NotificationProcess(World world, const std::vector<RouteSpec>& routes,
                      const std::map<std::string, WallTime>& since, const MakeMember& make_member,
                      DispatcherOptions options, std::chrono::microseconds keep,
                      process::Runtime& runtime)
      : world_(std::move(world)),
        readiness_(runtime.readiness()),
        keep_(keep),
        deliverer_(*world_.http, *world_.store, *world_.producer, runtime.clock(), Pause()),
        service_(*world_.store) {
    readiness_.Declare("kafka");
    readiness_.Declare("registry");
    for (const RouteSpec& route : routes) {
      const std::string condition = Concat("route ", route.name);
      readiness_.Declare(condition);
      options.since = since.at(route.name);
      dispatchers_.push_back(std::make_unique<Dispatcher>(
          route, deliverer_,
          [make_member, group = GroupOf(route.name)] { return make_member(group); }, Pause(),
          [this, condition](const absl::Status& status) { Report(condition, status); }, options));
    }
    runtime.server().AddService<v1::NotificationService>(service_);
    starter_ = std::thread([this] { StartReading(); });
    monitor_ = std::thread([this] { Monitor(); });
  }

  ~NotificationProcess() override { End(); }

  // Telling ends while the last calls do.
  void Drain() override { stop_.Stop(); }

  absl::Status Stop(SteadyTime /*deadline*/) override {
    End();
    return absl::OkStatus();
  }

 private:
  Deliverer::Pause Pause() {
    return [this](std::chrono::nanoseconds pause) { return stop_.WaitFor(pause); };
  }

  void Report(std::string_view condition, const absl::Status& status) {
    if (status.ok()) {
      readiness_.Met(condition);
    } else {
      readiness_.NotMet(condition, Message(status));
    }
  }

  // Nothing is read before outcomes can be written.
  void StartReading() {
    for (;;) {
      auto topic =
          events::OwnTopic::Register(*world_.registry, std::string(kSentTopic),
                                     v1::NotificationSent::descriptor(), "/tocsin/notification");
      Report("registry", topic.status());
      if (topic.ok()) {
        deliverer_.SetTopic(*std::move(topic));
        for (const auto& dispatcher : dispatchers_) dispatcher->Start();
        return;
      }
      if (stop_.WaitFor(kProbePause)) return;
    }
  }

  void Monitor() {
    auto expired_at = std::chrono::steady_clock::time_point::min();
    do {
      Report("kafka", world_.producer->Probe(kProbeTimeout));
      const auto now = std::chrono::steady_clock::now();
      if (expired_at == std::chrono::steady_clock::time_point::min() ||
          now - expired_at > kExpireEvery) {
        expired_at = now;
        const absl::Status expired = world_.store->Expire(keep_);
        if (!expired.ok()) {
          telemetry::LogWarning("old notifications were not removed", {{"error", expired}});
        }
      }
    } while (!stop_.WaitFor(kProbePause));
  }

  void End() {
    stop_.Stop();
    if (starter_.joinable()) starter_.join();
    if (monitor_.joinable()) monitor_.join();
    // They have all been told at once, and come to their ends side by side.
    for (const auto& dispatcher : dispatchers_) dispatcher->Join();
    // Its callbacks end in the dispatchers.
    world_.producer.reset();
  }

  StopSignal stop_;
  World world_;
  process::Readiness& readiness_;
  const std::chrono::microseconds keep_;
  Deliverer deliverer_;
  std::vector<std::unique_ptr<Dispatcher>> dispatchers_;
  NotificationService service_;
  std::thread starter_;
  std::thread monitor_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::NotificationConfig& config,
                                                         process::Runtime& runtime) {
  std::vector<RouteSpec> routes;
  for (const v1::Route& route : config.routes()) {
    TOCSIN_ASSIGN_OR_RETURN(const std::string secret, Secret(route));
    TOCSIN_ASSIGN_OR_RETURN(routes.emplace_back(), MakeRoute(route, secret));
  }
  TOCSIN_RETURN_IF_ERROR(CheckRoutes(routes));

  if (config.database().path().empty()) {
    return InvalidArgument("database.path: is missing; name the file that keeps what was sent");
  }
  const std::filesystem::path path(config.database().path());
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) {
    return FailedPrecondition(Concat("database.path: the folder ", path.parent_path().string(),
                                     " cannot be made: ", error.message()));
  }
  World world;
  TOCSIN_ASSIGN_OR_RETURN(world.database, sql::OpenSqlite({.path = path.string()}));
  TOCSIN_ASSIGN_OR_RETURN(world.store, NotificationStore::Open(*world.database, runtime.clock()));
  world.http = MakeHttpClient();

  kafka::Connection connection;
  connection.bootstrap_servers = config.kafka().bootstrap_servers();
  connection.client_id = "tocsin-notification";
  kafka::ProducerOptions producer;
  producer.connection = connection;
  producer.close_timeout = milliseconds(500);
  TOCSIN_ASSIGN_OR_RETURN(world.producer, kafka::MakeProducer(std::move(producer)));
  const DispatcherOptions options = ShareOf(config);
  kafka::ConsumerOptions consumer;
  consumer.connection = connection;
  consumer.isolation = kafka::Isolation::kReadCommitted;
  // A group without offsets has told nobody of anything yet.
  consumer.start = kafka::StartPosition::kEarliest;
  consumer.max_batch = std::min(consumer.max_batch, options.max_outstanding);
  consumer.max_buffered_bytes =
      std::min(consumer.max_buffered_bytes, options.max_outstanding_bytes);
  consumer.commit_timeout = kCommitTimeout;
  consumer.close_timeout = kCloseTimeout;
  TOCSIN_ASSIGN_OR_RETURN(auto channel, rpc::MakeChannel<schema::v1::SchemaRegistryService>(
                                            config.registry(), runtime.config().tls()));
  world.registry = events::MakeRegistryClient(std::move(channel));

  std::vector<std::string> names;
  for (const RouteSpec& route : routes) names.push_back(route.name);
  TOCSIN_ASSIGN_OR_RETURN(const auto since, world.store->RoutesSince(names));
  const auto keep = config::DurationOr(config.has_keep(), config.keep(),
                                       std::chrono::microseconds(std::chrono::hours(24 * 30)));
  return std::make_unique<NotificationProcess>(
      std::move(world), routes, since,
      [consumer](std::string group) {
        kafka::ConsumerOptions member = consumer;
        member.group = std::move(group);
        return kafka::MakeConsumer(std::move(member));
      },
      options, keep, runtime);
}

}  // namespace tocsin::notification
