#include "lib/telemetry/testing/span_recorder.h"

#include <opentelemetry/sdk/trace/span_data.h>

#include <type_traits>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/telemetry/trace_export.h"

namespace tocsin::telemetry::testing {
namespace {

namespace otel = opentelemetry;
namespace sdk_trace = opentelemetry::sdk::trace;

template <typename Id>
std::string Hex(const Id& id) {
  char text[2 * Id::kSize];
  id.ToLowerBase16(text);
  return id.IsValid() ? std::string(text, sizeof(text)) : std::string();
}

SpanKind FromOtel(otel::trace::SpanKind kind) {
  switch (kind) {
    case otel::trace::SpanKind::kServer:
      return SpanKind::kServer;
    case otel::trace::SpanKind::kClient:
      return SpanKind::kClient;
    case otel::trace::SpanKind::kProducer:
      return SpanKind::kProducer;
    case otel::trace::SpanKind::kConsumer:
      return SpanKind::kConsumer;
    default:
      return SpanKind::kInternal;
  }
}

std::string Text(const otel::sdk::common::OwnedAttributeValue& value) {
  return otel::nostd::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return held;
        } else if constexpr (std::is_same_v<T, bool>) {
          return held ? "true" : "false";
        } else if constexpr (std::is_arithmetic_v<T>) {
          return std::to_string(held);
        } else {
          return "(array)";
        }
      },
      value);
}

}  // namespace

struct SpanRecorder::Store {
  mutable Mutex mutex;
  std::vector<RecordedSpan> spans ABSL_GUARDED_BY(mutex);
};

namespace {

class RecordingProcessor final : public sdk_trace::SpanProcessor {
 public:
  explicit RecordingProcessor(std::shared_ptr<SpanRecorder::Store> store)
      : store_(std::move(store)) {}

  std::unique_ptr<sdk_trace::Recordable> MakeRecordable() noexcept override {
    return std::make_unique<sdk_trace::SpanData>();
  }
  void OnStart(sdk_trace::Recordable&, const otel::trace::SpanContext&) noexcept override {}
  void OnEnd(std::unique_ptr<sdk_trace::Recordable>&& recordable) noexcept override {
    const auto* data = static_cast<const sdk_trace::SpanData*>(recordable.get());
    RecordedSpan span;
    const auto name = data->GetName();
    span.name = std::string(name.data(), name.size());
    span.kind = FromOtel(data->GetSpanKind());
    span.trace_id = Hex(data->GetTraceId());
    span.span_id = Hex(data->GetSpanId());
    span.parent_span_id = Hex(data->GetParentSpanId());
    span.error = data->GetStatus() == otel::trace::StatusCode::kError;
    for (const auto& link : data->GetLinks()) {
      span.links.push_back(Hex(link.GetSpanContext().span_id()));
    }
    for (const auto& [key, value] : data->GetAttributes()) span.attributes[key] = Text(value);
    MutexLock lock(store_->mutex);
    store_->spans.push_back(std::move(span));
  }
  bool ForceFlush(std::chrono::microseconds) noexcept override { return true; }
  bool Shutdown(std::chrono::microseconds) noexcept override { return true; }

 private:
  std::shared_ptr<SpanRecorder::Store> store_;
};

}  // namespace

SpanRecorder::SpanRecorder() : store_(std::make_shared<Store>()) {
  InstallSpanProcessor(std::make_unique<RecordingProcessor>(store_), "test", "0");
}

SpanRecorder::~SpanRecorder() { UninstallSpanProcessor(std::chrono::seconds(1)); }

std::vector<RecordedSpan> SpanRecorder::spans() const {
  MutexLock lock(store_->mutex);
  return store_->spans;
}

std::vector<RecordedSpan> SpanRecorder::Find(std::string_view name) const {
  std::vector<RecordedSpan> found;
  for (RecordedSpan& span : spans()) {
    if (span.name == name) found.push_back(std::move(span));
  }
  return found;
}

}  // namespace tocsin::telemetry::testing
