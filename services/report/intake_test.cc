#include "services/report/intake.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/telemetry/metrics.h"
#include "services/report/testing/records.h"
#include "services/report/testing/temporary_store.h"

namespace tocsin::report {
namespace {
using kafka::testing::FakeKafka;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class IntakeTest : public ::testing::Test {
 protected:
  IntakeTest() {
    kafka_.CreateTopic("detections", 2);
    kafka_.CreateTopic("incidents.correlated", 2);
    kafka_.CreateTopic("incidents.activity", 2);
    Restart();
  }

  // A new process on the same file.
  void Restart() {
    intake_.reset();
    store_.Reopen();
    admin_ = kafka_.MakeAdmin();
    intake_ = std::make_unique<Intake>(
        Consumers(kafka_), *admin_, *store_, [](const absl::Status&) {},
        IntakeOptions{.poll = std::chrono::milliseconds(0),
                      .retry = {.initial = std::chrono::milliseconds(0),
                                .maximum = std::chrono::milliseconds(0)},
                      .refresh = std::chrono::seconds(0)});
  }
  static kafka::ReadLoop::MakeConsumer Consumers(FakeKafka& kafka) {
    return [&kafka]() -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka.MakeConsumer({.isolation = kafka::Isolation::kReadCommitted});
    };
  }
  absl::Status RunRounds(int rounds = 5) {
    for (int i = 0; i < rounds; ++i) TOCSIN_RETURN_IF_ERROR(intake_->RunOnce());
    return absl::OkStatus();
  }
  static double Applied() {
    double sum = 0;
    for (const char* topic : {"detections", "incidents.correlated", "incidents.activity"}) {
      sum += telemetry::GetCounter("tocsin_report_records_total",
                                   "Records read, by topic and outcome.",
                                   {{"topic", topic}, {"outcome", "applied"}})
                 .value();
    }
    return sum;
  }
  void AppendTo(const kafka::TopicPartition& where, kafka::OutgoingRecord record) {
    record.partition = where.partition;
    kafka_.Append(record);
  }
  int Detections() { return store_->ListDetections({})->detections_size(); }

  FakeKafka kafka_;
  TemporaryStore store_;
  std::unique_ptr<kafka::Admin> admin_;
  std::unique_ptr<Intake> intake_;
};

TEST_F(IntakeTest, StoresWhatCorrelationWrites) {
  kafka_.Append(DetectionRecord("d1", 0));
  kafka_.Append(IncidentRecord("i1", 1, 0));
  kafka_.Append(DetectionRecord("d2", 60));
  kafka_.Append(IncidentRecord("i1", 2, 60));
  ASSERT_THAT(RunRounds(), IsOk());
  const auto incident = store_->GetIncident("i1");
  ASSERT_THAT(incident, IsOk());
  EXPECT_EQ(incident->incident().revision(), 2);
  EXPECT_THAT(incident->detections(), SizeIs(2));
}

TEST_F(IntakeTest, ARestartGoesOnWhereTheDatabaseStands) {
  const double before = Applied();
  for (int i = 0; i < 10; ++i) kafka_.Append(DetectionRecord(Concat("d", i), i, {}, Concat(i)));
  ASSERT_THAT(RunRounds(), IsOk());
  Restart();
  for (int i = 10; i < 15; ++i) kafka_.Append(DetectionRecord(Concat("d", i), i, {}, Concat(i)));
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 15);
  EXPECT_EQ(Applied() - before, 15);
}

TEST_F(IntakeTest, WhatTheDatabaseCouldNotTakeIsNotLost) {
  kafka_.Append(DetectionRecord("d1", 0));
  ASSERT_THAT(store_.database().Write([](sql::Connection& c) {
    return c.ExecuteScript(
        "CREATE TRIGGER broken BEFORE INSERT ON offsets BEGIN SELECT RAISE(ABORT, 'no'); END");
  }),
              IsOk());
  EXPECT_THAT(RunRounds(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(RunRounds(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Detections(), 0);
  ASSERT_THAT(store_.database().Write(
                  [](sql::Connection& c) { return c.ExecuteScript("DROP TRIGGER broken"); }),
              IsOk());
  EXPECT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 1);
}

TEST_F(IntakeTest, WhatCannotBeReadIsLeftOutAndTheRestGoesOn) {
  kafka_.Append({.topic = "detections", .key = "k", .value = "not ours"});
  auto foreign = IncidentRecord("i1", 1, 0);
  foreign.topic = "detections";
  kafka_.Append(foreign);
  kafka_.Append({.topic = "incidents.correlated", .key = "gone", .value = std::nullopt});
  kafka_.Append(DetectionRecord("d1", 0));
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 1);
  Restart();
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 1);
}

TEST_F(IntakeTest, SeesCommittedTransactionsOnly) {
  auto producer = kafka_.MakeTransactionalProducer("c");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(producer->Produce(DetectionRecord("aborted", 0)).ok());
  ASSERT_TRUE(producer->Abort().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(producer->Produce(DetectionRecord("d1", 0)).ok());
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 0);
  ASSERT_TRUE(producer->Commit().ok());
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 1);
}

TEST_F(IntakeTest, WhenRetentionWasFasterTheRestIsRead) {
  for (int i = 0; i < 10; ++i) kafka_.Append(DetectionRecord(Concat("d", i), i));
  ASSERT_THAT(RunRounds(), IsOk());
  for (int i = 10; i < 20; ++i) kafka_.Append(DetectionRecord(Concat("d", i), i));
  for (int partition = 0; partition < 2; ++partition) {
    const kafka::TopicPartition where{"detections", partition};
    if (kafka_.EndOffset(where) > 15) kafka_.DeleteBefore(where, 15);
  }
  Restart();
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 15);
}

TEST_F(IntakeTest, OneErrorDoesNotHideAnother) {
  ASSERT_THAT(RunRounds(), IsOk());
  const kafka::TopicPartition where{"incidents.correlated", 1};
  AppendTo(where, IncidentRecord("i1", 1, 0));
  AppendTo(where, IncidentRecord("i2", 1, 0));
  kafka_.DeleteBefore(where, 1);
  // detections comes before incidents.correlated in what a Poll reports.
  ASSERT_THAT(admin_->DeleteTopics({"detections"}, std::chrono::seconds(1)), IsOk());
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(intake_->RunOnce(), StatusIs(absl::StatusCode::kNotFound));
  }
  EXPECT_THAT(store_->GetIncident("i2"), IsOk());
}

TEST_F(IntakeTest, WhenKafkaIsAwayJustAsThePositionIsGoneTheRestIsReadAllTheSame) {
  for (int i = 0; i < 10; ++i) kafka_.Append(DetectionRecord(Concat("d", i), i));
  ASSERT_THAT(RunRounds(), IsOk());
  for (int i = 10; i < 20; ++i) kafka_.Append(DetectionRecord(Concat("d", i), i));
  for (int partition = 0; partition < 2; ++partition) {
    const kafka::TopicPartition where{"detections", partition};
    if (kafka_.EndOffset(where) > 15) kafka_.DeleteBefore(where, 15);
  }
  kafka_.FailNext(FakeKafka::Step::kQueryOffset, {.status = absl::UnavailableError("cut")}, 3);
  EXPECT_THAT(RunRounds(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cut")));
  for (int i = 0; i < 5; ++i) static_cast<void>(RunRounds());
  EXPECT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(Detections(), 15);
}

TEST_F(IntakeTest, ALostDatabaseIsBuiltAgainFromTheLog) {
  kafka_.Append(DetectionRecord("d1", 0));
  kafka_.Append(IncidentRecord("i1", 1, 0));
  ASSERT_THAT(RunRounds(), IsOk());
  const std::string before = store_->GetIncident("i1")->SerializeAsString();
  intake_.reset();
  store_.Lose();
  Restart();
  ASSERT_THAT(RunRounds(), IsOk());
  EXPECT_EQ(store_->GetIncident("i1")->SerializeAsString(), before);
}

TEST_F(IntakeTest, SaysWhatIsMissing) {
  FakeKafka empty;
  auto admin = empty.MakeAdmin();
  Intake intake(Consumers(empty), *admin, *store_, [](const absl::Status&) {});
  EXPECT_THAT(intake.RunOnce(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("detections does not exist"), HasSubstr("topics apply"))));
  kafka_.SetReachable(false);
  Restart();
  EXPECT_THAT(intake_->RunOnce(), StatusIs(absl::StatusCode::kUnavailable));
  kafka_.SetReachable(true);
  EXPECT_THAT(RunRounds(), IsOk());
}

}  // namespace
}  // namespace tocsin::report
