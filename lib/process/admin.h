// The admin port: plain HTTP for the machine's own tools, never public.
//
//   /livez    200 while the process runs; depends on nobody
//   /readyz   200 or 503, and each condition that is not met
//   /metrics  the text format of Prometheus
//   /config   the configuration in effect as YAML, secrets left out
//
// GET and HEAD only; a request's header has 8 KiB and 5 seconds, 64 connections at most.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::process {

struct AdminPages {
  std::function<std::string()> metrics;
  std::function<std::string()> config;
  // Ready, and the text of /readyz.
  std::function<std::pair<bool, std::string>()> readiness;
};

// One thread of its own. Pages are rendered on it, so they must not block.
class AdminServer {
 public:
  // `listen`: host:port, port 0 takes a free one. INVALID_ARGUMENT: not an address;
  // FAILED_PRECONDITION: it cannot be listened on, most often because it is in use.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(
      const std::string& listen, AdminPages pages,
      std::chrono::milliseconds header_timeout = std::chrono::seconds(5));
  virtual ~AdminServer() = default;
  virtual std::uint16_t port() const = 0;
};

}  // namespace tocsin::process
