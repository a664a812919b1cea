// The seam between Span and what exports it; the only header with OpenTelemetry types, for the
// files of this folder.
#pragma once

#include <opentelemetry/sdk/trace/processor.h>
#include <opentelemetry/trace/tracer.h>

#include <memory>
#include <string>

namespace tocsin::telemetry {

// Where spans go from now on; null stops. What was given before is kept until the process ends,
// because a span may still hold it.
void InstallSpanProcessor(std::unique_ptr<opentelemetry::sdk::trace::SpanProcessor> processor,
                          const std::string& process, const std::string& version);
// Null when nothing is exported.
opentelemetry::trace::Tracer* ExportTracer();
// Flushes and stops the processor installed last.
void UninstallSpanProcessor(std::chrono::microseconds timeout);

}  // namespace tocsin::telemetry
