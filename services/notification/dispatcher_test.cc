#include "services/notification/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/stop_signal.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/sql/sqlite.h"
#include "lib/telemetry/metrics.h"
#include "services/notification/io.h"
#include "services/notification/testing/fake_http.h"

namespace tocsin::notification {
namespace {
using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class DispatcherTest : public ::testing::Test {
 protected:
  DispatcherTest() {
    std::string pattern = ::testing::TempDir() + "/dispatcherXXXXXX";
    folder_ = mkdtemp(pattern.data());
    kafka_.CreateTopic("incidents.correlated", 2);
    kafka_.CreateTopic("notification.sent", 1);
  }
  ~DispatcherTest() override {
    Stop();
    std::filesystem::remove_all(folder_);
  }

  void Start(const std::vector<RouteSpec>& routes, DispatcherOptions options = {}) {
    options.poll = milliseconds(5);
    options.commit_interval = milliseconds(1);
    options.retry = {.initial = milliseconds(1), .maximum = milliseconds(5)};
    stop_ = std::make_unique<StopSignal>();
    database_ = *sql::OpenSqlite({.path = (folder_ / "n.db").string()});
    store_ = *NotificationStore::Open(*database_, Clock::Real());
    producer_ = kafka_.MakeProducer();
    const auto pause = [this](std::chrono::nanoseconds time) { return stop_->WaitFor(time); };
    deliverer_ = std::make_unique<Deliverer>(
        http_, *store_, *producer_, Clock::Real(), pause,
        DelivererOptions{.backoff = {.initial = milliseconds(1), .maximum = milliseconds(5)},
                         .store_retry = milliseconds(5)});
    deliverer_->SetTopic(SentTopic());
    groups_.clear();
    for (const RouteSpec& route : routes) {
      groups_.push_back(GroupOf(route.name));
      dispatchers_.push_back(std::make_unique<Dispatcher>(
          route, *deliverer_,
          [this, group = groups_.back()]() -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
            return kafka_.MakeConsumer({.group = group, .max_batch = 50});
          },
          pause, [this](const absl::Status&) { ++rounds_; }, options));
      dispatchers_.back()->Start();
    }
  }
  void Stop() {
    if (stop_ == nullptr) return;
    stop_->Stop();
    for (const auto& dispatcher : dispatchers_) dispatcher->Join();
    producer_.reset();
    dispatchers_.clear();
    deliverer_.reset();
    store_.reset();
    database_.reset();
    stop_.reset();
  }

  void Append(const incident::v1::Incident& incident) {
    const events::OwnTopic topic("incidents.correlated", incident.GetDescriptor(),
                                 "/tocsin/correlation",
                                 {.id = schema::SchemaId(4), .message_indexes = {0}});
    events::OwnEnvelope envelope;
    envelope.id = Concat(incident.id(), "/", incident.revision());
    envelope.key = incident.id();
    kafka_.Append(topic.Encode(incident, envelope));
  }
  // Of all partitions together, for the route that is furthest behind.
  std::int64_t CommittedSum() {
    std::int64_t least = INT64_MAX;
    for (const std::string& group : groups_) {
      std::int64_t sum = 0;
      for (const auto& [where, offset] : kafka_.Committed(group)) sum += offset;
      least = std::min(least, sum);
    }
    return least;
  }
  // Waits for that, at most 10 s.
  std::int64_t AwaitCommitted(std::int64_t sum) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (CommittedSum() < sum && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
    return CommittedSum();
  }

  // What the metric says of the route "duty" some rounds after it has said `expected`; waits at
  // most 10 s.
  double AwaitWaiting(double expected) {
    const telemetry::Gauge waiting = telemetry::GetGauge(
        "tocsin_notification_waiting",
        "Notifications that have been read from the log and have no final outcome yet, by route.",
        {{"route", "duty"}});
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    const auto await = [&](const auto& done) {
      while (!done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    };
    await([&] { return waiting.value() == expected; });
    const int rounds = rounds_;
    await([&] { return rounds_ >= rounds + 5; });
    return waiting.value();
  }

  std::filesystem::path folder_;
  FakeClock clock_;
  FakeKafka kafka_{clock_};
  FakeHttp http_;
  std::unique_ptr<StopSignal> stop_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<NotificationStore> store_;
  std::unique_ptr<kafka::Producer> producer_;
  std::unique_ptr<Deliverer> deliverer_;
  // Of all dispatchers together.
  std::atomic<int> rounds_{0};
  std::vector<std::string> groups_;
  std::vector<std::unique_ptr<Dispatcher>> dispatchers_;
};

TEST_F(DispatcherTest, TellsEachIncidentAndCommitsBehindIt) {
  for (int i = 0; i < 20; ++i) Append(TestIncident(Concat("i", i), 1));
  Start({TestRoute("a"), TestRoute("b")});
  EXPECT_EQ(AwaitCommitted(20), 20);
  EXPECT_THAT(http_.requests(), SizeIs(40));
  std::set<std::string> keys;
  for (const HttpRequest& request : http_.requests()) keys.insert(Key(request));
  EXPECT_THAT(keys, SizeIs(40));
}

TEST_F(DispatcherTest, ARouteTellsNothingFromBeforeItsTime) {
  Append(TestIncident("old", 1));
  clock_.Advance(std::chrono::hours(1));
  const WallTime since = clock_.Now();
  Append(TestIncident("new", 1));
  Start({TestRoute()}, {.since = since});
  EXPECT_EQ(AwaitCommitted(2), 2);
  ASSERT_THAT(http_.requests(), SizeIs(1));
  EXPECT_THAT(http_.requests()[0].body, HasSubstr("\"new\""));
}

TEST_F(DispatcherTest, WhatCannotBeReadIsLeftOut) {
  kafka_.Append({.topic = "incidents.correlated", .key = "k", .value = "not ours"});
  kafka_.Append({.topic = "incidents.correlated", .key = "k", .value = std::nullopt});
  Append(TestIncident("i1", 1));
  Start({TestRoute()});
  EXPECT_EQ(AwaitCommitted(3), 3);
  EXPECT_THAT(http_.requests(), SizeIs(1));
}

TEST_F(DispatcherTest, AReceiverThatHangsHoldsUpItsOwnRouteOnly) {
  http_.Hang(TestRoute("slow").url);
  for (int i = 0; i < 10; ++i) Append(TestIncident(Concat("i", i), 1));
  Start({TestRoute("slow"), TestRoute("quick")}, {.workers = 1});
  // One to the slow one, all to the quick one.
  EXPECT_THAT(http_.Await(11), SizeIs(11));
  EXPECT_EQ(CommittedSum(), 0);
  http_.Hang("");
  EXPECT_EQ(AwaitCommitted(10), 10);
  EXPECT_THAT(http_.requests(), SizeIs(20));
}

TEST_F(DispatcherTest, RevisionsOfAnIncidentAreToldInOrder) {
  for (int revision = 1; revision <= 30; ++revision) {
    for (const char* id : {"i1", "i2", "i3"}) Append(TestIncident(id, revision));
  }
  RouteSpec route = TestRoute();
  route.every_revision = true;
  Start({route});
  EXPECT_EQ(AwaitCommitted(90), 90);
  std::map<std::string, std::int64_t> last;
  const auto page = store_->List({});
  for (const auto& sent : page->notifications()) {
    // Newest first.
    if (last.contains(sent.incident_id())) {
      EXPECT_EQ(sent.incident_revision(), last[sent.incident_id()] - 1);
    }
    last[sent.incident_id()] = sent.incident_revision();
  }
}

TEST_F(DispatcherTest, ReadsNoFurtherThanItMayHold) {
  http_.Hang(TestRoute().url);
  for (int i = 0; i < 200; ++i) Append(TestIncident(Concat("i", i), 1));
  // Each poll brings up to 50 records; those of the third would be too many.
  Start({TestRoute()}, {.max_outstanding = 100});
  EXPECT_EQ(AwaitWaiting(100), 100);
  http_.Hang("");
  EXPECT_EQ(AwaitCommitted(200), 200);
  EXPECT_THAT(http_.requests(), SizeIs(200));
  EXPECT_EQ(AwaitWaiting(0), 0);
}

TEST_F(DispatcherTest, ReadsNoMoreBytesThanItMayHold) {
  http_.Hang(TestRoute().url);
  for (int i = 0; i < 200; ++i) Append(TestIncident(Concat("i", i), 1));
  Start({TestRoute()}, {.max_outstanding_bytes = 1});
  // The first poll has gone beyond.
  EXPECT_EQ(AwaitWaiting(50), 50);
  http_.Hang("");
  EXPECT_EQ(AwaitCommitted(200), 200);
}

TEST_F(DispatcherTest, AfterAStopOnlyWhatHadNoOutcomeIsSentAgain) {
  http_.Hang(TestRoute("slow").url);
  for (int i = 0; i < 5; ++i) Append(TestIncident(Concat("i", i), 1));
  Start({TestRoute("slow"), TestRoute("quick")});
  while (http_.Await(5 + 1).size() < 6) std::this_thread::yield();
  const auto quick = [this] {
    std::multiset<std::string> keys;
    for (const HttpRequest& request : http_.requests()) {
      if (request.url == TestRoute("quick").url) keys.insert(Key(request));
    }
    return keys;
  };
  while (quick().size() < 5) std::this_thread::yield();
  Stop();
  EXPECT_EQ(CommittedSum(), 0);
  http_.Hang("");
  Start({TestRoute("slow"), TestRoute("quick")});
  EXPECT_EQ(AwaitCommitted(5), 5);
  EXPECT_THAT(quick(), SizeIs(5));
}

TEST_F(DispatcherTest, AnOutcomeThatKafkaDidNotTakeIsSaidAgain) {
  kafka_.FailNext(FakeKafka::Step::kDelivery, {.status = absl::AbortedError("gone")});
  Append(TestIncident("i1", 1));
  Start({TestRoute()});
  EXPECT_EQ(AwaitCommitted(1), 1);
  EXPECT_THAT(http_.requests(), SizeIs(1));
  EXPECT_THAT(kafka_.Log("notification.sent"), SizeIs(1));
}

TEST_F(DispatcherTest, WhenKafkaIsAwayJustAsThePositionIsGoneTheRestIsToldAllTheSame) {
  for (int i = 0; i < 10; ++i) Append(TestIncident(Concat("old", i), 1));
  std::int64_t kept = 0;
  kafka::Offsets committed;
  for (int partition = 0; partition < 2; ++partition) {
    const kafka::TopicPartition where{"incidents.correlated", partition};
    committed[where] = 0;
    kafka_.DeleteBefore(where, kafka_.EndOffset(where));
    kept += kafka_.EndOffset(where);
  }
  kafka_.SetCommitted(GroupOf("duty"), committed);
  for (int i = 0; i < 10; ++i) Append(TestIncident(Concat("new", i), 1));
  kafka_.FailNext(FakeKafka::Step::kQueryOffset, {.status = absl::UnavailableError("cut")}, 4);
  Start({TestRoute()});
  EXPECT_EQ(AwaitCommitted(kept + 10), kept + 10);
  EXPECT_THAT(http_.requests(), SizeIs(10));
}

TEST_F(DispatcherTest, AnEndpointThatNeverAnswersHoldsUpNoOther) {
  http_.Hang(TestRoute("slow").url);
  constexpr int kRevisions = 100;
  for (int revision = 1; revision <= kRevisions; ++revision) {
    for (const char* id : {"i1", "i2", "i3"}) Append(TestIncident(id, revision));
  }
  RouteSpec slow = TestRoute("slow");
  RouteSpec quick = TestRoute("quick");
  slow.every_revision = quick.every_revision = true;
  Start({slow, quick}, {.max_outstanding = 10});
  const auto told = [this](const RouteSpec& route) {
    std::vector<std::string> keys;
    for (const HttpRequest& request : http_.requests()) {
      if (request.url == route.url) keys.push_back(Key(request));
    }
    return keys;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (told(quick).size() < std::size_t{3} * kRevisions &&
         std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_THAT(told(quick), SizeIs(3 * kRevisions));
  // One for each of its workers, and not one more.
  EXPECT_LE(told(slow).size(), 4U);
  std::map<std::string, std::int64_t> last;
  const auto page = store_->List([] {
    v1::ListNotificationsRequest request;
    request.set_page_size(1000);
    return request;
  }());
  for (const auto& sent : page->notifications()) {
    EXPECT_EQ(sent.route(), "quick");
    // Newest first.
    if (last.contains(sent.incident_id())) {
      EXPECT_EQ(sent.incident_revision(), last[sent.incident_id()] - 1);
    }
    last[sent.incident_id()] = sent.incident_revision();
  }
  EXPECT_THAT(last, SizeIs(3));
}

TEST_F(DispatcherTest, ARebalanceLosesNothing) {
  Start({TestRoute()});
  for (int i = 0; i < 50; ++i) {
    Append(TestIncident(Concat("i", i), 1));
    if (i % 10 == 5) kafka_.Rebalance(GroupOf("duty"));
    if (i == 30) kafka_.ExpireSessions(GroupOf("duty"));
  }
  EXPECT_EQ(AwaitCommitted(50), 50);
  std::set<std::string> keys;
  for (const HttpRequest& request : http_.requests()) keys.insert(Key(request));
  EXPECT_THAT(keys, SizeIs(50));
}

}  // namespace
}  // namespace tocsin::notification
