// What only a real broker can show: a killed process, a fatal error of the client library.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <memory>
#include <string>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/rd.h"
#include "lib/kafka/testing/broker.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::kafka::testing {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

constexpr seconds kPatience{30};

std::vector<std::string> Read(const std::string& topic, std::size_t count, milliseconds patience) {
  auto consumer = MakeConsumer({.connection = BrokerConnection()}).value();
  EXPECT_THAT(consumer->Assign({{{topic, 0}, 0}}), IsOk());
  std::vector<std::string> values;
  const SteadyTime deadline = Clock::Real().SteadyNow() + patience;
  while (values.size() < count && Clock::Real().SteadyNow() < deadline) {
    for (const Record& record : consumer->Poll(milliseconds(100)).records) {
      values.push_back(record.value.value_or("(null)"));
    }
  }
  return values;
}

// Begins a transaction, writes "ghost", tells its parent, and waits to be killed.
[[noreturn]] void RunGhost(const std::string& topic, int told) {
  auto producer = MakeTransactionalProducer({.connection = BrokerConnection("ghost"),
                                             .transactional_id = UniqueName("ghost"),
                                             .transaction_timeout = seconds(2)})
                      .value();
  bool good = producer->Init().ok() && producer->Begin().ok() &&
              producer->Produce({.topic = topic, .value = "ghost"}).ok();
  auto reader = MakeConsumer({.connection = BrokerConnection("ghost"),
                              .isolation = Isolation::kReadUncommitted})
                    .value();
  // Kill it only when the broker has the record.
  while (good &&
         reader->QueryEndOffset({topic, 0}, Isolation::kReadUncommitted, kPatience).value_or(1) ==
             0) {
  }
  if (good) good = write(told, "x", 1) == 1;
  for (;;) pause();
}

TEST(BrokerTest, TheTransactionOfAKilledProcessIsAbortedAfterItsTimeout) {
  const std::string topic = UniqueTopic("killed");
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) RunGhost(topic, pipe_ends[1]);
  char byte = 0;
  ASSERT_EQ(read(pipe_ends[0], &byte, 1), 1);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);

  auto producer = MakeProducer({.connection = BrokerConnection()}).value();
  ASSERT_THAT(producer->Produce({.topic = topic, .value = "behind"}, nullptr), IsOk());
  ASSERT_THAT(producer->Flush(kPatience), IsOk());
  const SteadyTime start = Clock::Real().SteadyNow();
  EXPECT_THAT(Read(topic, 1, kPatience), ElementsAre("behind"));
  // 2 s of transaction timeout, and the coordinator looks every second.
  EXPECT_LT(Clock::Real().SteadyNow() - start, seconds(8));
}

TEST(BrokerTest, AProducerWithAFatalErrorIsReplacedAndGoesOn) {
  const std::string topic = UniqueTopic("fatal");
  auto producer = MakeProducer({.connection = BrokerConnection()}).value();
  std::promise<absl::Status> first;
  ASSERT_THAT(producer->Produce({.topic = topic, .value = "1"},
                                [&](const auto& outcome) { first.set_value(outcome.status()); }),
              IsOk());
  ASSERT_THAT(first.get_future().get(), IsOk());

  // Two clients of a process have different names, but the second may lie where the first was.
  std::string broken;
  {
    const std::shared_ptr<rd_kafka_t> client = internal::HandleOf(*producer);
    broken = rd_kafka_name(client.get());
    ASSERT_EQ(rd_kafka_test_fatal_error(
                  client.get(), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "made by a test"),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  absl::Status taken;
  std::promise<absl::Status> second;
  const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
  do {
    taken = producer->Produce({.topic = topic, .value = "2"},
                              [&](const auto& outcome) { second.set_value(outcome.status()); });
    if (!taken.ok()) {
      EXPECT_THAT(taken, StatusIs(absl::StatusCode::kResourceExhausted));
    }
  } while (!taken.ok() && Clock::Real().SteadyNow() < deadline);
  ASSERT_THAT(taken, IsOk());
  EXPECT_THAT(second.get_future().get(), IsOk());
  EXPECT_NE(rd_kafka_name(internal::HandleOf(*producer).get()), broken);
  EXPECT_THAT(Read(topic, 2, kPatience), ElementsAre("1", "2"));
}

// A topic of four partitions with a few records each.
std::string FourPartitions(std::string_view name) {
  const std::string topic = UniqueTopic(name, 4);
  auto producer = MakeProducer({.connection = BrokerConnection()}).value();
  for (int i = 0; i < 40; ++i) {
    EXPECT_THAT(producer->Produce({.topic = topic, .partition = i % 4, .value = std::to_string(i)},
                                  nullptr),
                IsOk());
  }
  EXPECT_THAT(producer->Flush(kPatience), IsOk());
  return topic;
}

Offsets Beginnings(const std::string& topic) {
  Offsets from;
  for (std::int32_t partition = 0; partition < 4; ++partition) from[{topic, partition}] = 0;
  return from;
}

// The records that come until every partition has ended.
std::size_t ReadToTheEnds(Consumer& consumer, Offsets open) {
  std::size_t records = 0;
  const SteadyTime deadline = Clock::Real().SteadyNow() + seconds(10);
  while (!open.empty() && Clock::Real().SteadyNow() < deadline) {
    const Batch batch = consumer.Poll(milliseconds(100));
    records += batch.records.size();
    for (const auto& [where, end] : batch.ends) open.erase(where);
  }
  EXPECT_TRUE(open.empty()) << open.size() << " partitions have not ended";
  return records;
}

TEST(BrokerTest, APauseEndsWithTheAssignment) {
  const std::string topic = FourPartitions("paused");
  const Offsets from = Beginnings(topic);
  auto consumer = MakeConsumer({.connection = BrokerConnection()}).value();
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(consumer->Assign(from), IsOk());
    ASSERT_EQ(ReadToTheEnds(*consumer, from), 40U);
    ASSERT_THAT(consumer->Pause(consumer->Assignment()), IsOk());
  }
}

TEST(BrokerTest, AssignmentsMayFollowOneAnotherAtOnce) {
  const std::string topic = FourPartitions("assigned");
  const Offsets from = Beginnings(topic);
  auto consumer = MakeConsumer({.connection = BrokerConnection()}).value();
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(consumer->Assign(from), IsOk());
    if (i % 3 == 1) {
      ASSERT_THAT(consumer->Seek({topic, i % 4}, 0), IsOk());
    }
    if (i % 3 == 2) (void)consumer->Poll(milliseconds(0));
    if (i % 20 == 19) {
      ASSERT_THAT(consumer->Assign(from), IsOk());
      ASSERT_EQ(ReadToTheEnds(*consumer, from), 40U);
    }
  }
}

// A group's end drops what is asked of it meanwhile.
TEST(BrokerTest, AGroupIsLeftAtOnce) {
  const std::string topic = FourPartitions("left");
  for (int i = 0; i < 25; ++i) {
    auto consumer =
        MakeConsumer({.connection = BrokerConnection(), .group = UniqueName("left")}).value();
    ASSERT_THAT(consumer->Subscribe({topic}, nullptr), IsOk());
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    while (consumer->Assignment().empty() && Clock::Real().SteadyNow() < deadline) {
      (void)consumer->Poll(milliseconds(100));
    }
    ASSERT_EQ(consumer->Assignment().size(), 4U);
    const SteadyTime begun = Clock::Real().SteadyNow();
    consumer->Close();
    EXPECT_LT(Clock::Real().SteadyNow() - begun, seconds(5));
  }
}

}  // namespace
}  // namespace tocsin::kafka::testing
