// What the pinned broker (cli/broker) must do after kill -9, because all that is exactly-once here
// stands on it. It has a broker of its own, so others are not disturbed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/testing/broker.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::kafka::testing {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::Pair;

constexpr std::int32_t kPartitions = 6;
constexpr seconds kPatience{40};

// Kafka 4.3.0 to 4.4.0 fail here (KAFKA-20734): while a restarted broker registers, its partitions
// have no leader, and the coordinator takes them for deleted and leaves out their markers. The
// transaction counts as complete, what it wrote stays invisible for ever, and so does everything
// behind it.
TEST(RestartTest, ATransactionThatWasDecidedBecomesWholeAfterTheBrokerDied) {
  OwnBroker broker;
  auto admin = MakeAdmin(broker.connection());
  ASSERT_THAT(admin, IsOk());
  ASSERT_THAT((*admin)->CreateTopics({{"in", 1, 1, {}}, {"out", kPartitions, 1, {}}}, seconds(20)),
              IsOk());
  {
    auto consumer = MakeConsumer({.connection = broker.connection(), .group = "g"});
    ASSERT_THAT(consumer, IsOk());
    ASSERT_THAT((*consumer)->Subscribe({"in"}, nullptr), IsOk());
    const SteadyTime until = Clock::Real().SteadyNow() + kPatience;
    while ((*consumer)->Assignment().empty() && Clock::Real().SteadyNow() < until) {
      (*consumer)->Poll(milliseconds(100));
    }
    auto producer =
        MakeTransactionalProducer({.connection = broker.connection(), .transactional_id = "t"});
    ASSERT_THAT(producer, IsOk());
    ASSERT_THAT((*producer)->Init().status, IsOk());
    ASSERT_THAT((*producer)->Begin().status, IsOk());
    for (std::int32_t p = 0; p < kPartitions; ++p) {
      ASSERT_THAT((*producer)->Produce({.topic = "out", .partition = p, .value = "v"}).status,
                  IsOk());
    }
    ASSERT_THAT((*producer)->SendOffsets({{{"in", 0}, 0}}, **consumer).status, IsOk());
    ASSERT_THAT((*producer)->Commit().status, IsOk());
  }

  broker.Kill();
  broker.InterruptCommits();
  broker.Resume();

  auto reader = MakeConsumer({.connection = broker.connection(), .group = "g"});
  ASSERT_THAT(reader, IsOk());
  Offsets from;
  for (std::int32_t p = 0; p < kPartitions; ++p) from[{"out", p}] = 0;
  ASSERT_THAT((*reader)->Assign(from), IsOk());
  std::multiset<std::int32_t> seen;
  const SteadyTime until = Clock::Real().SteadyNow() + kPatience;
  while (seen.size() < kPartitions && Clock::Real().SteadyNow() < until) {
    for (const Record& record : (*reader)->Poll(milliseconds(100)).records) {
      seen.insert(record.partition);
    }
  }
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3, 4, 5));
  for (std::int32_t p = 0; p < kPartitions; ++p) {
    const auto stable = (*reader)->QueryEndOffset({"out", p}, Isolation::kReadCommitted, kPatience);
    const auto written =
        (*reader)->QueryEndOffset({"out", p}, Isolation::kReadUncommitted, kPatience);
    ASSERT_THAT(stable, IsOk());
    ASSERT_THAT(written, IsOk());
    EXPECT_EQ(*stable, *written) << "a transaction stays open in partition " << p;
  }
  const auto committed = (*reader)->Committed({{"in", 0}}, kPatience);
  ASSERT_THAT(committed, IsOk());
  EXPECT_THAT(*committed, ElementsAre(Pair(TopicPartition{"in", 0}, 0)));
}

}  // namespace
}  // namespace tocsin::kafka::testing
