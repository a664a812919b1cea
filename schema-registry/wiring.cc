#include "schema-registry/wiring.h"

#include <google/protobuf/stubs/logging.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>

#include "lib/auth/caching_verifier.h"
#include "lib/auth/token.h"
#include "lib/base/status.h"
#include "lib/http/server.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "schema-registry/free_memory.h"
#include "schema-registry/kafka_audit.h"
#include "schema-registry/kafka_log.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_service.h"
#include "schema-registry/rest/rest_api.h"
#include "schema-registry/rest/rest_handler.h"
#include "schema-registry/subject_access.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

milliseconds DurationOr(const google::protobuf::Duration& duration, bool given,
                        milliseconds otherwise) {
  if (!given) return otherwise;
  return milliseconds(duration.seconds() * 1000 + duration.nanos() / 1'000'000);
}

absl::StatusOr<RegistryOptions> OptionsOf(const tocsin::schema::v1::SchemaRegistryConfig& config) {
  RegistryOptions options;
  // Exact as a number of JSON.
  options.node = static_cast<std::int64_t>(std::random_device{}()) |
                 (std::int64_t{std::random_device{}() & 0xfffff} << 32);
  options.write_timeout =
      DurationOr(config.write_timeout(), config.has_write_timeout(), options.write_timeout);
  options.read_timeout =
      DurationOr(config.read_timeout(), config.has_read_timeout(), options.read_timeout);
  if (options.write_timeout <= milliseconds(0) || options.read_timeout <= milliseconds(0)) {
    return InvalidArgument("write_timeout and read_timeout must be longer than 0");
  }
  if (config.max_schema_bytes() < 0 || config.max_schema_bytes() > (std::int64_t{1} << 20)) {
    return InvalidArgument("max_schema_bytes must be from 1 to 1MiB");
  }
  if (config.max_schema_bytes() > 0) {
    options.limits.max_text_bytes = static_cast<std::size_t>(config.max_schema_bytes());
  }
  return options;
}

// Protobuf's parser speaks on stderr of texts without a syntax line, in lines that are not ours.
void QuietProtobuf() {
  google::protobuf::SetLogHandler(
      [](google::protobuf::LogLevel, const char*, int, const std::string& message) {
        telemetry::LogDebug("Protobuf says", {{"message", message}});
      });
}

http::ServerOptions RestServerOptions(const tocsin::schema::v1::RestConfig& config) {
  http::ServerOptions options;
  options.listen = config.listen().empty() ? "127.0.0.1:8081" : config.listen();
  if (!config.certificate_file().empty() || !config.private_key_file().empty()) {
    options.tls = http::TlsOptions{
        config.certificate_file(), config.private_key_file(), [](const absl::Status& status) {
          if (status.ok()) {
            telemetry::LogInfo("rest: the new certificate is in use");
          } else {
            telemetry::LogWarning(
                "rest: the certificate or its key has changed and cannot be used; new connections "
                "go on with the old pair until the files change again",
                {{"error", Message(status)}});
          }
        }};
  }
  options.limits.max_connections = 1'000;
  options.limits.max_connections_per_address = std::max(config.max_connections_per_address(), 0);
  options.limits.body_timeout = std::chrono::seconds(30);
  // Who does not read, or hardly, keeps memory from others.
  options.limits.send_timeout = std::chrono::seconds(20);
  options.limits.min_send_bytes = std::size_t{256} << 10;
  return options;
}

class SchemaRegistry final : public process::Component {
 public:
  SchemaRegistry(std::unique_ptr<RegistryLog> log, std::unique_ptr<KafkaAudit> audit,
                 RegistryOptions options, RestOptions rest, http::ServerOptions server,
                 process::Runtime& runtime)
      : runtime_(runtime),
        log_(std::move(log)),
        audit_(std::move(audit)),
        registry_(*log_, *audit_, runtime.clock(), WithFreeMemory(options)),
        access_(rest.access),
        service_(registry_, access_, runtime.clock()),
        rest_(registry_, std::move(rest)),
        server_(std::make_unique<http::Server>(
            std::move(server), MakeRestHandler(rest_, runtime.clock(), HandlerOptions(options)))) {}

  absl::Status Start() {
    runtime_.server().AddService<tocsin::schema::v1::SchemaRegistryService>(
        service_, {std::string(RegistryService::kCallbackMethod)});
    runtime_.server().OnDenied([this](const rpc::Denial& denial) { service_.TellDenied(denial); });
    runtime_.readiness().Declare("kafka", "the topic of the schemas has not been read yet");
    TOCSIN_RETURN_IF_ERROR(Annotate(server_->Start(), "rest"));
    telemetry::LogInfo("REST interface listens", {{"port", server_->port()}});
    registry_.Start([this](const absl::Status& status) { StatusChanged(status); });
    audit_->Start(registry_);
    return absl::OkStatus();
  }

  void Drain() override { service_.Drain(); }

  absl::Status Stop(SteadyTime deadline) override {
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline - runtime_.clock().SteadyNow());
    server_->Stop(std::max(left / 2, milliseconds(0)));
    // Whoever waits for the log is answered, so that the workers come to their end; and only then
    // the audit log ends, for what they have changed is written there.
    registry_.Stop();
    server_.reset();
    audit_->Stop();
    return absl::OkStatus();
  }

 private:
  RegistryOptions WithFreeMemory(RegistryOptions options) {
    options.memory_freed = [this] { free_memory_.Want(); };
    return options;
  }

  RestHandlerOptions HandlerOptions(const RegistryOptions& options) {
    RestHandlerOptions handler;
    // A text in JSON may be twice as long, and brings its references.
    handler.max_body = 2 * options.limits.max_text_bytes + (std::size_t{1} << 20);
    // Each write waits for the log, and those that wait at one time share a round trip.
    handler.worker_threads = 128;
    handler.answers.freed = [this] { free_memory_.Want(); };
    return handler;
  }

  void StatusChanged(const absl::Status& status) {
    if (status.ok()) {
      runtime_.readiness().Met("kafka");
      // Reading the topic takes many times the memory of what is kept of it.
      free_memory_.Want();
      return;
    }
    runtime_.readiness().NotMet("kafka", Message(status));
    if (status.code() == absl::StatusCode::kFailedPrecondition) runtime_.Fail(status);
  }

  process::Runtime& runtime_;
  const std::unique_ptr<RegistryLog> log_;
  const std::unique_ptr<KafkaAudit> audit_;
  FreeMemory free_memory_{[] { malloc_trim(0); }, milliseconds(500)};
  Registry registry_;
  const SubjectAccess access_;
  RegistryService service_;
  RestApi rest_;
  const telemetry::Gauge subjects_ =
      telemetry::GetGauge("tocsin_schema_registry_subjects", "Subjects, with the deleted ones.");
  const telemetry::Gauge schemas_ = telemetry::GetGauge(
      "tocsin_schema_registry_schemas", "Schemas that have an id, over all contexts.");
  const telemetry::Gauge text_bytes_ =
      telemetry::GetGauge("tocsin_schema_registry_text_bytes",
                          "Bytes of the texts of schemas that are kept, each text once, however "
                          "many subjects have it.");
  const telemetry::Gauge superseded_ = telemetry::GetGauge(
      "tocsin_schema_registry_superseded_keys",
      "Keys of the topic that wait for the tombstone that lets compaction remove them.");
  const telemetry::Collector sizes_{[this] {
    const Registry::Size size = registry_.size();
    subjects_.Set(static_cast<double>(size.subjects));
    schemas_.Set(static_cast<double>(size.schemas));
    text_bytes_.Set(static_cast<double>(size.text_bytes));
    superseded_.Set(static_cast<double>(size.superseded));
  }};
  // Its handler's workers end with it.
  std::unique_ptr<http::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(
    const tocsin::schema::v1::SchemaRegistryConfig& config, process::Runtime& runtime) {
  if (config.kafka().bootstrap_servers().empty()) {
    return InvalidArgument("kafka.bootstrap_servers is not set: give host:port of a broker");
  }
  QuietProtobuf();
  TOCSIN_ASSIGN_OR_RETURN(const RegistryOptions options, OptionsOf(config));
  RestOptions rest;
  TOCSIN_ASSIGN_OR_RETURN(auto verifier, auth::TokenVerifier::Create(runtime.config().auth()));
  rest.verify = [verifier = std::make_shared<auth::CachingVerifier>(std::move(verifier)),
                 &clock = runtime.clock()](std::string_view token) {
    return verifier->Verify(token, clock.Now());
  };
  rest.anonymous_read = config.rest().anonymous_read();
  TOCSIN_ASSIGN_OR_RETURN(rest.access, SubjectAccess::Create(config.subject_access()));
  KafkaLogOptions topic;
  topic.connection.bootstrap_servers = config.kafka().bootstrap_servers();
  topic.connection.client_id = "tocsin-schema-registry";
  if (!config.topic().empty()) topic.topic = config.topic();
  if (config.kafka().replication_factor() > 0) {
    topic.replication_factor = config.kafka().replication_factor();
  }
  topic.may_create = !config.topic_must_exist();
  topic.write_timeout = options.write_timeout;
  TOCSIN_ASSIGN_OR_RETURN(auto log, MakeKafkaLog(std::move(topic)));
  KafkaAuditOptions auditing;
  auditing.connection.bootstrap_servers = config.kafka().bootstrap_servers();
  auditing.connection.client_id = "tocsin-schema-registry-audit";
  if (!config.audit_topic().empty()) auditing.topic = config.audit_topic();
  auditing.may_create = !config.topic_must_exist();
  if (config.kafka().replication_factor() > 0) {
    auditing.replication_factor = config.kafka().replication_factor();
  }
  auditing.node = options.node;
  TOCSIN_ASSIGN_OR_RETURN(auto audit, MakeKafkaAudit(std::move(auditing)));
  auto registry =
      std::make_unique<SchemaRegistry>(std::move(log), std::move(audit), options, std::move(rest),
                                       RestServerOptions(config.rest()), runtime);
  TOCSIN_RETURN_IF_ERROR(registry->Start());
  return registry;
}

}  // namespace tocsin::registry
