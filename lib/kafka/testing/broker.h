// Real brokers for tests labelled kafka: the one that the tests of a run share (tests/kafka), and
// brokers of a test's own, to be killed.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "lib/kafka/admin.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka::testing {

// host:port from TOCSIN_TEST_KAFKA or else from the file that ctest's fixture has written. Fails
// the test, saying how to run it, and gives an address where nobody listens, when there is neither.
std::string BrokerAddress();
Connection BrokerConnection(std::string client_id = "test");

// "<prefix>-<random>": topics, groups, transactional ids of this test alone.
std::string UniqueName(std::string_view prefix);

// Creates a topic of that kind of name; fails the test when that is not possible.
std::string UniqueTopic(std::string_view prefix, std::int32_t partitions = 1,
                        const std::map<std::string, std::string>& configs = {});

// The broker stands still (SIGSTOP) for the life of this object: connections stay, nothing answers.
// Only for tests marked SERIAL in CMake, because everybody's broker stands.
class FrozenBroker {
 public:
  FrozenBroker();
  ~FrozenBroker();
  FrozenBroker(const FrozenBroker&) = delete;
  FrozenBroker& operator=(const FrozenBroker&) = delete;

 private:
  int pid_ = 0;
};

// A broker of this test alone, in a temporary folder. A step that does not succeed fails the test.
// Each blocks for as long as it takes: some seconds for a start.
class OwnBroker {
 public:
  OwnBroker();
  ~OwnBroker();
  OwnBroker(const OwnBroker&) = delete;
  OwnBroker& operator=(const OwnBroker&) = delete;

  Connection connection() const;
  // SIGKILL.
  void Kill();
  // Between Kill and Resume: as if it had died when its last transactions were decided and before
  // any partition had its marker.
  void InterruptCommits();
  // Starts it again, on the same address and data.
  void Resume();

 private:
  void Run(std::string_view script, std::string_view arguments) const;

  std::string folder_;
};

}  // namespace tocsin::kafka::testing
