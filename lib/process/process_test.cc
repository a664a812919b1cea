// process::Run from outside: starts testing/fixture_main.cc and looks at what a person would see.
#include "lib/process/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "lib/base/status.h"
#include "lib/base/stop_signal.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/process/testing/http_get.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"

namespace tocsin::process {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckResponse;
using ::testing::AllOf;
using ::testing::EndsWith;
using testing::Get;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A child whose stdout and stderr come through one pipe.
class Child {
 public:
  Child(const std::vector<std::string>& arguments,
        const std::map<std::string, std::string>& environment) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    std::vector<std::string> words = {TOCSIN_PROCESS_FIXTURE};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], 1);
      dup2(ends[1], 2);
      for (const auto& [key, value] : environment) setenv(key.c_str(), value.c_str(), 1);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    out_ = fdopen(ends[0], "r");
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    fclose(out_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Reads lines until one holds `text`; that line, or empty at the end of the output.
  std::string WaitFor(std::string_view text) {
    char* line = nullptr;
    std::size_t capacity = 0;
    std::string found;
    while (found.empty() && getline(&line, &capacity, out_) > 0) {
      text_.append(line);
      if (std::string_view(line).find(text) != std::string_view::npos) found = line;
    }
    free(line);  // NOLINT: getline's
    return found;
  }
  void Signal(int number) const {
    if (pid_ > 0) kill(pid_, number);
  }
  // Reads to the end; the exit code, or -signal.
  int Wait() {
    WaitFor("\x01");
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  // All that was read so far.
  const std::string& text() const { return text_; }

 private:
  std::atomic<pid_t> pid_{0};
  FILE* out_ = nullptr;
  std::string text_;
};

class ProcessTest : public ::testing::Test {
 protected:
  std::string Config(const std::string& mode, const std::string& more_process = {},
                     const std::string& more = {}) {
    const auto tls = mesh_.Tls("fixture");
    const std::string path = Concat(mesh_.folder(), "/config.yaml");
    std::ofstream(path) << "process:\n"
                        << "  listen: 127.0.0.1:0\n"
                        << "  admin_listen: 127.0.0.1:0\n"
                        << "  stop_timeout: 3s\n"
                        << "  tls:\n"
                        << "    certificate_file: " << tls.certificate_file() << "\n"
                        << "    key_file: " << tls.key_file() << "\n"
                        << "    ca_file: " << tls.ca_file() << "\n"
                        << "  auth:\n"
                        << "    issuer: tocsin-test\n"
                        << "    audience: tocsin-test\n"
                        << "    public_key_files: " << mesh_.Auth().public_key_files(0) << "\n"
                        << more_process << "mode: " << mode << "\n"
                        << "door_file: " << door() << "\n"
                        << "webhook_secret: hunter2\n"
                        << more;
    return path;
  }
  std::string door() const { return Concat(mesh_.folder(), "/door"); }

  struct Ports {
    std::uint16_t rpc = 0;
    std::uint16_t admin = 0;
  };
  static Ports Started(Child& child) {
    const std::string line = child.WaitFor("\"message\":\"started\"");
    EXPECT_NE(line, "") << child.text();
    if (line.empty()) return {};
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json.at("process"), "fixture");
    return {json.at("listen_port"), json.at("admin_port")};
  }

  HealthCheckResponse::ServingStatus Healthy(std::uint16_t port, const std::string& service) {
    config::v1::PeerConfig peer;
    peer.set_target(Concat("127.0.0.1:", port));
    const auto stub = Health::NewStub(rpc::MakeChannel<Health>(peer, mesh_.Tls("probe")).value());
    rpc::ClientContext context(std::chrono::seconds(5));
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    EXPECT_THAT(rpc::FromGrpc(stub->Check(&context, request, &response)), IsOk());
    return response.status();
  }

  rpc::testing::TestMesh mesh_;
};

TEST_F(ProcessTest, ReadinessAndHealthFollowTheConditionsBothWays) {
  Child child({"--config", Config("normal")}, {});
  const Ports ports = Started(child);
  while (Get(ports.admin, "/readyz").find("no file") == std::string::npos) {
    std::this_thread::yield();
  }
  EXPECT_THAT(Get(ports.admin, "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Get(ports.admin, "/readyz"),
              AllOf(StartsWith("HTTP/1.1 503 "),
                    HasSubstr(Concat("not ready: door: no file ", door(), " (since "))));
  EXPECT_EQ(Healthy(ports.rpc, ""), HealthCheckResponse::NOT_SERVING);

  std::ofstream(door()) << "open";
  ASSERT_NE(child.WaitFor("\"message\":\"condition met\",\"condition\":\"door\""), "");
  // The line is written just before the state is told on.
  while (Healthy(ports.rpc, "") != HealthCheckResponse::SERVING) std::this_thread::yield();
  EXPECT_EQ(Healthy(ports.rpc, "tocsin.rpc.testing.v1.EchoService"), HealthCheckResponse::SERVING);
  EXPECT_THAT(Get(ports.admin, "/readyz"), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("ready\n")));

  unlink(door().c_str());
  ASSERT_NE(child.WaitFor("\"message\":\"condition not met\",\"condition\":\"door\""), "");
  while (Healthy(ports.rpc, "") != HealthCheckResponse::NOT_SERVING) std::this_thread::yield();
  EXPECT_THAT(Get(ports.admin, "/readyz"), StartsWith("HTTP/1.1 503 "));

  child.Signal(SIGTERM);
  EXPECT_EQ(child.Wait(), 0) << child.text();
}

TEST_F(ProcessTest, AdminPagesTellMetricsAndTheConfigurationWithoutSecrets) {
  Child child({"--config", Config("normal")},
              {{"TOCSIN_KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092"}});
  const Ports ports = Started(child);
  EXPECT_THAT(Get(ports.admin, "/metrics"), HasSubstr("process_resident_memory_bytes"));
  const std::string config = Get(ports.admin, "/config");
  EXPECT_THAT(config, AllOf(HasSubstr("mode: normal"), HasSubstr("bootstrap_servers: "),
                            HasSubstr("kafka.example:9092"), HasSubstr("[redacted]"),
                            HasSubstr("stop_timeout: 3s"), Not(HasSubstr("hunter2"))));
  child.Signal(SIGINT);
  EXPECT_EQ(child.Wait(), 0) << child.text();
  EXPECT_THAT(child.text(),
              AllOf(HasSubstr("TOCSIN_KAFKA_BOOTSTRAP_SERVERS"), Not(HasSubstr("hunter2"))));
}

TEST_F(ProcessTest, StopsInOrder) {
  Child child({"--config", Config("normal")}, {});
  Started(child);
  child.Signal(SIGTERM);
  EXPECT_EQ(child.Wait(), 0) << child.text();
  std::size_t at = 0;
  for (const char* step :
       {"\"stopping\"", "\"draining\"", "\"component stopping\"", "\"stopped\""}) {
    const auto next = child.text().find(step, at);
    ASSERT_NE(next, std::string::npos) << step << " in " << child.text();
    at = next;
  }
}

TEST_F(ProcessTest, WhatDoesNotStopInTimeIsAbandoned) {
  Child child({"--config", Config("hang")}, {});
  Started(child);
  const auto begin = std::chrono::steady_clock::now();
  child.Signal(SIGTERM);
  EXPECT_EQ(child.Wait(), 1);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, std::chrono::milliseconds(2900));
  EXPECT_LT(took, std::chrono::seconds(6));
  EXPECT_THAT(child.text(), HasSubstr("not stopped in time"));
}

TEST_F(ProcessTest, ASecondSignalEndsAtOnce) {
  Child child({"--config", Config("hang")}, {});
  Started(child);
  child.Signal(SIGTERM);
  ASSERT_NE(child.WaitFor("component stopping"), "");
  // Within half a second it counts as the same one.
  const auto begin = std::chrono::steady_clock::now();
  StopSignal gone;
  std::thread impatient([&] {
    do {
      child.Signal(SIGTERM);
    } while (!gone.WaitFor(std::chrono::milliseconds(100)));
  });
  EXPECT_EQ(child.Wait(), 1);
  const auto took = std::chrono::steady_clock::now() - begin;
  gone.Stop();
  impatient.join();
  EXPECT_GE(took, std::chrono::milliseconds(300));
  EXPECT_LT(took, std::chrono::milliseconds(2000));
  EXPECT_THAT(child.text(), HasSubstr("a second signal"));
}

TEST_F(ProcessTest, AnErrorInStopIsToldAndMakesTheExitCodeOne) {
  Child child({"--config", Config("stop-error")}, {});
  Started(child);
  child.Signal(SIGTERM);
  EXPECT_EQ(child.Wait(), 1);
  EXPECT_THAT(child.text(), HasSubstr("DATA_LOSS: 7 events are not in Kafka"));
}

TEST_F(ProcessTest, WhatCannotGoOnStopsInOrderWithExitCodeOne) {
  Child child({"--config", Config("fail")}, {});
  EXPECT_EQ(child.Wait(), 1);
  EXPECT_THAT(child.text(), AllOf(HasSubstr("the process cannot go on"),
                                  HasSubstr("INTERNAL: the state on disk is not ours"),
                                  HasSubstr("component stopping")));
}

TEST_F(ProcessTest, APortInUseEndsTheStartWithTheAddress) {
  Child first({"--config", Config("normal")}, {});
  const Ports ports = Started(first);
  for (const auto& [variable, port] : std::map<std::string, std::uint16_t>{
           {"TOCSIN_PROCESS_LISTEN", ports.rpc}, {"TOCSIN_PROCESS_ADMIN_LISTEN", ports.admin}}) {
    const std::string address = Concat("127.0.0.1:", port);
    Child second({"--config", Config("normal")}, {{variable, address}});
    EXPECT_EQ(second.Wait(), 1);
    EXPECT_THAT(second.text(), AllOf(HasSubstr(Concat("cannot listen on ", address)),
                                     HasSubstr("Address already in use")));
  }
}

struct WrongUse {
  const char* name;
  std::string mode;
  std::string more_process;
  std::string more;
  std::map<std::string, std::string> environment;
  std::string message;
};

class WrongConfiguration : public ProcessTest, public ::testing::WithParamInterface<WrongUse> {};

TEST_P(WrongConfiguration, EndsWithCodeTwoAndSaysWhat) {
  Child child({"--config", Config(GetParam().mode, GetParam().more_process, GetParam().more)},
              GetParam().environment);
  EXPECT_EQ(child.Wait(), 2) << child.text();
  EXPECT_THAT(child.text(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, WrongConfiguration,
    ::testing::Values(
        WrongUse{"unknown_key", "normal", "", "mod: x\n", {}, "did you mean 'mode'?"},
        WrongUse{"wiring", "wire-error", "", "", {}, "kafka.bootstrap_servers: 'x' is not host"},
        WrongUse{"log_level",
                 "normal",
                 "  telemetry: {log_level: loud}\n",
                 "",
                 {},
                 "log level 'loud' is not one of"},
        WrongUse{"environment",
                 "normal",
                 "",
                 "",
                 {{"TOCSIN_PROCESS_STOP_TIMEOUT", "soon"}},
                 "TOCSIN_PROCESS_STOP_TIMEOUT"},
        WrongUse{"stop_timeout",
                 "normal",
                 "",
                 "",
                 {{"TOCSIN_PROCESS_STOP_TIMEOUT", "10ms"}},
                 "process.stop_timeout"},
        WrongUse{
            "address", "normal", "", "", {{"TOCSIN_PROCESS_LISTEN", "9000"}}, "process.listen"},
        WrongUse{"tls",
                 "normal",
                 "",
                 "",
                 {{"TOCSIN_PROCESS_TLS_KEY_FILE", "/no/such/file"}},
                 "process.tls.key_file: "}),
    [](const auto& param) { return param.param.name; });

TEST_F(ProcessTest, HasTheFlagsThatAllHave) {
  Child help({"--help"}, {});
  EXPECT_EQ(help.Wait(), 0);
  EXPECT_THAT(help.text(), AllOf(HasSubstr("tocsin-fixture: what the tests"),
                                 HasSubstr("--config FILE"), HasSubstr("--print-config-schema")));
  Child version({"--version"}, {});
  EXPECT_EQ(version.Wait(), 0);
  EXPECT_THAT(version.text(), StartsWith("tocsin-fixture "));
  Child schema({"--print-config-schema"}, {});
  EXPECT_EQ(schema.Wait(), 0);
  EXPECT_TRUE(nlohmann::json::parse(schema.text(), nullptr, false).contains("$schema"));
  Child wrong({"--confg", "x"}, {});
  EXPECT_EQ(wrong.Wait(), 2);
  EXPECT_THAT(wrong.text(), HasSubstr("--confg"));
  Child missing({"--config", "/no/such/file.yaml"}, {});
  EXPECT_EQ(missing.Wait(), 2);
  EXPECT_THAT(missing.text(), HasSubstr("/no/such/file.yaml"));
}

}  // namespace
}  // namespace tocsin::process
