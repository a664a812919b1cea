#include "schema-registry/wiring.h"

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>

#include "lib/auth/token.h"
#include "lib/base/status.h"
#include "lib/http/buffered.h"
#include "lib/http/server.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/trace.h"
#include "schema-registry/kafka_audit.h"
#include "schema-registry/kafka_log.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_service.h"
#include "schema-registry/rest/rest_api.h"
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

class SchemaRegistry final : public process::Component {
 public:
  SchemaRegistry(std::unique_ptr<RegistryLog> log, std::unique_ptr<KafkaAudit> audit,
                 std::unique_ptr<auth::TokenVerifier> verifier, SubjectAccess access,
                 RegistryOptions options, const std::string& rest_listen, process::Runtime& runtime)
      : runtime_(runtime),
        log_(std::move(log)),
        audit_(std::move(audit)),
        verifier_(std::move(verifier)),
        registry_(*log_, *audit_, runtime.clock(), options),
        access_(std::move(access)),
        service_(registry_, access_, runtime.clock()),
        rest_(registry_,
              [this](std::string_view token) {
                return verifier_->Verify(token, runtime_.clock().Now());
              }),
        server_(ServerOptions(rest_listen),
                http::MakeBuffered([this](const http::Request& request,
                                          http::Responder respond) { Serve(request, respond); },
                                   BufferedOptions(options))) {}

  absl::Status Start() {
    runtime_.server().AddService<tocsin::schema::v1::SchemaRegistryService>(
        service_, {std::string(RegistryService::kCallbackMethod)});
    runtime_.readiness().Declare("kafka", "the topic of the schemas has not been read yet");
    TOCSIN_RETURN_IF_ERROR(Annotate(server_.Start(), "rest.listen"));
    telemetry::LogInfo("REST interface listens", {{"port", server_.port()}});
    registry_.Start([this](const absl::Status& status) { StatusChanged(status); });
    audit_->Start(registry_);
    return absl::OkStatus();
  }

  void Drain() override { service_.Drain(); }

  absl::Status Stop(SteadyTime deadline) override {
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline - runtime_.clock().SteadyNow());
    server_.Stop(std::max(left / 2, milliseconds(0)));
    audit_->Stop();
    registry_.Stop();
    return absl::OkStatus();
  }

 private:
  static http::ServerOptions ServerOptions(const std::string& listen) {
    http::ServerOptions options;
    options.listen = listen;
    options.io_threads = 1;
    options.limits.max_connections = 1'000;
    options.limits.body_timeout = std::chrono::seconds(30);
    return options;
  }
  static http::BufferedOptions BufferedOptions(const RegistryOptions& options) {
    http::BufferedOptions buffered;
    // A text in JSON may be twice as long, and brings its references.
    buffered.max_body = 2 * options.limits.max_text_bytes + (std::size_t{1} << 20);
    // Each write waits for the log, and those that wait at one time share a round trip.
    buffered.worker_threads = 128;
    return buffered;
  }

  void StatusChanged(const absl::Status& status) {
    if (status.ok()) {
      runtime_.readiness().Met("kafka");
      return;
    }
    runtime_.readiness().NotMet("kafka", Message(status));
    if (status.code() == absl::StatusCode::kFailedPrecondition) runtime_.Fail(status);
  }

  void Serve(const http::Request& request, const http::Responder& respond) {
    telemetry::SpanOptions options;
    options.kind = telemetry::SpanKind::kServer;
    options.parent =
        telemetry::TraceContext::FromTraceparent(request.headers.Get("traceparent").value_or(""),
                                                 request.headers.Get("tracestate").value_or(""));
    telemetry::Span span(Concat(request.method, " schema registry"), options);
    const telemetry::ScopedCurrent current(span);
    const SteadyTime begin = runtime_.clock().SteadyNow();
    http::Response response = rest_.Handle(request);
    span.SetAttribute("http.request.method", request.method);
    span.SetAttribute("url.path", request.path);
    span.SetAttribute("http.response.status_code", std::int64_t{response.status});
    duration_.Observe(std::chrono::duration<double>(runtime_.clock().SteadyNow() - begin).count());
    respond(std::move(response));
  }

  process::Runtime& runtime_;
  const std::unique_ptr<RegistryLog> log_;
  const std::unique_ptr<KafkaAudit> audit_;
  const std::unique_ptr<auth::TokenVerifier> verifier_;
  Registry registry_;
  const SubjectAccess access_;
  RegistryService service_;
  RestApi rest_;
  const telemetry::Gauge subjects_ =
      telemetry::GetGauge("tocsin_schema_registry_subjects", "Subjects, with the deleted ones.");
  const telemetry::Gauge schemas_ = telemetry::GetGauge(
      "tocsin_schema_registry_schemas", "Schemas that have an id, over all contexts.");
  const telemetry::Gauge superseded_ = telemetry::GetGauge(
      "tocsin_schema_registry_superseded_keys",
      "Keys of the topic that wait for the tombstone that lets compaction remove them.");
  const telemetry::Collector sizes_{[this] {
    const Registry::Size size = registry_.size();
    subjects_.Set(static_cast<double>(size.subjects));
    schemas_.Set(static_cast<double>(size.schemas));
    superseded_.Set(static_cast<double>(size.superseded));
  }};
  const telemetry::Histogram duration_ = telemetry::GetHistogram(
      "tocsin_schema_registry_rest_seconds", "Time to answer a request of the REST interface.");
  http::Server server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(
    const tocsin::schema::v1::SchemaRegistryConfig& config, process::Runtime& runtime) {
  if (config.kafka().bootstrap_servers().empty()) {
    return InvalidArgument("kafka.bootstrap_servers is not set: give host:port of a broker");
  }
  QuietProtobuf();
  TOCSIN_ASSIGN_OR_RETURN(const RegistryOptions options, OptionsOf(config));
  TOCSIN_ASSIGN_OR_RETURN(auto verifier, auth::TokenVerifier::Create(runtime.config().auth()));
  TOCSIN_ASSIGN_OR_RETURN(SubjectAccess access, SubjectAccess::Create(config.subject_access()));
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
  auto registry = std::make_unique<SchemaRegistry>(
      std::move(log), std::move(audit), std::move(verifier), std::move(access), options,
      config.rest().listen().empty() ? "127.0.0.1:8081" : config.rest().listen(), runtime);
  TOCSIN_RETURN_IF_ERROR(registry->Start());
  return registry;
}

}  // namespace tocsin::registry
