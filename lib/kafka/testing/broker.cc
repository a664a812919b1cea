#include "lib/kafka/testing/broker.h"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <system_error>
#include <thread>

#include "lib/base/hex.h"
#include "lib/base/status.h"

namespace tocsin::kafka::testing {
namespace {
constexpr std::string_view kState = TOCSIN_TEST_KAFKA_STATE;
constexpr std::string_view kScripts = TOCSIN_TEST_KAFKA_SCRIPTS;
// The discard port: nothing of ours ever listens there.
constexpr std::string_view kNobody = "127.0.0.1:9";

std::string ReadState(std::string_view folder, std::string_view name) {
  std::ifstream file(Concat(folder, "/", name));
  std::string text;
  std::getline(file, text);
  return text;
}

bool AllThreadsStand(int pid) {
  std::error_code gone;
  for (const auto& thread :
       std::filesystem::directory_iterator(Concat("/proc/", pid, "/task"), gone)) {
    std::ifstream file(thread.path() / "stat");
    std::string line;
    std::getline(file, line);
    // "pid (name) state …", and the name may hold anything.
    const std::size_t name_end = line.rfind(") ");
    if (name_end != std::string::npos && line.compare(name_end + 2, 1, "T") != 0) return false;
  }
  return !gone;
}
}  // namespace

std::string BrokerAddress() {
  const char* given = std::getenv("TOCSIN_TEST_KAFKA");
  if (given != nullptr && *given != '\0') return given;
  if (std::string address = ReadState(kState, "address"); !address.empty()) return address;
  ADD_FAILURE() << "This test needs a Kafka broker. Run it through `ctest -L kafka`, or start one "
                   "with tests/kafka/broker.py and set TOCSIN_TEST_KAFKA=host:port.";
  return std::string(kNobody);
}

Connection BrokerConnection(std::string client_id) {
  Connection connection;
  connection.bootstrap_servers = BrokerAddress();
  connection.client_id = std::move(client_id);
  return connection;
}

std::string UniqueName(std::string_view prefix) {
  std::random_device device;
  std::array<char, 6> bytes{};
  for (char& byte : bytes) byte = static_cast<char>(device());
  return Concat(prefix, "-", HexEncode({bytes.data(), bytes.size()}));
}

std::string UniqueTopic(std::string_view prefix, std::int32_t partitions,
                        const std::map<std::string, std::string>& configs) {
  std::string name = UniqueName(prefix);
  auto admin = MakeAdmin(BrokerConnection());
  absl::Status status = admin.status();
  if (status.ok()) {
    status = (*admin)->CreateTopics({{name, partitions, 1, configs}}, std::chrono::seconds(20));
  }
  EXPECT_TRUE(status.ok()) << tocsin::Describe(status);
  return name;
}

FrozenBroker::FrozenBroker() {
  pid_ = std::atoi(ReadState(kState, "pid").c_str());
  if (pid_ <= 1 || kill(pid_, SIGSTOP) != 0) {
    ADD_FAILURE() << "the broker of " << kState << " does not run, so it cannot be frozen";
    pid_ = 0;
    return;
  }
  // The signal stops the other threads only when the first has taken it, which may be a while on a
  // busy machine.
  const SteadyTime deadline = Clock::Real().SteadyNow() + std::chrono::seconds(10);
  while (!AllThreadsStand(pid_)) {
    if (Clock::Real().SteadyNow() > deadline) {
      ADD_FAILURE() << "the broker of " << kState << " does not stand still";
      return;
    }
    std::this_thread::yield();
  }
}

FrozenBroker::~FrozenBroker() {
  if (pid_ > 1) kill(pid_, SIGCONT);
}

OwnBroker::OwnBroker() {
  std::string pattern = Concat(::testing::TempDir(), "/tocsin-own-broker-XXXXXX");
  const char* made = ::mkdtemp(pattern.data());
  if (made == nullptr) {
    ADD_FAILURE() << "no temporary folder can be made: " << pattern;
    return;
  }
  folder_ = made;
  Run("broker.py", Concat("start --state ", folder_, "/broker"));
}

OwnBroker::~OwnBroker() {
  Run("broker.py", Concat("stop --state ", folder_, "/broker"));
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Connection OwnBroker::connection() const {
  Connection connection;
  connection.bootstrap_servers = ReadState(Concat(folder_, "/broker"), "address");
  connection.client_id = "test";
  return connection;
}

void OwnBroker::Kill() { Run("broker.py", Concat("kill --state ", folder_, "/broker")); }
void OwnBroker::Resume() { Run("broker.py", Concat("resume --state ", folder_, "/broker")); }
void OwnBroker::InterruptCommits() { Run("interrupt_commit.py", Concat(folder_, "/broker/data")); }

void OwnBroker::Run(std::string_view script, std::string_view arguments) const {
  const std::string command = Concat("python3 '", kScripts, "/", script, "' ", arguments);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace tocsin::kafka::testing
