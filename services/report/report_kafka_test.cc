// Report on a real broker: every record takes effect once, whenever the process ends.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/broker.h"
#include "lib/kafka/transactional_producer.h"
#include "lib/telemetry/metrics.h"
#include "services/report/intake.h"
#include "services/report/testing/records.h"
#include "services/report/testing/temporary_store.h"

namespace tocsin::report {
namespace {
using kafka::testing::BrokerConnection;

double Applied(const std::string& topic) {
  return telemetry::GetCounter("tocsin_report_records_total", "Records read, by topic and outcome.",
                               {{"topic", topic}, {"outcome", "applied"}})
      .value();
}

TEST(ReportKafkaTest, EachRecordTakesEffectOnceOverManyRestarts) {
  const Topics topics{.detections = kafka::testing::UniqueTopic("detections", 3),
                      .incidents = kafka::testing::UniqueTopic("incidents", 3),
                      .activity = kafka::testing::UniqueTopic("activity", 1)};
  auto producer = kafka::MakeTransactionalProducer(
      {.connection = BrokerConnection(),
       .transactional_id = kafka::testing::UniqueName("correlation")});
  ASSERT_THAT(producer, IsOk());
  ASSERT_TRUE((*producer)->Init().ok());

  // 40 transactions of 10 detections and one incident revision each; every fourth is aborted.
  constexpr int kTransactions = 40;
  int committed = 0;
  TemporaryStore store;
  std::unique_ptr<Intake> intake;
  auto admin = kafka::MakeAdmin(BrokerConnection());
  ASSERT_THAT(admin, IsOk());
  const auto restart = [&] {
    intake.reset();
    store.Reopen();
    intake = std::make_unique<Intake>(
        [] { return kafka::MakeConsumer({.connection = BrokerConnection(), .max_batch = 7}); },
        **admin, *store, [](const absl::Status&) {},
        IntakeOptions{.topics = topics, .poll = std::chrono::milliseconds(50)});
  };
  restart();
  for (int i = 0; i < kTransactions; ++i) {
    const bool abort = i % 4 == 3;
    ASSERT_TRUE((*producer)->Begin().ok());
    for (int j = 0; j < 10; ++j) {
      const std::string id = Concat(abort ? "aborted" : "d", i, "-", j);
      ASSERT_TRUE((*producer)->Produce(DetectionRecord(id, i, topics, Concat("i", i % 5))).ok());
    }
    ASSERT_TRUE((*producer)->Produce(IncidentRecord(Concat("i", i % 5), i + 1, i, topics)).ok());
    if (abort) {
      ASSERT_TRUE((*producer)->Abort().ok());
    } else {
      ASSERT_TRUE((*producer)->Commit().ok());
      ++committed;
    }
    // A round or two, then the process is gone, with whatever it had fetched.
    for (int round = 0; round <= i % 3; ++round) ASSERT_THAT(intake->RunOnce(), IsOk());
    if (i % 5 == 4) restart();
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Applied(topics.detections) + Applied(topics.incidents) < committed * 11 &&
         std::chrono::steady_clock::now() < end) {
    ASSERT_THAT(intake->RunOnce(), IsOk());
  }
  for (int i = 0; i < 5; ++i) ASSERT_THAT(intake->RunOnce(), IsOk());

  // Not one more than was committed: no record was applied twice, not even without effect.
  EXPECT_EQ(Applied(topics.detections), committed * 10);
  EXPECT_EQ(Applied(topics.incidents), committed);
  v1::ListDetectionsRequest request;
  request.set_page_size(1000);
  EXPECT_EQ(store->ListDetections(request)->detections_size(), committed * 10);
  // The last committed revision of each: transactions 35 and 39 were aborted.
  EXPECT_EQ(store->GetIncident("i0")->incident().revision(), 31);
  EXPECT_EQ(store->GetIncident("i4")->incident().revision(), 35);
}

}  // namespace
}  // namespace tocsin::report
