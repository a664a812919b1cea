// The life of a process, the same for all: flags, configuration, logs, traces, admin port, gRPC
// server, readiness, signals, stop. A main is this and nothing else:
//
//   int main(int argc, char** argv) {
//     return tocsin::process::Run<tocsin::ingest::v1::IngestConfig>(
//         argc, argv, {.name = "ingest", .summary = "the way in for events"},
//         [](const auto& config, auto& runtime) { return tocsin::ingest::Wire(config, runtime); });
//   }
//
// Flags: --config FILE, --print-config-schema, --version, --help. The config message has
// `tocsin.config.v1.ProcessConfig process = 1`; TOCSIN_… in the environment overrides the file.
//
// SIGTERM or SIGINT: not ready (health, /readyz) → Component::Drain → the gRPC server lets running
// calls finish → Component::Stop → telemetry is flushed → exit 0, all within process.stop_timeout
// (10 s); what is not done by then is abandoned with exit 1. A second signal, half a second later
// or more, exits at once.
//
// Exit codes: 0 stopped when asked to; 1 failed (the last log line says why); 2 wrong flags or
// configuration (the message is on stderr).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/process/readiness.h"
#include "tocsin/config/v1/process.pb.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tocsin::rpc {
class Server;
}  // namespace tocsin::rpc

namespace tocsin::process {

struct Description {
  // Default of process.name.
  std::string name;
  // One line for --help.
  std::string summary;
};

// What wiring builds: all that the process does beyond serving calls.
class Component {
 public:
  virtual ~Component() = default;
  // A stop has begun: end long-lived streams, take no new work. Must not block.
  virtual void Drain() {}
  // After the last call has ended: finish, commit, flush, join all threads, before `deadline`.
  // An error is logged and makes the exit code 1.
  virtual absl::Status Stop(SteadyTime deadline) = 0;
};

// What the process gives to its wiring. Lives longer than the component.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual const config::v1::ProcessConfig& config() const = 0;
  virtual const Clock& clock() const = 0;
  // Declare conditions while wiring; health and /readyz follow them.
  virtual Readiness& readiness() = 0;
  // The mesh's server on process.listen: add services while wiring; Run starts it after wiring and
  // stops it. A process that never asks has none.
  virtual rpc::Server& server() = 0;
  // Ends the process with exit code 1 after an orderly stop: for what cannot be recovered. From any
  // thread; only the first call counts.
  virtual void Fail(absl::Status reason) = 0;
  virtual bool stopping() const = 0;
};

// Builds the real thing and starts it. Must not wait for others (Kafka, the registry): a process
// starts without them, says so in its readiness, and works when they come. An error ends the
// process with exit code 2 when it is INVALID_ARGUMENT, else 1.
template <typename Config>
using Wire =
    std::function<absl::StatusOr<std::unique_ptr<Component>>(const Config& config, Runtime&)>;

namespace internal {
int Run(int argc, char** argv, const Description& description, google::protobuf::Message& config,
        const std::function<config::v1::ProcessConfig&()>& process_config,
        const std::function<absl::StatusOr<std::unique_ptr<Component>>(Runtime&)>& wire);
}  // namespace internal

// Blocks until the end of the process; returns the exit code.
template <typename Config>
int Run(int argc, char** argv, const Description& description, const Wire<Config>& wire) {
  Config config;
  return internal::Run(
      argc, argv, description, config,
      [&config]() -> config::v1::ProcessConfig& { return *config.mutable_process(); },
      [&config, &wire](Runtime& runtime) { return wire(std::as_const(config), runtime); });
}

}  // namespace tocsin::process
