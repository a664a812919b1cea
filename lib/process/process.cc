#include "lib/process/process.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"
#include "lib/process/admin.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/telemetry.h"

#ifndef TOCSIN_VERSION
#define TOCSIN_VERSION "0"
#endif

namespace tocsin::process {
namespace {

constexpr int kStopped = 0;
constexpr int kFailed = 1;
constexpr int kWrongUse = 2;
constexpr std::chrono::milliseconds kDefaultStopTimeout{10'000};
// Ctrl-C reaches a process from its terminal and often again from whoever started it: what comes
// within this time is one signal.
constexpr std::chrono::milliseconds kOneSignal{500};
constexpr std::chrono::milliseconds kShortestStopTimeout{1'000};
// Of the stop's time, what is kept for telemetry's last words.
constexpr std::chrono::milliseconds kFlush{1'000};

int CodeFor(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? kWrongUse : kFailed;
}

// Libraries name keys as they stand in their own part of the configuration.
absl::Status Prefixed(std::string_view prefix, const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return InvalidArgument(Concat(prefix, Message(status)));
}

class RuntimeImpl final : public Runtime {
 public:
  explicit RuntimeImpl(const config::v1::ProcessConfig& config) : config_(config) {}

  const config::v1::ProcessConfig& config() const override { return config_; }
  const Clock& clock() const override { return Clock::Real(); }
  Readiness& readiness() override { return readiness_; }

  rpc::Server& server() override {
    if (!server_) {
      rpc::ServerOptions options;
      options.listen = config_.listen();
      options.tls = config_.tls();
      options.auth = config_.auth();
      server_.emplace(std::move(options));
    }
    return *server_;
  }

  void Fail(absl::Status reason) override {
    MutexLock lock(mutex_);
    if (failure_.ok()) failure_ = std::move(reason);
    stop_.NotifyAll();
  }
  bool stopping() const override { return stopping_.load(); }

  void Stop() {
    MutexLock lock(mutex_);
    asked_ = true;
    stopping_ = true;
    stop_.NotifyAll();
  }
  // Until a stop is asked for or Fail; OK in the first case.
  absl::Status Wait() {
    MutexLock lock(mutex_);
    while (!asked_ && failure_.ok()) stop_.Wait(mutex_);
    stopping_ = true;
    return failure_;
  }
  bool has_server() const { return server_.has_value(); }

 private:
  const config::v1::ProcessConfig& config_;
  Readiness readiness_;
  std::optional<rpc::Server> server_;
  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  CondVar stop_;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

// Takes SIGTERM and SIGINT on a thread of its own: the first asks for a stop and starts the clock,
// the second, or the clock, ends the process.
class Signals {
 public:
  // Before any other thread begins, so that all inherit the mask.
  static sigset_t Block() {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    return set;
  }

  Signals(sigset_t set, std::chrono::milliseconds timeout, std::function<void()> stop)
      : set_(set), timeout_(timeout), stop_(std::move(stop)), thread_([this] { Run(); }) {}

  ~Signals() {
    done_ = true;
    // The thread has SIGTERM blocked and waits for it.
    // NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread)
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

  // The same clock for a stop that no signal asked for.
  void StopClock() {
    SteadyTime never = SteadyTime::max();
    deadline_.compare_exchange_strong(never, std::chrono::steady_clock::now() + timeout_);
  }

 private:
  void Run() {
    std::optional<SteadyTime> first;
    while (!done_) {
      timespec tick{0, 250'000'000};
      const int signal = sigtimedwait(&set_, nullptr, &tick);
      if (done_) return;
      if (signal > 0 && first && std::chrono::steady_clock::now() - *first < kOneSignal) continue;
      if (signal > 0 && first) {
        telemetry::LogWarning("a second signal: ending at once");
        _exit(kFailed);
      }
      if (signal > 0) {
        first = std::chrono::steady_clock::now();
        telemetry::LogInfo("stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
        StopClock();
        stop_();
      }
      if (std::chrono::steady_clock::now() >= deadline_.load()) {
        telemetry::LogError(
            "not stopped in time: what was left is abandoned",
            {{"stop_timeout_seconds", std::chrono::duration<double>(timeout_).count()}});
        _exit(kFailed);
      }
    }
  }

  const sigset_t set_;
  const std::chrono::milliseconds timeout_;
  const std::function<void()> stop_;
  std::atomic<bool> done_{false};
  std::atomic<SteadyTime> deadline_{SteadyTime::max()};
  std::thread thread_;
};

int Serve(const google::protobuf::Message& config, const config::v1::ProcessConfig& process,
          sigset_t signal_set,
          const std::function<absl::StatusOr<std::unique_ptr<Component>>(Runtime&)>& wire) {
  const auto fail = [](std::string_view what, const absl::Status& status) {
    telemetry::LogError(what, {{"error", status}});
    return CodeFor(status);
  };
  std::chrono::milliseconds stop_timeout = kDefaultStopTimeout;
  if (process.has_stop_timeout()) {
    stop_timeout = std::chrono::seconds(process.stop_timeout().seconds()) +
                   std::chrono::milliseconds(process.stop_timeout().nanos() / 1'000'000);
  }
  if (stop_timeout < kShortestStopTimeout) {
    return fail("the process could not start",
                InvalidArgument("process.stop_timeout must be at least 1s"));
  }

  RuntimeImpl runtime(process);
  // Not ready before everything is wired, whatever the conditions.
  runtime.readiness().Declare("started", "the process is starting");
  Signals signals(signal_set, stop_timeout, [&runtime] { runtime.Stop(); });

  std::unique_ptr<AdminServer> admin;
  if (!process.admin_listen().empty()) {
    auto started = AdminServer::Start(
        process.admin_listen(),
        {[] { return telemetry::RenderMetrics(); }, [&config] { return config::Dump(config); },
         [&runtime] {
           return std::pair(runtime.readiness().ready(), runtime.readiness().Describe());
         }});
    if (!started.ok()) {
      return fail("the process could not start", Prefixed("process.", started.status()));
    }
    admin = *std::move(started);
  }

  auto wired = wire(runtime);
  if (!wired.ok()) return fail("the process could not start", wired.status());
  const std::unique_ptr<Component> component = *std::move(wired);
  std::string failed_step;
  absl::Status failure;
  if (runtime.has_server() && !runtime.stopping()) {
    if (absl::Status status = runtime.server().Start(); !status.ok()) {
      failed_step = "the process could not start";
      failure = Prefixed("process.", status);
    } else {
      runtime.readiness().OnChange([&runtime](bool ready) { runtime.server().SetServing(ready); });
    }
  }
  if (failure.ok()) {
    runtime.readiness().Met("started");
    telemetry::LogInfo("started",
                       {{"listen_port", runtime.has_server() ? runtime.server().port() : 0},
                        {"admin_port", admin == nullptr ? 0 : admin->port()}});
    failure = runtime.Wait();
    if (!failure.ok()) {
      failed_step = "the process cannot go on";
    }
  }
  int code = kStopped;
  if (!failure.ok()) code = fail(failed_step, failure);

  signals.StopClock();
  const SteadyTime begin = std::chrono::steady_clock::now();
  const SteadyTime end = begin + std::max(stop_timeout - kFlush, stop_timeout / 2);
  runtime.readiness().Stopping();
  if (component) component->Drain();
  // Half of the time for calls that run, so that the component keeps the other half.
  if (runtime.has_server()) runtime.server().Stop(begin + (end - begin) / 2);
  if (component) {
    if (const absl::Status status = component->Stop(end); !status.ok()) {
      fail("not everything could be finished", status);
      code = std::max(code, kFailed);
    }
  }
  telemetry::LogInfo(
      "stopped",
      {{"seconds",
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}});
  return code;
}

}  // namespace

namespace internal {

int Run(int argc, char** argv, const Description& description, google::protobuf::Message& config,
        const std::function<config::v1::ProcessConfig&()>& process_config,
        const std::function<absl::StatusOr<std::unique_ptr<Component>>(Runtime&)>& wire) {
  const sigset_t signals = Signals::Block();

  CLI::App app(Concat("tocsin-", description.name, ": ", description.summary),
               Concat("tocsin-", description.name));
  std::string config_file;
  bool print_schema = false;
  app.add_option("--config", config_file, "The configuration, a YAML file")->type_name("FILE");
  app.add_flag("--print-config-schema", print_schema,
               "Print the JSON Schema of the configuration and exit");
  app.set_version_flag("--version", Concat("tocsin-", description.name, " ", TOCSIN_VERSION));
  app.footer(
      "TOCSIN_… in the environment overrides a key: TOCSIN_PROCESS_LISTEN=127.0.0.1:9000.\n"
      "SIGTERM stops in order, a second one at once.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kStopped : kWrongUse;
  }
  if (print_schema) {
    std::printf("%s\n", config::Schema(*config.GetDescriptor()).c_str());
    return kStopped;
  }

  const auto wrong = [&description](const absl::Status& status) {
    std::fprintf(stderr, "tocsin-%s: %s\n", description.name.c_str(),
                 std::string(Message(status)).c_str());
    return kWrongUse;
  };
  if (!config_file.empty()) {
    if (const absl::Status status = config::LoadFileInto(config_file, config); !status.ok()) {
      return wrong(status);
    }
  }
  std::vector<std::string> overridden;
  if (const absl::Status status =
          config::ApplyEnvironment(config, config::CurrentEnvironment(), &overridden);
      !status.ok()) {
    return wrong(status);
  }
  config::v1::ProcessConfig& process = process_config();
  if (process.name().empty()) process.set_name(description.name);

  telemetry::Options telemetry_options;
  telemetry_options.process = process.name();
  telemetry_options.version = TOCSIN_VERSION;
  telemetry_options.log_level = process.telemetry().log_level();
  telemetry_options.otlp_endpoint = process.telemetry().otlp_endpoint();
  telemetry_options.otlp_insecure = process.telemetry().otlp_insecure();
  if (const absl::Status status = telemetry::Start(telemetry_options); !status.ok()) {
    return wrong(Prefixed("process.", status));
  }
  telemetry::LogInfo("starting", {{"version", TOCSIN_VERSION},
                                  {"config", config_file},
                                  {"overridden_by", Join(overridden, " ")}});
  const int code = Serve(config, process, signals, wire);
  telemetry::Shutdown(kFlush);
  return code;
}

}  // namespace internal
}  // namespace tocsin::process
