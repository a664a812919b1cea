// Distributed traces by W3C Trace Context. A span is explicit: it is given its parent (or takes the
// thread's current span), and ends with End() or its destructor. Where an OTLP endpoint is
// configured (telemetry.h) spans are exported; where not, ids are still made and passed on, so that
// a trace never breaks at a process that does not export.
//
//   telemetry::Span span("process alerts.raw", {.kind = telemetry::SpanKind::kConsumer,
//                                               .parent = TraceContext::FromTraceparent(header)});
//   telemetry::ScopedCurrent current(span);   // logs and child spans of this thread belong to it
//   headers.Set("traceparent", span.context().ToTraceparent());
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"

namespace tocsin::telemetry {

// Who continues a trace, and where. A plain value.
class TraceContext {
 public:
  // Not valid: belongs to no trace.
  TraceContext() = default;

  // The header `traceparent`, and `tracestate` where there is one (kept and passed on, cut when
  // longer than 512 bytes). Anything that is not well-formed gives a context that is not valid: by
  // the standard a broken header starts a new trace and is no error.
  static TraceContext FromTraceparent(std::string_view traceparent,
                                      std::string_view tracestate = {});
  // "00-<32 hex>-<16 hex>-01"; empty when not valid.
  std::string ToTraceparent() const;
  const std::string& tracestate() const { return tracestate_; }

  bool valid() const;
  bool sampled() const { return sampled_; }
  std::string TraceIdHex() const;
  std::string SpanIdHex() const;

  friend bool operator==(const TraceContext&, const TraceContext&) = default;

 private:
  friend class Span;
  std::array<std::uint8_t, 16> trace_id_{};
  std::array<std::uint8_t, 8> span_id_{};
  bool sampled_ = false;
  std::string tracestate_;
};

enum class SpanKind { kInternal, kServer, kClient, kProducer, kConsumer };

struct SpanOptions {
  SpanKind kind = SpanKind::kInternal;
  // Unset: the thread's current span. A context that is not valid: a new trace.
  std::optional<TraceContext> parent = std::nullopt;
  // Others that this work comes from; those that are not valid are left out, and all beyond 128.
  std::vector<TraceContext> links = {};
};

// Threads: one at a time. Movable; a moved-from span is inert.
class Span {
 public:
  explicit Span(std::string_view name, const SpanOptions& options = {});
  ~Span();
  Span(Span&& other) noexcept;
  Span& operator=(Span&& other) noexcept;

  void SetAttribute(std::string_view key, std::string_view value);
  void SetAttribute(std::string_view key, const char* value) {
    SetAttribute(key, std::string_view(value));
  }
  void SetAttribute(std::string_view key, std::int64_t value);
  void SetAttribute(std::string_view key, double value);
  void SetAttribute(std::string_view key, bool value);
  void AddEvent(std::string_view name);
  // An error marks the span and sets `error.type`; OK leaves it unset, as the conventions ask.
  void SetStatus(const absl::Status& status);
  void End();

  // For headers, metadata and links. Stays good after End().
  const TraceContext& context() const { return context_; }

 private:
  struct Exported;
  TraceContext context_;
  std::unique_ptr<Exported> exported_;
};

// Makes a span the thread's current one until the end of the scope. To be destroyed on the thread
// that made it, in reverse order.
class ScopedCurrent {
 public:
  explicit ScopedCurrent(const Span& span) : ScopedCurrent(span.context()) {}
  explicit ScopedCurrent(TraceContext context);
  ~ScopedCurrent();
  ScopedCurrent(const ScopedCurrent&) = delete;
  ScopedCurrent& operator=(const ScopedCurrent&) = delete;

 private:
  TraceContext before_;
};

// Not valid where there is none.
const TraceContext& CurrentTraceContext();

}  // namespace tocsin::telemetry
