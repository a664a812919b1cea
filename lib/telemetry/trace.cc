#include "lib/telemetry/trace.h"

#include <opentelemetry/sdk/resource/resource.h>
#include <opentelemetry/sdk/trace/samplers/always_on.h>
#include <opentelemetry/sdk/trace/samplers/parent.h>
#include <opentelemetry/sdk/trace/tracer_provider.h>
#include <opentelemetry/trace/span_context_kv_iterable.h>
#include <opentelemetry/trace/span_startoptions.h>
#include <opentelemetry/trace/trace_state.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>

#include "lib/base/hex.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace_export.h"

namespace tocsin::telemetry {
namespace {

namespace otel = opentelemetry;

constexpr std::size_t kMaxLinks = 128;
constexpr std::size_t kMaxTracestate = 512;

struct Exporting {
  Mutex mutex;
  // Every provider ever installed: spans keep pointers into them.
  std::vector<std::unique_ptr<otel::sdk::trace::TracerProvider>> providers ABSL_GUARDED_BY(mutex);
  std::vector<otel::nostd::shared_ptr<otel::trace::Tracer>> tracers ABSL_GUARDED_BY(mutex);
  std::atomic<otel::trace::Tracer*> current{nullptr};
};

Exporting& GetExporting() {
  static auto* exporting = new Exporting;
  return *exporting;
}

TraceContext& ThreadContext() {
  thread_local TraceContext context;
  return context;
}

std::uint64_t RandomId() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  for (;;) {
    if (const std::uint64_t id = random(); id != 0) return id;
  }
}

otel::nostd::string_view ToOtel(std::string_view text) { return {text.data(), text.size()}; }

otel::trace::SpanKind ToOtel(SpanKind kind) {
  switch (kind) {
    case SpanKind::kInternal:
      return otel::trace::SpanKind::kInternal;
    case SpanKind::kServer:
      return otel::trace::SpanKind::kServer;
    case SpanKind::kClient:
      return otel::trace::SpanKind::kClient;
    case SpanKind::kProducer:
      return otel::trace::SpanKind::kProducer;
    case SpanKind::kConsumer:
      return otel::trace::SpanKind::kConsumer;
  }
  return otel::trace::SpanKind::kInternal;
}

otel::trace::SpanContext ToOtel(const std::array<std::uint8_t, 16>& trace_id,
                                const std::array<std::uint8_t, 8>& span_id, bool sampled,
                                const std::string& tracestate) {
  return {otel::trace::TraceId(otel::nostd::span<const std::uint8_t, 16>(trace_id.data(), 16)),
          otel::trace::SpanId(otel::nostd::span<const std::uint8_t, 8>(span_id.data(), 8)),
          otel::trace::TraceFlags(sampled ? otel::trace::TraceFlags::kIsSampled : std::uint8_t{0}),
          true,
          tracestate.empty() ? otel::trace::TraceState::GetDefault()
                             : otel::trace::TraceState::FromHeader(tracestate)};
}

class NoAttributes final : public otel::common::KeyValueIterable {
 public:
  bool ForEachKeyValue(
      otel::nostd::function_ref<bool(otel::nostd::string_view, otel::common::AttributeValue)>)
      const noexcept override {
    return true;
  }
  std::size_t size() const noexcept override { return 0; }
};

class Links final : public otel::trace::SpanContextKeyValueIterable {
 public:
  explicit Links(std::vector<otel::trace::SpanContext> contexts) : contexts_(std::move(contexts)) {}
  bool ForEachKeyValue(otel::nostd::function_ref<bool(otel::trace::SpanContext,
                                                      const otel::common::KeyValueIterable&)>
                           visit) const noexcept override {
    return std::all_of(contexts_.begin(), contexts_.end(),
                       [&](const auto& context) { return visit(context, NoAttributes()); });
  }
  std::size_t size() const noexcept override { return contexts_.size(); }

 private:
  std::vector<otel::trace::SpanContext> contexts_;
};

// The standard allows lower-case hex only.
bool DecodeLowerHex(std::string_view text, std::uint8_t* out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return false;
    }
    if (i % 2 == 0) {
      out[i / 2] = static_cast<std::uint8_t>(digit << 4);
    } else {
      out[i / 2] = static_cast<std::uint8_t>(out[i / 2] | digit);
    }
  }
  return true;
}

template <std::size_t size>
bool AllZero(const std::array<std::uint8_t, size>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

template <std::size_t size>
std::string Hex(const std::array<std::uint8_t, size>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * size);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 0xF]);
  }
  return text;
}

}  // namespace

void InstallSpanProcessor(std::unique_ptr<otel::sdk::trace::SpanProcessor> processor,
                          const std::string& process, const std::string& version) {
  auto provider = std::make_unique<otel::sdk::trace::TracerProvider>(
      std::move(processor),
      otel::sdk::resource::Resource::Create({{"service.name", process},
                                             {"service.namespace", "tocsin"},
                                             {"service.version", version}},
                                            std::string(kSchemaUrl)),
      std::make_unique<otel::sdk::trace::ParentBasedSampler>(
          std::make_shared<otel::sdk::trace::AlwaysOnSampler>()));
  auto tracer = provider->GetTracer("tocsin", version, std::string(kSchemaUrl));
  Exporting& exporting = GetExporting();
  MutexLock lock(exporting.mutex);
  exporting.providers.push_back(std::move(provider));
  exporting.tracers.push_back(tracer);
  exporting.current.store(tracer.get(), std::memory_order_release);
}

otel::trace::Tracer* ExportTracer() {
  return GetExporting().current.load(std::memory_order_acquire);
}

void UninstallSpanProcessor(std::chrono::microseconds timeout) {
  Exporting& exporting = GetExporting();
  otel::sdk::trace::TracerProvider* provider = nullptr;
  {
    MutexLock lock(exporting.mutex);
    if (exporting.current.exchange(nullptr) == nullptr) return;
    provider = exporting.providers.back().get();
  }
  provider->ForceFlush(timeout);
  provider->Shutdown(timeout);
}

TraceContext TraceContext::FromTraceparent(std::string_view traceparent,
                                           std::string_view tracestate) {
  // 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01; later versions may append "-…".
  if (traceparent.size() < 55 || traceparent[2] != '-' || traceparent[35] != '-' ||
      traceparent[52] != '-') {
    return {};
  }
  std::uint8_t version = 0;
  std::uint8_t flags = 0;
  TraceContext context;
  if (!DecodeLowerHex(traceparent.substr(0, 2), &version) || version == 0xFF ||
      (version == 0 && traceparent.size() != 55) ||
      (traceparent.size() > 55 && traceparent[55] != '-') ||
      !DecodeLowerHex(traceparent.substr(3, 32), context.trace_id_.data()) ||
      !DecodeLowerHex(traceparent.substr(36, 16), context.span_id_.data()) ||
      !DecodeLowerHex(traceparent.substr(53, 2), &flags) || !context.valid()) {
    return {};
  }
  context.sampled_ = (flags & 1) != 0;
  if (tracestate.size() <= kMaxTracestate) context.tracestate_ = std::string(tracestate);
  return context;
}

std::string TraceContext::ToTraceparent() const {
  if (!valid()) return {};
  return Concat("00-", Hex(trace_id_), "-", Hex(span_id_), sampled_ ? "-01" : "-00");
}

bool TraceContext::valid() const { return !AllZero(trace_id_) && !AllZero(span_id_); }
std::string TraceContext::TraceIdHex() const { return Hex(trace_id_); }
std::string TraceContext::SpanIdHex() const { return Hex(span_id_); }

struct Span::Exported {
  otel::nostd::shared_ptr<otel::trace::Span> span;
};

Span::Span(std::string_view name, const SpanOptions& options) {
  const TraceContext& parent = options.parent ? *options.parent : CurrentTraceContext();
  if (otel::trace::Tracer* tracer = ExportTracer()) {
    otel::trace::StartSpanOptions start;
    start.kind = ToOtel(options.kind);
    if (parent.valid()) {
      start.parent = ToOtel(parent.trace_id_, parent.span_id_, parent.sampled_, parent.tracestate_);
    }
    std::vector<otel::trace::SpanContext> links;
    for (const TraceContext& link : options.links) {
      if (!link.valid()) continue;
      if (links.size() == kMaxLinks) break;
      links.push_back(ToOtel(link.trace_id_, link.span_id_, link.sampled_, link.tracestate_));
    }
    exported_ = std::make_unique<Exported>();
    exported_->span =
        tracer->StartSpan(ToOtel(name), NoAttributes(), Links(std::move(links)), start);
    const otel::trace::SpanContext context = exported_->span->GetContext();
    std::memcpy(context_.trace_id_.data(), context.trace_id().Id().data(), 16);
    std::memcpy(context_.span_id_.data(), context.span_id().Id().data(), 8);
    context_.sampled_ = context.IsSampled();
    context_.tracestate_ = parent.tracestate_;
    return;
  }
  const std::uint64_t span_id = RandomId();
  std::memcpy(context_.span_id_.data(), &span_id, 8);
  if (parent.valid()) {
    context_.trace_id_ = parent.trace_id_;
    context_.sampled_ = parent.sampled_;
    context_.tracestate_ = parent.tracestate_;
  } else {
    const std::array<std::uint64_t, 2> trace_id{RandomId(), RandomId()};
    std::memcpy(context_.trace_id_.data(), trace_id.data(), 16);
    // A process further on may export even though this one does not.
    context_.sampled_ = true;
  }
}

Span::~Span() { End(); }
Span::Span(Span&& other) noexcept = default;

Span& Span::operator=(Span&& other) noexcept {
  if (this != &other) {
    End();
    context_ = std::move(other.context_);
    exported_ = std::move(other.exported_);
  }
  return *this;
}

void Span::SetAttribute(std::string_view key, std::string_view value) {
  if (exported_) exported_->span->SetAttribute(ToOtel(key), ToOtel(value));
}
void Span::SetAttribute(std::string_view key, std::int64_t value) {
  if (exported_) exported_->span->SetAttribute(ToOtel(key), value);
}
void Span::SetAttribute(std::string_view key, double value) {
  if (exported_) exported_->span->SetAttribute(ToOtel(key), value);
}
void Span::SetAttribute(std::string_view key, bool value) {
  if (exported_) exported_->span->SetAttribute(ToOtel(key), value);
}

void Span::AddEvent(std::string_view name) {
  if (exported_) exported_->span->AddEvent(ToOtel(name));
}

void Span::SetStatus(const absl::Status& status) {
  if (!exported_ || status.ok()) return;
  const std::string code = absl::StatusCodeToString(status.code());
  exported_->span->SetAttribute(ToOtel(kErrorType), ToOtel(std::string_view(code)));
  exported_->span->SetStatus(otel::trace::StatusCode::kError, ToOtel(Message(status)));
}

void Span::End() {
  if (!exported_) return;
  exported_->span->End();
  exported_.reset();
}

ScopedCurrent::ScopedCurrent(TraceContext context)
    : before_(std::exchange(ThreadContext(), std::move(context))) {}

ScopedCurrent::~ScopedCurrent() { ThreadContext() = std::move(before_); }

const TraceContext& CurrentTraceContext() { return ThreadContext(); }

}  // namespace tocsin::telemetry
