#include "lib/kafka/testing/broker.h"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>

#include "lib/base/hex.h"
#include "lib/base/status.h"

namespace tocsin::kafka::testing {
namespace {
constexpr std::string_view kState = TOCSIN_TEST_KAFKA_STATE;
// The discard port: nothing of ours ever listens there.
constexpr std::string_view kNobody = "127.0.0.1:9";

std::string ReadState(std::string_view name) {
  std::ifstream file(Concat(kState, "/", name));
  std::string text;
  std::getline(file, text);
  return text;
}
}  // namespace

std::string BrokerAddress() {
  const char* given = std::getenv("TOCSIN_TEST_KAFKA");
  if (given != nullptr && *given != '\0') return given;
  if (std::string address = ReadState("address"); !address.empty()) return address;
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
  pid_ = std::atoi(ReadState("pid").c_str());
  if (pid_ <= 1 || kill(pid_, SIGSTOP) != 0) {
    ADD_FAILURE() << "the broker of " << kState << " does not run, so it cannot be frozen";
    pid_ = 0;
  }
}

FrozenBroker::~FrozenBroker() {
  if (pid_ > 1) kill(pid_, SIGCONT);
}

}  // namespace tocsin::kafka::testing
