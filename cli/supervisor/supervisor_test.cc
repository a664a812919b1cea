// Real programs (shells), real signals: what the supervisor promises of any program.
#include "cli/supervisor/supervisor.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "cli/supervisor/child.h"
#include "cli/supervisor/configs.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/ports.h"
#include "lib/auth/keys.h"
#include "lib/auth/token.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/config/config.h"
#include "tocsin/gateway/v1/config.pb.h"
#include "tocsin/ingest/v1/config.pb.h"
#include "tocsin/notification/v1/config.pb.h"
#include "tocsin/report/v1/config.pb.h"
#include "tocsin/schema/v1/config.pb.h"

namespace tocsin::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-up-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

// Health as a test wants it.
class FakeHealth : public HealthSource {
 public:
  explicit FakeHealth(std::function<absl::Status()> ask) : ask_(std::move(ask)) {}
  absl::Status Ask() override { return ask_(); }

 private:
  const std::function<absl::Status()> ask_;
};

std::unique_ptr<HealthSource> Answers(std::function<absl::Status()> ask) {
  return std::make_unique<FakeHealth>(std::move(ask));
}
std::unique_ptr<HealthSource> WaitsFor(std::string_view what) {
  return Answers([status = Unavailable(what)] { return status; });
}

class SupervisorTest : public FolderTest {
 protected:
  static void SetUpTestSuite() { Supervisor::BlockSignals(); }

  Program Shell(const std::string& name, const std::string& script) {
    return {name, {"/bin/sh", "-c", script}, folder_ / (name + ".log"), Answers([] {
              return absl::Status();
            })};
  }
  // Ticks until the condition holds; false after ten seconds.
  bool TickUntil(const std::function<bool()>& condition) {
    const SteadyTime deadline = Clock::Real().SteadyNow() + seconds(10);
    while (!condition()) {
      if (Clock::Real().SteadyNow() > deadline) return false;
      supervisor_.Tick(milliseconds(10));
    }
    return true;
  }
  pid_t Pid(std::string_view name) const {
    for (const auto& state : supervisor_.states()) {
      if (state.name == name) return state.pid;
    }
    return -1;
  }
  bool Logged(const std::string& name, const std::string& text) const {
    return auth::ReadFile((folder_ / (name + ".log")).string()).value_or("").find(text) !=
           std::string::npos;
  }

  std::vector<std::string> said_;
  Supervisor supervisor_{[this](std::string_view text) { said_.emplace_back(text); }, [] {}};
};

TEST_F(SupervisorTest, WhatDiesIsStartedAgainAtOnce) {
  ASSERT_THAT(supervisor_.Start(Shell("a", "echo up; exec sleep 1000")), IsOk());
  ASSERT_TRUE(TickUntil([&] { return Logged("a", "up"); }));
  const pid_t first = Pid("a");
  const SteadyTime killed = Clock::Real().SteadyNow();
  kill(first, SIGKILL);
  ASSERT_TRUE(TickUntil([&] { return Pid("a") > 0 && Pid("a") != first; }));
  // 100 ms by the policy; the rest is for a busy machine.
  EXPECT_LE(Clock::Real().SteadyNow() - killed, seconds(2));
  EXPECT_EQ(supervisor_.states()[0].restarts, 1);
  EXPECT_THAT(said_,
              ElementsAre("a ended (killed by signal 9 (Killed)); starting it again in 100 ms"));
}

TEST_F(SupervisorTest, EndsInReverseOrderAndLeavesNothingBehind) {
  const std::string order = (folder_ / "order").string();
  const auto script = [&](const std::string& name) {
    // A helper in the background, as careless programs leave them.
    return Concat("trap 'echo ", name, " >> ", order,
                  "; exit 0' TERM; sleep 1000 & echo helper $!; ", "while :; do sleep 0.05; done");
  };
  for (const char* const name : {"a", "b", "c"}) {
    ASSERT_THAT(supervisor_.Start(Shell(name, script(name))), IsOk());
    ASSERT_TRUE(TickUntil([&] { return Logged(name, "helper"); }));
  }
  const std::string log = auth::ReadFile((folder_ / "b.log").string()).value();
  const pid_t helper = static_cast<pid_t>(std::stol(log.substr(log.find(' '))));
  std::vector<std::string> ending;
  supervisor_.StopAll(seconds(10), [&](std::string_view name) { ending.emplace_back(name); });
  EXPECT_THAT(ending, ElementsAre("c", "b", "a"));
  EXPECT_THAT(auth::ReadFile(order), IsOkAndHolds("c\nb\na\n"));
  // The helper is not ours to wait for: it is gone or a zombie of whoever inherits orphans.
  const std::string status =
      auth::ReadFile(Concat("/proc/", helper, "/status")).value_or("State:\tZ");
  EXPECT_THAT(status, HasSubstr("State:\tZ"));
  EXPECT_TRUE(supervisor_.states().empty());
}

TEST_F(SupervisorTest, KillsWhatDoesNotEnd) {
  ASSERT_THAT(
      supervisor_.Start(Shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done")),
      IsOk());
  ASSERT_TRUE(TickUntil([&] { return Logged("deaf", "up"); }));
  const SteadyTime begun = Clock::Real().SteadyNow();
  supervisor_.StopAll(milliseconds(200), [](std::string_view) {});
  EXPECT_LT(Clock::Real().SteadyNow() - begun, seconds(5));
}

TEST_F(SupervisorTest, WaitsUntilEachServesAndSaysForWhat) {
  std::atomic<int> asked{0};
  Program program = Shell("a", "exec sleep 1000");
  program.health = Answers([&]() -> absl::Status {
    return ++asked < 3 ? Unavailable("kafka: no answer") : absl::OkStatus();
  });
  ASSERT_THAT(supervisor_.Start(std::move(program)), IsOk());
  std::set<std::string> waited;
  EXPECT_THAT(supervisor_.WaitUntilServing({"a"}, seconds(20),
                                           [&](std::string_view what) { waited.emplace(what); }),
              IsOk());
  EXPECT_TRUE(waited.contains("kafka: no answer"));
  EXPECT_TRUE(supervisor_.states()[0].serving);
}

TEST_F(SupervisorTest, NamesTheCulpritWithTheEndOfItsLog) {
  Program wrong = Shell("wrong", "echo first; echo 'config.yaml:3:1: unknown key' >&2; exit 2");
  wrong.health = WaitsFor("an answer");
  ASSERT_THAT(supervisor_.Start(std::move(wrong)), IsOk());
  EXPECT_THAT(supervisor_.WaitUntilServing({"wrong"}, seconds(20), [](std::string_view) {}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("refuses its configuration"),
                             HasSubstr("config.yaml:3:1: unknown key"), HasSubstr("wrong.log"))));
  EXPECT_EQ(supervisor_.states()[0].restarts, 0);

  Program weak = Shell("weak", "echo out of luck; exit 1");
  weak.health = WaitsFor("an answer");
  ASSERT_THAT(supervisor_.Start(std::move(weak)), IsOk());
  EXPECT_THAT(supervisor_.WaitUntilServing({"weak"}, seconds(20), [](std::string_view) {}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("ended 3 times"), HasSubstr("out of luck"))));

  Program slow = Shell("slow", "exec sleep 1000");
  slow.health = WaitsFor("registry: not found");
  ASSERT_THAT(supervisor_.Start(std::move(slow)), IsOk());
  EXPECT_THAT(supervisor_.WaitUntilServing({"slow"}, milliseconds(300), [](std::string_view) {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("registry: not found")));

  EXPECT_THAT(supervisor_.Start({"none", {"/no/such/program"}, folder_ / "none.log", nullptr}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/program")));
}

TEST_F(SupervisorTest, AnswersWakeTheWaitingOnesAtOnce) {
  // Each Tick would wait for an hour; health alone wakes it.
  Program program = Shell("a", "exec sleep 1000");
  std::atomic<bool> there{false};
  program.health = Answers(
      [&]() -> absl::Status { return there ? absl::OkStatus() : Unavailable("an answer"); });
  ASSERT_THAT(supervisor_.Start(std::move(program)), IsOk());
  supervisor_.Tick(std::chrono::hours(1));
  there = true;
  while (!supervisor_.states()[0].serving) supervisor_.Tick(std::chrono::hours(1));
}

TEST_F(SupervisorTest, TheLogIsBoundedAndWholeWhileTheProgramRuns) {
  Program program =
      Shell("a",
            "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo end; "
            "exec sleep 1000");
  program.log_limits = {.file_bytes = 4096, .kept_files = 20};
  ASSERT_THAT(supervisor_.Start(std::move(program)), IsOk());
  const pid_t pid = Pid("a");
  ASSERT_TRUE(TickUntil([&] { return Logged("a", "end\n"); }));
  EXPECT_EQ(Pid("a"), pid) << "the program was not started again for it";
  std::string all;
  for (int number = 20; number >= 0; --number) {
    const auto file = folder_ / (number == 0 ? "a.log" : Concat("a.log.", number));
    const std::string text = auth::ReadFile(file.string()).value_or("");
    EXPECT_LE(text.size(), 4096U) << file;
    all += text;
  }
  std::string expected;
  for (int i = 1; i <= 2000; ++i) expected += Concat("line ", i, "\n");
  EXPECT_EQ(all, expected + "end\n");
}

TEST_F(SupervisorTest, AStopEndsTheWaiting) {
  Program program = Shell("a", "exec sleep 1000");
  program.health = WaitsFor("an answer");
  ASSERT_THAT(supervisor_.Start(std::move(program)), IsOk());
  kill(getpid(), SIGTERM);
  EXPECT_THAT(supervisor_.WaitUntilServing({"a"}, seconds(20), [](std::string_view) {}),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(supervisor_.stop_requested());
}

TEST_F(SupervisorTest, EverySignalThatAsksForAStopIsOne) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    Supervisor supervisor([](std::string_view) {}, [] {});
    kill(getpid(), number);
    supervisor.Tick(std::chrono::hours(1));
    EXPECT_TRUE(supervisor.stop_requested()) << number;
  }
}

// The kernel keeps one SIGCHLD, however many have ended.
TEST_F(SupervisorTest, OneSignalStandsForAllWhoEndedAtOnce) {
  const std::vector<std::string> names{"a", "b", "c", "d"};
  std::vector<pid_t> first;
  for (const std::string& name : names) {
    ASSERT_THAT(supervisor_.Start(Shell(name, "exec sleep 1000")), IsOk());
    first.push_back(Pid(name));
  }
  for (const pid_t pid : first) {
    kill(pid, SIGKILL);
    siginfo_t ended{};
    waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT);
  }
  supervisor_.Tick(std::chrono::hours(1));
  for (const std::string& name : names) EXPECT_EQ(Pid(name), 0) << name;
  // Nothing but their time wakes it now.
  for (int i = 0; i < 100 && Pid("d") == 0; ++i) supervisor_.Tick(std::chrono::hours(1));
  for (const ProgramState& state : supervisor_.states()) {
    EXPECT_NE(state.pid, 0);
    EXPECT_EQ(state.restarts, 1);
  }
}

TEST_F(SupervisorTest, ASecondCtrlCEndsWhatDoesNotEnd) {
  ASSERT_THAT(
      supervisor_.Start(Shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done")),
      IsOk());
  ASSERT_TRUE(TickUntil([&] { return Logged("deaf", "up"); }));
  kill(getpid(), SIGINT);
  ASSERT_TRUE(TickUntil([&] { return supervisor_.stop_requested(); }));
  supervisor_.StopAll(std::chrono::hours(1), [](std::string_view) { kill(getpid(), SIGINT); });
  EXPECT_TRUE(supervisor_.states().empty());
}

TEST_F(SupervisorTest, ProgramsEndWithADyingSupervisorAndTheirLastWordsAreKept) {
  const auto log = folder_ / "orphan.log";
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    const auto writer = LogWriter::Start(log);
    // More than a pipe holds: a broken one would end it before its last word.
    const auto pid = writer.ok()
                         ? StartProgram({"/bin/sh", "-c",
                                         "trap 'head -c 200000 /dev/zero | tr \"\\0\" x; echo; "
                                         "echo last words; exit' TERM; echo up; while :; do sleep "
                                         "0.02; done"},
                                        (*writer)->input())
                         : writer.status();
    (*writer)->CloseInput();
    const pid_t number = pid.ok() ? *pid : 0;
    while (auth::ReadFile(log.string()).value_or("").empty()) {
    }
    [[maybe_unused]] const ssize_t written = write(told[1], &number, sizeof(number));
    kill(getpid(), SIGKILL);
  }
  pid_t orphan = 0;
  ASSERT_EQ(read(told[0], &orphan, sizeof(orphan)), static_cast<ssize_t>(sizeof(orphan)));
  ASSERT_GT(orphan, 0);
  waitpid(parent, nullptr, 0);
  EXPECT_TRUE(TickUntil([&] {
    const auto status = auth::ReadFile(Concat("/proc/", orphan, "/status"));
    return !status.ok() || status->find("State:\tZ") != std::string::npos;
  }));
  EXPECT_TRUE(TickUntil([&] { return Logged("orphan", "x\nlast words\n"); }));
  close(told[0]);
  close(told[1]);
}

TEST(PortsTest, APortInUseIsNamedWithItsHolder) {
  const int taken = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(taken, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(taken, 1), 0);
  getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size);
  const int port = ntohs(address.sin_port);
  EXPECT_THAT(CheckFree(Concat("127.0.0.1:", port)),
              StatusIs(absl::StatusCode::kAlreadyExists,
                       AllOf(HasSubstr(Concat("port ", port, " is in use by ")),
                             HasSubstr(Concat("(pid ", getpid(), ")")))));
  close(taken);
  EXPECT_THAT(CheckFree(Concat("127.0.0.1:", port)), IsOk());
  EXPECT_THAT(CheckFree("192.0.2.1:80"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckFree("nonsense"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(PortsTest, PickedPortsDiffer) {
  const auto ports = PickFreePorts(13);
  ASSERT_THAT(ports, IsOk());
  EXPECT_EQ(std::set<std::uint16_t>(ports->begin(), ports->end()).size(), 13U);
}

using LayoutTest = FolderTest;

TEST_F(LayoutTest, KeysAreMadeOnceAndRenewedInTime) {
  const Layout layout(folder_ / "data");
  ASSERT_THAT(layout.MakeFolders(), IsOk());
  const WallTime now = Clock::Real().Now();
  const auto token = EnsureKeys(layout, "maria", now);
  ASSERT_THAT(token, IsOk());
  const std::string authority = auth::ReadFile(layout.Authority().string()).value();
  EXPECT_THAT(EnsureKeys(layout, "maria", now), IsOkAndHolds(*token));
  EXPECT_THAT(EnsureKeys(layout, "jan", now), IsOkAndHolds(Not(*token)));
  EXPECT_THAT(auth::ReadFile(layout.Authority().string()), IsOkAndHolds(authority));
  const std::string leaf = auth::ReadFile(layout.CertificateOf("ingest").string()).value();
  ASSERT_THAT(EnsureKeys(layout, "jan", now + std::chrono::hours(24 * 340)), IsOk());
  EXPECT_THAT(auth::ReadFile(layout.CertificateOf("ingest").string()), IsOkAndHolds(Not(leaf)));
  for (const auto& secret : {layout.KeyOf("ingest"), layout.TokenKey(), layout.Token(),
                             layout.CursorKey(), folder_ / "data/keys/ca.key"}) {
    struct stat status {};
    ASSERT_EQ(stat(secret.c_str(), &status), 0) << secret;
    EXPECT_EQ(status.st_mode & 0777, 0600U) << secret;
  }
}

TEST_F(LayoutTest, EveryConfigurationIsOneThatItsProcessReads) {
  const Layout layout(folder_ / "a folder: with # \"words\"");
  SystemPlan plan;
  plan.gateway = "127.0.0.1:8080";
  plan.registry = "127.0.0.1:8081";
  plan.kafka = "127.0.0.1:9092";
  plan.otlp = "127.0.0.1:4317";
  plan.webhook = "http://127.0.0.1:1/x?a=b#c";
  plan.packs.push_back(
      LoadPack("public-safety", std::filesystem::path(TOCSIN_SOURCE_DIR) / "packs").value());
  std::uint16_t port = 20000;
  for (const std::string& process : ProcessNames()) {
    plan.ports[process] = {port, static_cast<std::uint16_t>(port + 1)};
    port = static_cast<std::uint16_t>(port + 2);
  }
  schema::v1::SchemaRegistryConfig registry;
  EXPECT_THAT(config::ParseYaml(ConfigText(layout, plan, "schema-registry"), "r", registry),
              IsOk());
  EXPECT_EQ(registry.rest().listen(), plan.registry);
  ingest::v1::IngestConfig ingest;
  EXPECT_THAT(config::ParseYaml(ConfigText(layout, plan, "ingest"), "i", ingest), IsOk());
  EXPECT_EQ(ingest.process().tls().ca_file(), layout.Authority().string());
  EXPECT_EQ(ingest.registry().target(), "127.0.0.1:20000");
  EXPECT_EQ(ingest.process().telemetry().otlp_endpoint(), plan.otlp);
  report::v1::ReportConfig report;
  EXPECT_THAT(config::ParseYaml(ConfigText(layout, plan, "report"), "p", report), IsOk());
  notification::v1::NotificationConfig notification;
  EXPECT_THAT(config::ParseYaml(ConfigText(layout, plan, "notification"), "n", notification),
              IsOk());
  EXPECT_EQ(notification.routes(0).webhook().url(), plan.webhook);
  gateway::v1::GatewayConfig gateway;
  EXPECT_THAT(config::ParseYaml(ConfigText(layout, plan, "gateway"), "g", gateway), IsOk());
  EXPECT_EQ(gateway.public_listen(), plan.gateway);
  EXPECT_THAT(gateway.live().streams(), ElementsAre("alerts.raw"));
}

TEST_F(LayoutTest, TheBrokersPropertiesAreFilledIn) {
  const Layout layout(folder_);
  SystemPlan plan;
  plan.kafka = "127.0.0.1:9999";
  plan.kafka_controller_port = 20001;
  EXPECT_THAT(BrokerProperties("a=@PORT@,@PORT@\nb=@CONTROLLER_PORT@\nc=@DATA_DIR@", layout, plan),
              IsOkAndHolds(Concat("a=9999,9999\nb=20001\nc=", folder_.string(), "/broker")));
  EXPECT_THAT(BrokerProperties("a=@PORT@", layout, plan),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("@CONTROLLER_PORT@")));
  const auto real = auth::ReadFile(
      (std::filesystem::path(TOCSIN_SOURCE_DIR) / "cli/broker/server.properties").string());
  EXPECT_THAT(BrokerProperties(*real, layout, plan), IsOkAndHolds(Not(HasSubstr("=@"))));
}

}  // namespace
}  // namespace tocsin::cli
