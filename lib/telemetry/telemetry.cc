// grpcpp first: OpenTelemetry's own copies of Abseil's types would clash with it otherwise.
#include <grpcpp/grpcpp.h>

#include <opentelemetry/exporters/otlp/otlp_grpc_exporter_factory.h>
#include <opentelemetry/exporters/otlp/otlp_grpc_exporter_options.h>
#include <opentelemetry/sdk/common/global_log_handler.h>
#include <opentelemetry/sdk/trace/batch_span_processor_factory.h>
#include <opentelemetry/sdk/trace/batch_span_processor_options.h>
#include <opentelemetry/sdk/trace/exporter.h>

#include <atomic>
#include <memory>
#include <utility>

#include "lib/base/status.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/telemetry.h"
#include "lib/telemetry/trace_export.h"

namespace tocsin::telemetry {
namespace {

namespace otel = opentelemetry;
namespace sdk_trace = opentelemetry::sdk::trace;

constexpr std::int64_t kQueue = 8192;

// The SDK's batch processor drops what does not fit without a word; this pair around it counts, and
// drops first.
struct Account {
  std::atomic<std::int64_t> waiting{0};
  // Past it exports fail at once, so that a dead collector cannot hold up the end of the process.
  std::atomic<std::chrono::steady_clock::time_point> deadline{
      std::chrono::steady_clock::time_point::max()};
  Counter exported = GetCounter("otel_sdk_spans_exported_total", "Spans that the collector took.");
  Counter lost =
      GetCounter("otel_sdk_spans_lost_total",
                 "Spans dropped: the queue was full or the collector did not take them.");
};

class CountingExporter final : public sdk_trace::SpanExporter {
 public:
  CountingExporter(std::unique_ptr<sdk_trace::SpanExporter> inner, std::shared_ptr<Account> account)
      : inner_(std::move(inner)), account_(std::move(account)) {}

  std::unique_ptr<sdk_trace::Recordable> MakeRecordable() noexcept override {
    return inner_->MakeRecordable();
  }

  otel::sdk::common::ExportResult Export(
      const otel::nostd::span<std::unique_ptr<sdk_trace::Recordable>>& spans) noexcept override {
    const auto count = spans.size();
    account_->waiting.fetch_sub(static_cast<std::int64_t>(count));
    const auto result = std::chrono::steady_clock::now() >= account_->deadline.load()
                            ? otel::sdk::common::ExportResult::kFailure
                            : inner_->Export(spans);
    const bool ok = result == otel::sdk::common::ExportResult::kSuccess;
    (ok ? account_->exported : account_->lost).Increment(static_cast<double>(count));
    if (ok != collector_answers_) {
      collector_answers_ = ok;
      if (ok) {
        LogInfo("the trace collector takes spans again");
      } else {
        LogWarning("the trace collector does not take spans; they are dropped until it does");
      }
    }
    return result;
  }

  bool ForceFlush(std::chrono::microseconds timeout) noexcept override {
    return inner_->ForceFlush(timeout);
  }
  bool Shutdown(std::chrono::microseconds timeout) noexcept override {
    return inner_->Shutdown(timeout);
  }

 private:
  std::unique_ptr<sdk_trace::SpanExporter> inner_;
  std::shared_ptr<Account> account_;
  bool collector_answers_ = true;  // exports never run concurrently
};

class BoundedProcessor final : public sdk_trace::SpanProcessor {
 public:
  BoundedProcessor(std::unique_ptr<sdk_trace::SpanProcessor> inner,
                   std::shared_ptr<Account> account)
      : inner_(std::move(inner)), account_(std::move(account)) {}

  std::unique_ptr<sdk_trace::Recordable> MakeRecordable() noexcept override {
    return inner_->MakeRecordable();
  }
  void OnStart(sdk_trace::Recordable& span,
               const otel::trace::SpanContext& parent) noexcept override {
    inner_->OnStart(span, parent);
  }
  void OnEnd(std::unique_ptr<sdk_trace::Recordable>&& span) noexcept override {
    if (account_->waiting.fetch_add(1) >= kQueue) {
      account_->waiting.fetch_sub(1);
      account_->lost.Increment();
      return;
    }
    inner_->OnEnd(std::move(span));
  }
  bool ForceFlush(std::chrono::microseconds timeout) noexcept override {
    return inner_->ForceFlush(timeout);
  }
  bool Shutdown(std::chrono::microseconds timeout) noexcept override {
    return inner_->Shutdown(timeout);
  }

 private:
  std::unique_ptr<sdk_trace::SpanProcessor> inner_;
  std::shared_ptr<Account> account_;
};

// The SDK's own complaints, as lines of our log.
class LogHandler final : public otel::sdk::common::internal_log::LogHandler {
 public:
  void Handle(otel::sdk::common::internal_log::LogLevel, const char*, int, const char* message,
              const otel::sdk::common::AttributeMap&) noexcept override {
    // At debug level: a failed export is told once by CountingExporter, here it comes with each.
    LogDebug("opentelemetry", {{"detail", message == nullptr ? "" : message}});
  }
};

std::shared_ptr<Account>& CurrentAccount() {
  static auto* account = new std::shared_ptr<Account>;
  return *account;
}

}  // namespace

absl::Status Start(const Options& options) {
  auto level = ParseLogLevel(options.log_level);
  if (!level.ok()) return Annotate(level.status(), "telemetry.log_level");
  SetLogLevel(*level);
  SetLogProcess(options.process);
  if (options.otlp_endpoint.empty()) return absl::OkStatus();
  if (auto endpoint = ParseHostPort(options.otlp_endpoint); !endpoint.ok()) {
    return Annotate(endpoint.status(), "telemetry.otlp_endpoint");
  }
  try {
    otel::sdk::common::internal_log::GlobalLogHandler::SetLogHandler(
        otel::nostd::shared_ptr<otel::sdk::common::internal_log::LogHandler>(new LogHandler));
    otel::exporter::otlp::OtlpGrpcExporterOptions exporter;
    exporter.endpoint =
        Concat(options.otlp_insecure ? "http://" : "https://", options.otlp_endpoint);
    exporter.use_ssl_credentials = !options.otlp_insecure;
    exporter.ssl_credentials_cacert_path = options.otlp_ca_file;
    exporter.timeout = options.export_timeout;
    sdk_trace::BatchSpanProcessorOptions batch;
    batch.max_queue_size = static_cast<std::size_t>(2 * kQueue);
    batch.schedule_delay_millis = std::chrono::milliseconds(1000);
    batch.max_export_batch_size = 512;
    auto account = std::make_shared<Account>();
    auto processor = sdk_trace::BatchSpanProcessorFactory::Create(
        std::make_unique<CountingExporter>(
            otel::exporter::otlp::OtlpGrpcExporterFactory::Create(exporter), account),
        batch);
    CurrentAccount() = account;
    InstallSpanProcessor(std::make_unique<BoundedProcessor>(std::move(processor), account),
                         options.process, options.version);
  } catch (const std::exception& error) {
    return Internal(Concat("the trace exporter could not be made: ", error.what()));
  }
  return absl::OkStatus();
}

void Shutdown(std::chrono::milliseconds timeout) {
  if (const auto& account = CurrentAccount()) {
    account->deadline.store(std::chrono::steady_clock::now() + timeout);
  }
  UninstallSpanProcessor(timeout);
}

}  // namespace tocsin::telemetry
