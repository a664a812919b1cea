// A fatal error of the client library in the middle of a stream of records, on librdkafka's own
// cluster in memory: what was taken is written, and nothing overtakes anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/rd.h"

namespace tocsin::kafka {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAreArray;

constexpr seconds kPatience{30};
constexpr char kTopic[] = "events";

class ProducerReplacementTest : public ::testing::Test {
 protected:
  ProducerReplacementTest() {
    std::array<char, 512> error{};
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error.data(), error.size());
    cluster_ = rd_kafka_mock_cluster_new(host_, 1);
    rd_kafka_mock_topic_create(cluster_, kTopic, 1, 1);
  }
  ~ProducerReplacementTest() override {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(host_);
  }

  Connection Cluster() const {
    Connection connection;
    connection.bootstrap_servers = rd_kafka_mock_cluster_bootstraps(cluster_);
    return connection;
  }
  void SetDown(bool down) {
    if (down) {
      rd_kafka_mock_broker_set_down(cluster_, 1);
    } else {
      rd_kafka_mock_broker_set_up(cluster_, 1);
    }
  }

  // The same again until it is taken, and no later one before: what callers do.
  void Produce(Producer& producer, const std::string& value) {
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    absl::Status taken;
    do {
      taken = producer.Produce(
          {.topic = kTopic, .partition = 0, .value = value},
          [this, value](const absl::StatusOr<Delivered>& outcome) {
            MutexLock lock(mutex_);
            outcomes_.push_back(
                outcome.ok() ? value : Concat(value, ": ", tocsin::Describe(outcome.status())));
          });
      if (!taken.ok()) {
        EXPECT_THAT(taken, StatusIs(absl::StatusCode::kResourceExhausted));
      }
    } while (!taken.ok() && Clock::Real().SteadyNow() < deadline);
    ASSERT_THAT(taken, IsOk());
  }
  static void Break(Producer& producer) {
    std::shared_ptr<rd_kafka_t> client;
    while (client == nullptr) client = internal::HandleOf(producer);
    ASSERT_EQ(rd_kafka_test_fatal_error(
                  client.get(), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "made by a test"),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  std::vector<std::string> Outcomes() {
    MutexLock lock(mutex_);
    return outcomes_;
  }
  // Copies aside.
  std::vector<std::string> Log(const std::string& last) {
    auto consumer = MakeConsumer({.connection = Cluster()}).value();
    EXPECT_THAT(consumer->Assign({{{kTopic, 0}, 0}}), IsOk());
    std::vector<std::string> values;
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    while ((values.empty() || values.back() != last) && Clock::Real().SteadyNow() < deadline) {
      for (const Record& record : consumer->Poll(milliseconds(100)).records) {
        const std::string value = record.value.value_or("");
        if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
      }
    }
    return values;
  }

  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  Mutex mutex_;
  std::vector<std::string> outcomes_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(ProducerReplacementTest, WhatWaitedIsWrittenBeforeWhatCameLater) {
  std::vector<std::string> expected;
  auto producer = MakeProducer({.connection = Cluster()}).value();
  const auto produce = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      expected.push_back(std::to_string(i));
      Produce(*producer, expected.back());
    }
  };
  produce(0, 10);
  ASSERT_THAT(producer->Flush(kPatience), IsOk());
  SetDown(true);
  produce(10, 20);
  Break(*producer);
  produce(20, 30);
  SetDown(false);
  ASSERT_THAT(producer->Flush(kPatience), IsOk());
  EXPECT_THAT(Outcomes(), ElementsAreArray(expected));
  EXPECT_THAT(Log("29"), ElementsAreArray(expected));
}

TEST_F(ProducerReplacementTest, AnErrorThatComesAgainLosesNothingEither) {
  std::vector<std::string> expected;
  auto producer = MakeProducer({.connection = Cluster()}).value();
  SetDown(true);
  for (int i = 0; i < 30; ++i) {
    expected.push_back(std::to_string(i));
    Produce(*producer, expected.back());
    if (i % 10 == 9) Break(*producer);
  }
  SetDown(false);
  ASSERT_THAT(producer->Flush(kPatience), IsOk());
  EXPECT_THAT(Outcomes(), ElementsAreArray(expected));
  EXPECT_THAT(Log("29"), ElementsAreArray(expected));
}

TEST_F(ProducerReplacementTest, ClosingMeanwhileReportsEverything) {
  {
    auto producer =
        MakeProducer({.connection = Cluster(), .close_timeout = milliseconds(10)}).value();
    SetDown(true);
    for (int i = 0; i < 10; ++i) Produce(*producer, std::to_string(i));
    Break(*producer);
  }
  const std::vector<std::string> outcomes = Outcomes();
  ASSERT_EQ(outcomes.size(), 10U);
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(outcomes[static_cast<std::size_t>(i)],
                ::testing::StartsWith(Concat(i, ": CANCELLED")));
  }
}

}  // namespace
}  // namespace tocsin::kafka
