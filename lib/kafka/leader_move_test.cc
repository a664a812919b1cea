// A partition gets another leader, on librdkafka's own cluster in memory: clients that only ask for
// offsets find it as well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/consumer.h"

namespace tocsin::kafka {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr char kTopic[] = "events";

class LeaderMoveTest : public ::testing::Test {
 protected:
  LeaderMoveTest() {
    std::array<char, 512> error{};
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error.data(), error.size());
    cluster_ = rd_kafka_mock_cluster_new(host_, 3);
    rd_kafka_mock_topic_create(cluster_, kTopic, 1, 3);
    rd_kafka_mock_partition_set_leader(cluster_, kTopic, 0, 1);
  }
  ~LeaderMoveTest() override {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(host_);
  }

  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

TEST_F(LeaderMoveTest, WhoOnlyAsksForOffsetsFindsTheNewLeader) {
  Connection connection;
  connection.bootstrap_servers = rd_kafka_mock_cluster_bootstraps(cluster_);
  const auto consumer = MakeConsumer({.connection = connection});
  ASSERT_THAT(consumer, IsOk());
  const auto ask = [&](Isolation isolation) {
    EXPECT_THAT((*consumer)->QueryEndOffset({kTopic, 0}, isolation, kPatience), IsOk());
  };
  for (const int leader : {1, 2, 3, 1}) {
    rd_kafka_mock_partition_set_leader(cluster_, kTopic, 0, leader);
    // The consumer's own isolation, and the other: the second has a client of its own.
    ask(Isolation::kReadCommitted);
    ask(Isolation::kReadUncommitted);
    EXPECT_THAT((*consumer)->QueryBeginningOffset({kTopic, 0}, kPatience), IsOk());
  }
}

}  // namespace
}  // namespace tocsin::kafka
