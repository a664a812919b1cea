#include "services/correlation/wiring.h"

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <optional>
#include <random>
#include <set>
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
#include "lib/events/schema_cache.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/transactional_producer.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "services/correlation/lag/lag_monitor.h"
#include "services/correlation/lag/lag_reader.h"
#include "services/correlation/rule_keeper/registry_gate.h"
#include "services/correlation/rule_keeper/rule_keeper.h"
#include "services/correlation/rule_keeper/streams.h"
#include "services/correlation/rules_service.h"
#include "services/correlation/state_service.h"
#include "services/correlation/tables/table_follower.h"
#include "services/correlation/tables/table_index.h"
#include "services/correlation/worker/output_verifier.h"
#include "services/correlation/worker/standby.h"
#include "services/correlation/worker/worker_pool.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/incident/v1/incident.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kProbeTimeout{2'000};
constexpr milliseconds kRetryPause{500};
constexpr milliseconds kRulesPoll{100};
constexpr std::chrono::seconds kProbeEvery{2};
constexpr std::string_view kSource = "/tocsin/correlation";

struct Settings {
  kafka::Connection connection;
  std::int32_t replication = -1;
  std::vector<pack::v1::Stream> streams;
  std::vector<pack::v1::Table> tables;
  std::size_t table_bytes = std::size_t{256} << 20;
  std::vector<std::string> worker_ids;
  WorkerOptions worker;
  bool verify_outputs = true;
  bool standby = false;
};

std::vector<TableOptions> OptionsOf(const std::vector<pack::v1::Table>& tables) {
  std::vector<TableOptions> options;
  for (const pack::v1::Table& table : tables) {
    TableOptions& of_table = options.emplace_back();
    of_table.topic = table.topic();
    of_table.keep_versions = config::DurationOr(table.has_keep_versions(), table.keep_versions(),
                                                of_table.keep_versions);
  }
  return options;
}

std::vector<std::string> TopicsOf(const std::vector<pack::v1::Table>& tables) {
  std::vector<std::string> topics;
  for (const pack::v1::Table& table : tables) topics.push_back(table.topic());
  return topics;
}

class CorrelationProcess final : public process::Component {
 public:
  CorrelationProcess(Settings settings, std::unique_ptr<events::RegistryClient> registry,
                     std::unique_ptr<events::SchemaCache> schemas,
                     std::unique_ptr<kafka::Admin> admin, std::unique_ptr<kafka::Producer> producer,
                     process::Runtime& runtime)
      : runtime_(runtime),
        settings_(std::move(settings)),
        registry_(std::move(registry)),
        schemas_(std::move(schemas)),
        admin_(std::move(admin)),
        producer_(std::move(producer)),
        streams_(settings_.streams, *schemas_, settings_.tables),
        schema_gate_(settings_.streams, *schemas_, runtime_.clock()),
        tables_(OptionsOf(settings_.tables), settings_.table_bytes),
        follower_(TopicsOf(settings_.tables), FollowerIo(), tables_),
        keeper_(KeeperIo(), {.replication = settings_.replication,
                             .workers_topic = settings_.worker.WorkersTopic()}),
        lag_(LagOf(), settings_.worker.group),
        lag_monitor_(lag_, settings_.worker_ids),
        service_(keeper_),
        state_service_(StateIo()) {
    for (const char* condition : {"kafka", "registry", "rules", "state"}) {
      runtime_.readiness().Declare(condition);
    }
    if (!settings_.tables.empty()) {
      runtime_.readiness().Declare("tables");
      table_thread_ = std::thread([this] { FollowTables(); });
    }
    runtime_.server().AddService<v1::RuleService>(service_);
    runtime_.server().AddService<v1::StateService>(state_service_);
    control_ = std::thread([this] { Control(); });
    lag_thread_ = std::thread([this] { WatchLag(); });
  }

  ~CorrelationProcess() override { (void)Stop(runtime_.clock().SteadyNow()); }

  void Drain() override { stop_.Stop(); }

  absl::Status Stop(SteadyTime deadline) override {
    stop_.Stop();
    if (control_.joinable()) control_.join();
    if (verifier_thread_.joinable()) verifier_thread_.join();
    if (standby_thread_.joinable()) standby_thread_.join();
    if (table_thread_.joinable()) table_thread_.join();
    const bool in_time = workers_.Stop(deadline);
    if (lag_thread_.joinable()) lag_thread_.join();
    if (!in_time) {
      return DeadlineExceeded(
          "a transaction was still under way; it is aborted by Kafka or completed by the next "
          "start");
    }
    return absl::OkStatus();
  }

 private:
  RuleKeeperIo KeeperIo() {
    RuleKeeperIo io;
    io.streams = &streams_;
    io.admin = admin_.get();
    io.producer = producer_.get();
    io.make_consumer = [this] { return MakeConsumer({}); };
    io.clock = &runtime_.clock();
    io.running_epoch = [this] { return workers_.running_epoch(); };
    return io;
  }

  StateServiceIo StateIo() {
    StateServiceIo io;
    io.rules = &keeper_;
    io.lag = &lag_;
    io.clock = &runtime_.clock();
    io.group = settings_.worker.group;
    io.ask = [this](const TaskId& task, const StateQuestions::Look& look, SteadyTime deadline) {
      return workers_.Ask(task, look, deadline);
    };
    io.make_consumer = [this](kafka::ConsumerOptions options) {
      return MakeConsumer(std::move(options));
    };
    io.admin = admin_.get();
    io.output_topics = [this](const RuleSet& rules) -> absl::StatusOr<std::set<std::string>> {
      std::set<std::string> topics = OutputTopics(rules, settings_.worker.task);
      TOCSIN_ASSIGN_OR_RETURN(const auto existing, admin_->ListTopics(kProbeTimeout));
      for (const auto& plan : rules.plans) {
        // Rules that are gone have left theirs.
        const std::string prefix = Concat("correlation-", plan->stream().topic, "-by-");
        for (const auto& [name, topic] : existing) {
          if (name.starts_with(prefix) && name.ends_with("-repartition")) topics.insert(name);
        }
      }
      return topics;
    };
    io.stream_key = [this](std::string_view topic) -> std::string {
      for (const pack::v1::Stream& stream : settings_.streams) {
        if (stream.topic() == topic) return stream.partition_key();
      }
      return "";
    };
    return io;
  }

  LagIo LagOf() {
    LagIo io;
    io.make_consumer = [this](kafka::ConsumerOptions options) {
      return MakeConsumer(std::move(options));
    };
    io.admin = admin_.get();
    io.clock = &runtime_.clock();
    return io;
  }

  TableFollowerIo FollowerIo() {
    TableFollowerIo io;
    io.make_consumer = [this] { return MakeConsumer({}); };
    io.partition_count = [this](const std::string& topic) {
      return admin_->PartitionCount(topic, kProbeTimeout);
    };
    io.clock = &runtime_.clock();
    return io;
  }

  // On a thread of its own: the control thread may have to wait for the registry.
  void FollowTables() {
    while (!stop_.stopped()) {
      const absl::Status tables = follower_.Poll(kRulesPoll);
      Tell("tables", tables);
      if (!tables.ok() && !follower_.reading()) stop_.WaitFor(kRetryPause);
    }
  }

  absl::StatusOr<std::unique_ptr<kafka::Consumer>> MakeConsumer(
      kafka::ConsumerOptions options) const {
    options.connection = settings_.connection;
    return kafka::MakeConsumer(std::move(options));
  }

  // On a thread of its own: it may wait for Kafka.
  void WatchLag() {
    while (!stop_.WaitFor(LagMonitor::kEvery)) {
      const auto rules = keeper_.Current();
      if (rules->plans.empty()) continue;
      // Readiness tells when Kafka does not answer.
      (void)lag_monitor_.Update(*rules, runtime_.clock().SteadyNow() + LagMonitor::kLongest);
    }
  }

  // --- the control thread ---

  // Registry and Kafka first, then the rules to their end, then the workers; then it keeps the
  // rules current and tells how things stand.
  void Control() {
    Retry("registry", [this] { return RegisterSchemas(); });
    Retry("kafka", [this] { return FindTopics(); });
    while (!stop_.stopped()) {
      const absl::Status rules = keeper_.Poll(kRulesPoll);
      Tell("rules", rules);
      // What is judged before the tables are there would be judged without them.
      if (rules.ok() && !workers_.started() && follower_.caught_up()) StartWorkers();
      const std::string problem = workers_.problem();
      Tell("state", problem.empty() ? absl::OkStatus() : Unavailable(problem));
      if (runtime_.clock().SteadyNow() >= next_probe_) {
        Tell("kafka", admin_->Probe(kProbeTimeout));
        next_probe_ = runtime_.clock().SteadyNow() + kProbeEvery;
      }
      if (!rules.ok()) stop_.WaitFor(kRetryPause);
    }
  }

  template <typename Attempt>
  void Retry(std::string_view condition, const Attempt& attempt) {
    while (!stop_.stopped()) {
      const absl::Status status = attempt();
      Tell(condition, status);
      if (status.ok()) return;
      stop_.WaitFor(kRetryPause);
    }
  }

  void Tell(std::string_view condition, const absl::Status& status) {
    if (status.ok()) {
      runtime_.readiness().Met(condition);
    } else {
      runtime_.readiness().NotMet(condition, Message(status));
    }
  }

  absl::Status RegisterSchemas() {
    const auto own = [this](std::string_view topic, const google::protobuf::Descriptor* message,
                            std::optional<events::OwnTopic>& into) -> absl::Status {
      if (into.has_value()) return absl::OkStatus();
      TOCSIN_ASSIGN_OR_RETURN(into, events::OwnTopic::Register(*registry_, std::string(topic),
                                                               message, std::string(kSource)));
      return absl::OkStatus();
    };
    TOCSIN_RETURN_IF_ERROR(own(kDetectionsTopic, v1::Detection::descriptor(), detections_));
    TOCSIN_RETURN_IF_ERROR(
        own(kIncidentsTopic, tocsin::incident::v1::Incident::descriptor(), incidents_));
    TOCSIN_RETURN_IF_ERROR(own(kAggregatesTopic, v1::WindowResult::descriptor(), aggregates_));
    return own(kRulesTopic, tocsin::rule::v1::RuleVersion::descriptor(), rules_);
  }

  // The streams with the partitions that they really have.
  absl::Status FindTopics() {
    TOCSIN_ASSIGN_OR_RETURN(const auto topics, admin_->ListTopics(kProbeTimeout));
    std::vector<StreamSpec> specs;
    std::set<std::string> missing;
    const auto need = [&](const std::string& topic) {
      if (!topics.contains(topic)) missing.insert(topic);
    };
    for (const std::string_view topic :
         {kRulesTopic, kDetectionsTopic, kIncidentsTopic, kAggregatesTopic}) {
      need(std::string(topic));
    }
    for (const pack::v1::Table& table : settings_.tables) need(table.topic());
    for (const pack::v1::Stream& stream : settings_.streams) {
      StreamSpec spec = ToSpec(stream);
      need(spec.topic);
      need(spec.DeadLetterTopic());
      if (spec.processed) need(spec.ProcessedTopic());
      if (spec.late) need(spec.LateTopic());
      const auto found = topics.find(spec.topic);
      if (found != topics.end()) spec.partitions = found->second.partitions;
      specs.push_back(std::move(spec));
    }
    if (!missing.empty()) {
      return FailedPrecondition(
          Concat("these topics do not exist yet: ", Join({missing.begin(), missing.end()}, ", "),
                 ". Make them with `tocsin topics apply`"));
    }
    keeper_.Start(std::move(specs), *rules_);
    return absl::OkStatus();
  }

  void StartWorkers() {
    WorkerOptions options = settings_.worker;
    const auto schema = [](const events::OwnTopic& topic) {
      return OutputSchema{topic.schema().id, topic.schema().message_indexes};
    };
    options.task.detection_schema = schema(*detections_);
    options.task.incident_schema = schema(*incidents_);
    options.task.aggregate_schema = schema(*aggregates_);
    options.task.source = kSource;
    options.task.tables = &tables_;
    std::random_device random;
    const auto word = [&random] { return std::uint64_t{random()} << 32 | random(); };
    options.task.identity_key = {word(), word()};
    WorkerIo io;
    io.rules = &keeper_;
    io.schemas = &schema_gate_;
    io.clock = &runtime_.clock();
    io.make_consumer = [this](kafka::ConsumerOptions consumer) {
      return MakeConsumer(std::move(consumer));
    };
    io.make_producer = [this](std::string transactional_id) {
      kafka::TransactionalProducerOptions producer;
      producer.connection = settings_.connection;
      producer.transactional_id = std::move(transactional_id);
      return kafka::MakeTransactionalProducer(std::move(producer));
    };
    io.make_plain_producer = [this] {
      kafka::ProducerOptions producer;
      producer.connection = settings_.connection;
      producer.message_timeout = settings_.worker.session_timeout;
      producer.close_timeout = milliseconds(500);
      return kafka::MakeProducer(std::move(producer));
    };
    if (settings_.verify_outputs) StartVerifier(options, io);
    if (settings_.standby) {
      StandbyIo of_standby;
      of_standby.make_consumer = io.make_consumer;
      of_standby.rules = io.rules;
      of_standby.clock = io.clock;
      standby_ = std::make_unique<Standby>(options, std::move(of_standby));
      io.claims = standby_.get();
      standby_thread_ = std::thread([this] {
        while (!stop_.stopped()) {
          if (!standby_->Step(kRulesPoll).ok()) stop_.WaitFor(kRetryPause);
        }
      });
    }
    workers_.Start(settings_.worker_ids, options, io);
  }

  void StartVerifier(const WorkerOptions& options, const WorkerIo& workers) {
    OutputVerifierIo io;
    io.make_consumer = workers.make_consumer;
    io.partitions = [this](const std::string& topic) {
      return admin_->PartitionCount(topic, kProbeTimeout);
    };
    io.rules = &keeper_;
    io.clock = &runtime_.clock();
    io.task = options.task;
    verifier_thread_ = std::thread([this, io = std::move(io)] {
      OutputVerifier verifier(io);
      bool answers = true;
      while (!stop_.stopped()) {
        const absl::Status read = verifier.Step(kRulesPoll);
        if (!read.ok() && answers) {
          telemetry::LogWarning("the outputs are not verified while Kafka does not answer",
                                {{"error", read}});
        }
        answers = read.ok();
        if (!answers) stop_.WaitFor(kRetryPause);
      }
    });
  }

  process::Runtime& runtime_;
  const Settings settings_;
  const std::unique_ptr<events::RegistryClient> registry_;
  const std::unique_ptr<events::SchemaCache> schemas_;
  const std::unique_ptr<kafka::Admin> admin_;
  const std::unique_ptr<kafka::Producer> producer_;
  const RegistryStreams streams_;
  RegistryGate schema_gate_;
  // Before the workers, which ask it for stores.
  std::unique_ptr<Standby> standby_;
  TableIndex tables_;
  TableFollower follower_;
  WorkerPool workers_;
  RuleKeeper keeper_;
  LagReader lag_;
  LagMonitor lag_monitor_;
  RulesService service_;
  StateService state_service_;
  std::optional<events::OwnTopic> detections_;
  std::optional<events::OwnTopic> incidents_;
  std::optional<events::OwnTopic> aggregates_;
  std::optional<events::OwnTopic> rules_;
  SteadyTime next_probe_{};
  StopSignal stop_;
  std::thread control_;
  std::thread verifier_thread_;
  std::thread standby_thread_;
  std::thread lag_thread_;
  std::thread table_thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::CorrelationConfig& config,
                                                         process::Runtime& runtime) {
  if (config.kafka().bootstrap_servers().empty()) {
    return InvalidArgument("kafka.bootstrap_servers is not set: give host:port of a broker");
  }
  if (config.state_dir().empty()) {
    return InvalidArgument("state_dir is not set: give a folder of this process alone");
  }
  Settings settings;
  settings.connection.bootstrap_servers = config.kafka().bootstrap_servers();
  settings.connection.client_id = "tocsin-correlation";
  if (config.kafka().replication_factor() > 0) {
    settings.replication = config.kafka().replication_factor();
  }
  TOCSIN_ASSIGN_OR_RETURN(settings.streams, LoadStreams(config.packs()));
  TOCSIN_ASSIGN_OR_RETURN(settings.tables, LoadTables(config.packs()));
  if (config.table_bytes() > 0) {
    settings.table_bytes = static_cast<std::size_t>(config.table_bytes());
  }
  settings.worker_ids.assign(config.worker_ids().begin(), config.worker_ids().end());
  if (settings.worker_ids.empty()) settings.worker_ids = {"worker-0"};
  if (std::set<std::string>(settings.worker_ids.begin(), settings.worker_ids.end()).size() !=
      settings.worker_ids.size()) {
    return InvalidArgument("worker_ids: a name stands there twice; each worker needs its own");
  }
  if (!config.group().empty()) settings.worker.group = config.group();
  settings.worker.task.group = settings.worker.group;
  settings.worker.state_folder = config.state_dir();
  settings.worker.task.identity_age = config::DurationOr(
      config.has_identity_age(), config.identity_age(), settings.worker.task.identity_age);
  if (config.identity_count() > 0) settings.worker.task.identity_count = config.identity_count();
  if (config.max_batch() > 0) {
    settings.worker.max_batch = static_cast<std::size_t>(config.max_batch());
    settings.worker.max_transaction_records = 5 * settings.worker.max_batch;
  }
  const auto& interval = config.commit_interval();
  WorkerOptions::CommitInterval& commit = settings.worker.commit_interval;
  commit.min = config::DurationOr(interval.has_min(), interval.min(), commit.min);
  commit.max = config::DurationOr(interval.has_max(), interval.max(), commit.max);
  if (commit.min < milliseconds(0) || commit.max < commit.min ||
      commit.max > settings.worker.session_timeout / 10) {
    return InvalidArgument(
        "commit_interval: give 0s <= min <= max <= 1s (a transaction must end well within the "
        "session timeout)");
  }
  settings.standby = config.standby();
  settings.verify_outputs = !config.has_verify_outputs() || config.verify_outputs();
  if (config.guarantee() == v1::GUARANTEE_AT_LEAST_ONCE) {
    settings.worker.guarantee = Guarantee::kAtLeastOnce;
  }

  TOCSIN_ASSIGN_OR_RETURN(auto admin, kafka::MakeAdmin(settings.connection));
  kafka::ProducerOptions producer_options;
  producer_options.connection = settings.connection;
  // A rule that is not stored by then is given up; its caller has waited long enough.
  producer_options.message_timeout = std::chrono::seconds(30);
  producer_options.close_timeout = milliseconds(500);
  TOCSIN_ASSIGN_OR_RETURN(auto producer, kafka::MakeProducer(std::move(producer_options)));
  TOCSIN_ASSIGN_OR_RETURN(auto channel, rpc::MakeChannel<schema::v1::SchemaRegistryService>(
                                            config.registry(), runtime.config().tls()));
  auto registry = events::MakeRegistryClient(std::move(channel));
  auto schemas = events::MakeSchemaCache(*registry, runtime.clock());
  return std::make_unique<CorrelationProcess>(std::move(settings), std::move(registry),
                                              std::move(schemas), std::move(admin),
                                              std::move(producer), runtime);
}

}  // namespace tocsin::correlation
