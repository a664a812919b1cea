#include "services/notification/deliverer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/event.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/sql/sqlite.h"
#include "services/notification/testing/fake_http.h"

namespace tocsin::notification {
namespace {
using kafka::testing::FakeKafka;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DelivererTest : public ::testing::Test {
 protected:
  DelivererTest() {
    std::string pattern = ::testing::TempDir() + "/delivererXXXXXX";
    folder_ = mkdtemp(pattern.data());
    database_ = *sql::OpenSqlite({.path = (folder_ / "n.db").string()});
    store_ = *NotificationStore::Open(*database_, clock_);
    kafka_.CreateTopic("notification.sent", 1);
    producer_ = kafka_.MakeProducer();
    deliverer_ = std::make_unique<Deliverer>(
        http_, *store_, *producer_, clock_, [this](std::chrono::nanoseconds pause) {
          if (pause.count() > 0) {
            pauses_.push_back(pause);
            clock_.Advance(std::chrono::duration_cast<std::chrono::microseconds>(pause));
          }
          return stopping_;
        });
    deliverer_->SetTopic(SentTopic());
  }
  ~DelivererTest() override {
    producer_.reset();
    store_.reset();
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  absl::Status Deliver(const RouteSpec& route, const incident::v1::Incident& incident) {
    std::promise<absl::Status> done;
    deliverer_->Deliver(route, incident, telemetry::TraceContext(),
                        [&](const absl::Status& status) { done.set_value(status); });
    return done.get_future().get();
  }
  std::vector<v1::NotificationSent> Topic() {
    std::vector<v1::NotificationSent> sent;
    for (const kafka::Record& record : kafka_.Log("notification.sent")) {
      const auto event = events::FromRecord(record);
      EXPECT_THAT(event, IsOk());
      EXPECT_THAT(events::ParseOwn(*event, sent.emplace_back()), IsOk());
    }
    return sent;
  }

  FakeClock clock_;
  std::filesystem::path folder_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<NotificationStore> store_;
  FakeKafka kafka_;
  std::unique_ptr<kafka::Producer> producer_;
  FakeHttp http_;
  std::vector<std::chrono::nanoseconds> pauses_;
  bool stopping_ = false;
  std::unique_ptr<Deliverer> deliverer_;
};

TEST_F(DelivererTest, DeliversAtOnce) {
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(1));
  EXPECT_THAT(pauses_, IsEmpty());
  const auto sent = Topic();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].outcome(), v1::OUTCOME_DELIVERED);
  EXPECT_EQ(sent[0].attempt(), 1);
  EXPECT_THAT(store_->List({})->notifications(), SizeIs(1));
}

TEST_F(DelivererTest, TriesAgainUnderTheSameKeyWithGrowingPauses) {
  http_.AnswerNext({HttpResponse{.status = 503}, absl::UnavailableError("refused"),
                    HttpResponse{.status = 429, .retry_after = std::chrono::seconds(90)}});
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), IsOk());
  const auto requests = http_.requests();
  ASSERT_THAT(requests, SizeIs(4));
  for (const HttpRequest& request : requests) EXPECT_EQ(Key(request), Key(requests[0]));
  ASSERT_THAT(pauses_, SizeIs(3));
  EXPECT_LE(pauses_[0], std::chrono::seconds(1));
  EXPECT_LE(pauses_[1], std::chrono::seconds(2));
  EXPECT_EQ(pauses_[2], std::chrono::seconds(90));
  const auto sent = Topic();
  ASSERT_THAT(sent, SizeIs(4));
  EXPECT_EQ(sent[0].outcome(), v1::OUTCOME_RETRYING);
  EXPECT_EQ(sent[1].error(), "refused");
  EXPECT_EQ(sent[3].outcome(), v1::OUTCOME_DELIVERED);
  EXPECT_EQ(sent[3].attempt(), 4);
}

TEST_F(DelivererTest, GivesUpAfterTheLastAttempt) {
  RouteSpec route = TestRoute();
  route.max_attempts = 2;
  http_.AnswerAlways(HttpResponse{.status = 500});
  EXPECT_THAT(Deliver(route, TestIncident("i1", 1)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(2));
  EXPECT_EQ(Topic().back().outcome(), v1::OUTCOME_FAILED);
  EXPECT_THAT(Topic().back().error(), HasSubstr("given up after 2 attempts"));
}

TEST_F(DelivererTest, TellsAnIncidentOnceOrEachRevision) {
  RouteSpec route = TestRoute();
  EXPECT_THAT(Deliver(route, TestIncident("i1", 1)), IsOk());
  EXPECT_THAT(Deliver(route, TestIncident("i1", 2)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(1));
  route.name = "all";
  route.every_revision = true;
  EXPECT_THAT(Deliver(route, TestIncident("i1", 1)), IsOk());
  EXPECT_THAT(Deliver(route, TestIncident("i1", 2)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(3));
}

// The severity rises: it is told when the route first takes it.
TEST_F(DelivererTest, TellsARouteWhenTheIncidentReachesItsSeverity) {
  RouteSpec route = TestRoute();
  route.min_severity = event::v1::SEVERITY_HIGH;
  incident::v1::Incident incident = TestIncident("i1", 1);
  incident.set_severity(event::v1::SEVERITY_LOW);
  EXPECT_THAT(Deliver(route, incident), IsOk());
  EXPECT_THAT(http_.requests(), IsEmpty());
  incident.set_severity(event::v1::SEVERITY_HIGH);
  incident.set_revision(2);
  EXPECT_THAT(Deliver(route, incident), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(1));
}

incident::v1::Incident Withdrawn(std::int64_t revision) {
  incident::v1::Incident incident = TestIncident("i1", revision);
  incident.set_corrected(true);
  incident.set_detection_count(0);
  return incident;
}

TEST_F(DelivererTest, AWithdrawalIsToldToThoseWhoWereToldOfTheIncident) {
  const auto deliver_all = [this](const RouteSpec& route) {
    for (const std::int64_t revision : {1, 2}) {
      EXPECT_THAT(Deliver(route, TestIncident("i1", revision)), IsOk());
    }
    for (const std::int64_t revision : {3, 4}) {
      EXPECT_THAT(Deliver(route, Withdrawn(revision)), IsOk());
    }
    for (const std::int64_t revision : {5, 6}) {
      EXPECT_THAT(Deliver(route, TestIncident("i1", revision)), IsOk());
    }
    EXPECT_THAT(Deliver(route, Withdrawn(7)), IsOk());
  };
  deliver_all(TestRoute());
  const auto requests = http_.requests();
  ASSERT_THAT(requests, SizeIs(4)) << "told, withdrawn, told again, withdrawn again";
  std::set<std::string> keys;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    keys.insert(Key(requests[i]));
    EXPECT_EQ(requests[i].body.find("\"withdrawn\":true") != std::string::npos, i % 2 == 1)
        << requests[i].body;
  }
  EXPECT_THAT(keys, SizeIs(4));
  EXPECT_TRUE(Topic().back().withdrawn());
  EXPECT_EQ(Topic().back().incident_revision(), 7);
  // The log is read again.
  deliver_all(TestRoute());
  EXPECT_THAT(http_.requests(), SizeIs(4));
  // A route may take less than it did; whom it told it still tells.
  RouteSpec strict = TestRoute("strict");
  EXPECT_THAT(Deliver(strict, TestIncident("i1", 1)), IsOk());
  strict.min_severity = event::v1::SEVERITY_CRITICAL;
  EXPECT_THAT(Deliver(strict, Withdrawn(2)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(6));
}

TEST_F(DelivererTest, AWithdrawalOfWhatWasNotToldIsNot) {
  EXPECT_THAT(Deliver(TestRoute(), Withdrawn(2)), IsOk());
  EXPECT_THAT(http_.requests(), IsEmpty());
  EXPECT_THAT(Topic(), IsEmpty());
  // What comes back is news.
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 3)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(1));
  // A route that tells each revision tells this one, too.
  RouteSpec route = TestRoute("all");
  route.every_revision = true;
  EXPECT_THAT(Deliver(route, Withdrawn(2)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(2));
}

TEST_F(DelivererTest, AWithdrawalIsTriedAgainUnderItsKey) {
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), IsOk());
  http_.AnswerAlways(HttpResponse{.status = 500});
  http_.OnPost([this](int number) { stopping_ = number == 3; });
  EXPECT_THAT(Deliver(TestRoute(), Withdrawn(2)), StatusIs(absl::StatusCode::kCancelled));
  stopping_ = false;
  http_.OnPost({});
  http_.AnswerAlways(HttpResponse{.status = 200});
  EXPECT_THAT(Deliver(TestRoute(), Withdrawn(2)), IsOk());
  const auto requests = http_.requests();
  ASSERT_THAT(requests, SizeIs(4));
  EXPECT_EQ(Key(requests[3]), Key(requests[1]));
  EXPECT_NE(Key(requests[3]), Key(requests[0]));
  EXPECT_EQ(Topic().back().attempt(), 3);
}

TEST_F(DelivererTest, ARestartGoesOnWithTheCountOfAttempts) {
  http_.AnswerAlways(HttpResponse{.status = 500});
  http_.OnPost([this](int number) { stopping_ = number == 2; });
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), StatusIs(absl::StatusCode::kCancelled));
  stopping_ = false;
  http_.OnPost({});
  http_.AnswerAlways(HttpResponse{.status = 200});
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), IsOk());
  EXPECT_EQ(Topic().back().attempt(), 3);
}

TEST_F(DelivererTest, WhatHasItsFinalOutcomeIsNotSentAgain) {
  // Kafka did not take the outcome before the crash.
  kafka_.FailNext(FakeKafka::Step::kDelivery, {.status = absl::AbortedError("gone")});
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Topic(), IsEmpty());
  EXPECT_THAT(Deliver(TestRoute(), TestIncident("i1", 1)), IsOk());
  EXPECT_THAT(http_.requests(), SizeIs(1));
  EXPECT_THAT(Topic(), SizeIs(1));
}

}  // namespace
}  // namespace tocsin::notification
