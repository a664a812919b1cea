// A process that does nothing but what the tests of lib/process ask of it by its configuration.
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <thread>

#include "lib/base/status.h"
#include "lib/base/stop_signal.h"
#include "lib/process/process.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "tocsin/process/testing/v1/config.pb.h"
#include "tocsin/rpc/testing/v1/echo.grpc.pb.h"

namespace tocsin::process {
namespace {

using testing::v1::FixtureConfig;

class Fixture final : public Component {
 public:
  Fixture(const FixtureConfig& config, Runtime& runtime)
      : config_(config), runtime_(runtime), watch_([this] { Watch(); }) {}

  ~Fixture() override { Join(); }

  void Drain() override { telemetry::LogInfo("draining"); }

  absl::Status Stop(SteadyTime deadline) override {
    const auto left = deadline - std::chrono::steady_clock::now();
    telemetry::LogInfo("component stopping",
                       {{"seconds_left", std::chrono::duration<double>(left).count()}});
    if (config_.mode() == "hang") Hang();
    Join();
    return config_.mode() == "stop-error" ? DataLoss("7 events are not in Kafka")
                                          : absl::OkStatus();
  }

  rpc::testing::v1::EchoService::Service service;

 private:
  void Watch() {
    runtime_.readiness().Declare("door", "the file is not there");
    do {
      if (std::filesystem::exists(config_.door_file())) {
        runtime_.readiness().Met("door");
      } else {
        runtime_.readiness().NotMet("door", Concat("no file ", config_.door_file()));
      }
      if (config_.mode() == "fail") runtime_.Fail(Internal("the state on disk is not ours"));
    } while (!done_.WaitFor(std::chrono::milliseconds(5)));
  }
  static void Hang() {
    std::promise<void> never;
    never.get_future().wait();
  }
  void Join() {
    done_.Stop();
    if (watch_.joinable()) watch_.join();
  }

  const FixtureConfig& config_;
  Runtime& runtime_;
  StopSignal done_;
  std::thread watch_;
};

absl::StatusOr<std::unique_ptr<Component>> WireFixture(const FixtureConfig& config,
                                                       Runtime& runtime) {
  if (config.mode() == "wire-error") {
    return InvalidArgument("kafka.bootstrap_servers: 'x' is not host:port");
  }
  auto fixture = std::make_unique<Fixture>(config, runtime);
  if (!runtime.config().listen().empty()) {
    runtime.server().AddService<rpc::testing::v1::EchoService>(fixture->service);
  }
  return fixture;
}

}  // namespace
}  // namespace tocsin::process

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::process::testing::v1::FixtureConfig>(
      argc, argv, {.name = "fixture", .summary = "what the tests of lib/process run"},
      tocsin::process::WireFixture);
}
