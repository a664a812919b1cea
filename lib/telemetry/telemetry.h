// The start and the end of a process's telemetry. lib/process does both; other code needs only
// log.h, metrics.h and trace.h.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"

namespace tocsin::telemetry {

struct Options {
  // service.name of all spans, "process" of all log lines.
  std::string process;
  std::string version;
  // debug, info, warning, error; empty means info.
  std::string log_level;
  // host:port of an OTLP/gRPC collector; empty: no spans are exported.
  std::string otlp_endpoint;
  // Plain text to the collector; otherwise TLS with the machine's or the given authorities.
  bool otlp_insecure = false;
  std::string otlp_ca_file;
  // Of one export. A stop may have to wait for one that is under way, and for one more.
  std::chrono::milliseconds export_timeout{2'000};
};

// Once, from the main thread, before others start. INVALID_ARGUMENT names the option. A collector
// that does not answer is no error: at most 8192 spans wait, what does not fit or is not taken is
// dropped and counted in otel_sdk_spans_lost_total; the work is never held up.
absl::Status Start(const Options& options);

// Sends what waits, for at most `timeout`, and stops exporting; spans ended later are lost. Safe to
// call without Start and more than once.
void Shutdown(std::chrono::milliseconds timeout);

}  // namespace tocsin::telemetry
