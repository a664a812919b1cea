#include "services/ingest/wiring.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/stop_signal.h"
#include "lib/base/text.h"
#include "lib/config/config.h"
#include "lib/config/duration.h"
#include "lib/events/registry_client.h"
#include "lib/events/schema_cache.h"
#include "lib/kafka/producer.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "services/ingest/ingest_service.h"
#include "services/ingest/publisher.h"
#include "tocsin/pack/v1/pack.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::ingest {
namespace {
using std::chrono::milliseconds;

constexpr milliseconds kProbeTimeout{2'000};
constexpr milliseconds kProbePause{1'000};
// Of the time for a stop, what calls under way may still wait for Kafka: at most a tenth.
constexpr milliseconds kMaxStopGrace{1'000};
constexpr int kStopGraceShare = 10;
// Room for the headers beside an event of the largest size.
constexpr std::size_t kHeaderBytes = 64U << 10;

template <typename Target>
Target Or(std::int64_t value, Target otherwise) {
  return value > 0 ? static_cast<Target>(value) : otherwise;
}

absl::StatusOr<StreamTable> LoadStreams(const v1::IngestConfig& config) {
  std::vector<pack::v1::Pack> packs;
  for (const std::string& path : config.packs()) {
    std::error_code ignored;
    const std::filesystem::path file = std::filesystem::is_directory(path, ignored)
                                           ? std::filesystem::path(path) / "pack.yaml"
                                           : std::filesystem::path(path);
    auto pack = config::LoadFile<pack::v1::Pack>(file.string());
    if (!pack.ok()) return InvalidArgument(Concat("packs: ", Message(pack.status())));
    packs.push_back(*std::move(pack));
  }
  return StreamTable::Build(packs);
}

class IngestProcess final : public process::Component {
 public:
  IngestProcess(std::unique_ptr<events::RegistryClient> registry,
                std::unique_ptr<events::SchemaCache> schemas,
                std::unique_ptr<kafka::Producer> producer, StreamTable streams,
                const Limits& limits, const ServiceOptions& service, process::Runtime& runtime)
      : registry_(std::move(registry)),
        schemas_(std::move(schemas)),
        producer_(std::move(producer)),
        publisher_(Io{*producer_, *schemas_, runtime.clock()}, std::move(streams), limits),
        service_(publisher_, service),
        readiness_(runtime.readiness()) {
    readiness_.Declare("kafka");
    readiness_.Declare("registry");
    runtime.server().AddService<v1::IngestService>(service_);
    monitor_ = std::thread([this] {
      do {
        Check();
      } while (!stop_.WaitFor(kProbePause));
    });
  }

  ~IngestProcess() override {
    EndMonitor();
    // Its callbacks use the publisher.
    producer_.reset();
  }

  void Drain() override {
    service_.BeginStop();
    // A look at Kafka that is under way ends while the last calls do.
    stop_.Stop();
  }

  absl::Status Stop(SteadyTime /*deadline*/) override {
    EndMonitor();
    // All calls have ended, and every event without a receipt is to be sent again by its sender:
    // waiting for Kafka would help nobody.
    const std::size_t left = producer_->outstanding();
    if (left > 0) {
      telemetry::LogWarning(
          "stopping while Kafka does not answer; events that were not confirmed to their senders "
          "are dropped",
          {{"events", left}});
    }
    producer_.reset();
    return absl::OkStatus();
  }

 private:
  void Check() {
    Report("kafka", producer_->Probe(kProbeTimeout));
    Report("registry", publisher_.CheckSchemas());
  }
  void Report(std::string_view condition, const absl::Status& status) {
    if (status.ok()) {
      readiness_.Met(condition);
    } else {
      readiness_.NotMet(condition, Message(status));
    }
  }
  void EndMonitor() {
    stop_.Stop();
    if (monitor_.joinable()) monitor_.join();
  }

  const std::unique_ptr<events::RegistryClient> registry_;
  const std::unique_ptr<events::SchemaCache> schemas_;
  std::unique_ptr<kafka::Producer> producer_;
  Publisher publisher_;
  IngestService service_;
  process::Readiness& readiness_;
  StopSignal stop_;
  std::thread monitor_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::IngestConfig& config,
                                                         process::Runtime& runtime) {
  TOCSIN_ASSIGN_OR_RETURN(StreamTable streams, LoadStreams(config));

  Limits limits;
  limits.max_event_bytes = Or(config.max_event_bytes(), limits.max_event_bytes);
  limits.max_future =
      config::DurationOr(config.has_max_future(), config.max_future(), limits.max_future);

  ServiceOptions service;
  service.produce_timeout = config::DurationOr(config.has_produce_timeout(),
                                               config.produce_timeout(), service.produce_timeout);

  const config::v1::ProcessConfig& process = config.process();
  if (process.has_stop_timeout()) {
    service.stop_grace = std::min<milliseconds>(
        kMaxStopGrace,
        config::DurationOr(true, process.stop_timeout(), milliseconds(10'000)) / kStopGraceShare);
  }

  kafka::ProducerOptions producer_options;
  producer_options.connection.bootstrap_servers = config.kafka().bootstrap_servers();
  producer_options.connection.client_id = "tocsin-ingest";
  producer_options.max_queued_records =
      Or(config.queue_events(), producer_options.max_queued_records);
  producer_options.max_queued_bytes = Or(config.queue_bytes(), producer_options.max_queued_bytes);
  producer_options.max_record_bytes = limits.max_event_bytes + kHeaderBytes;
  producer_options.linger =
      config::DurationOr(config.has_linger(), config.linger(), milliseconds(2));
  producer_options.close_timeout = milliseconds(500);
  TOCSIN_ASSIGN_OR_RETURN(auto producer, kafka::MakeProducer(std::move(producer_options)));

  TOCSIN_ASSIGN_OR_RETURN(auto channel, rpc::MakeChannel<schema::v1::SchemaRegistryService>(
                                            config.registry(), runtime.config().tls()));
  auto registry = events::MakeRegistryClient(std::move(channel));
  events::SchemaCacheOptions cache;
  cache.latest_lifetime = config::DurationOr(config.has_schema_refresh(), config.schema_refresh(),
                                             cache.latest_lifetime);
  auto schemas = events::MakeSchemaCache(*registry, runtime.clock(), cache);

  return std::make_unique<IngestProcess>(std::move(registry), std::move(schemas),
                                         std::move(producer), std::move(streams), limits, service,
                                         runtime);
}

}  // namespace tocsin::ingest
