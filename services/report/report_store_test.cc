#include "services/report/report_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/sql/sqlite.h"

namespace tocsin::report {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::int64_t kStart = 1'452'859'260;  // 2016-01-15T12:01:00Z

Arrival Detection(const std::string& id, std::int64_t seconds, const std::string& rule = "r",
                  const std::string& incident = "i1") {
  DetectionArrived arrived;
  arrived.detection.set_id(id);
  arrived.detection.set_rule_id(rule);
  arrived.detection.set_incident_id(incident);
  arrived.detection.mutable_time()->set_seconds(kStart + seconds);
  return arrived;
}

Arrival Incident(const std::string& id, std::int64_t revision, std::int64_t seconds,
                 const std::string& rule = "r",
                 event::v1::Severity severity = event::v1::SEVERITY_HIGH) {
  IncidentArrived arrived;
  arrived.incident.set_id(id);
  arrived.incident.set_revision(revision);
  arrived.incident.set_rule_id(rule);
  arrived.incident.set_severity(severity);
  arrived.incident.mutable_last_detection_time()->set_seconds(kStart + seconds);
  arrived.time = WallTime(std::chrono::seconds(kStart));
  return arrived;
}

class ReportStoreTest : public ::testing::Test {
 protected:
  ReportStoreTest() {
    std::string pattern = ::testing::TempDir() + "/reportXXXXXX";
    folder_ = mkdtemp(pattern.data());
    Open();
  }
  ~ReportStoreTest() override { std::filesystem::remove_all(folder_); }

  void Open() {
    store_.reset();
    database_.reset();
    auto database = sql::OpenSqlite({.path = (folder_ / "report.db").string()});
    ASSERT_THAT(database, IsOk());
    database_ = *std::move(database);
    auto store = ReportStore::Open(*database_, clock_);
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }

  std::vector<std::string> IncidentIds(const v1::ListIncidentsRequest& request = {}) {
    std::vector<std::string> ids;
    v1::ListIncidentsRequest page = request;
    do {
      auto response = store_->ListIncidents(page);
      EXPECT_THAT(response, IsOk());
      if (!response.ok()) break;
      for (const auto& incident : response->incidents()) ids.push_back(incident.id());
      page.set_page_token(response->next_page_token());
    } while (!page.page_token().empty());
    return ids;
  }

  absl::StatusOr<incident::v1::Incident> Acknowledge(const std::string& id,
                                                     const std::string& actor,
                                                     const std::string& etag = "") {
    return store_->Execute({.kind = incident::v1::ACTIVITY_KIND_ACKNOWLEDGED,
                            .incident_id = id,
                            .etag = etag,
                            .note = "on it",
                            .actor = actor},
                           "00-trace");
  }

  FakeClock clock_;
  std::filesystem::path folder_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<ReportStore> store_;
};

TEST_F(ReportStoreTest, ApplyingTwiceChangesNothingAndOffsetsGoWithIt) {
  const std::vector<Arrival> arrivals = {Detection("d1", 0), Incident("i1", 1, 0),
                                         Detection("d2", 60), Incident("i1", 2, 60)};
  const kafka::Offsets next = {{{"detections", 0}, 2}, {{"incidents.correlated", 1}, 5}};
  ASSERT_THAT(store_->Apply(arrivals, next), IsOk());
  ASSERT_THAT(store_->Apply(arrivals, next), IsOk());
  Open();
  EXPECT_THAT(store_->Offsets(), IsOkAndHolds(next));
  const auto incident = store_->GetIncident("i1");
  ASSERT_THAT(incident, IsOk());
  EXPECT_EQ(incident->incident().revision(), 2);
  EXPECT_EQ(incident->incident().state(), incident::v1::INCIDENT_STATE_OPEN);
  ASSERT_THAT(incident->detections(), SizeIs(2));
  EXPECT_EQ(incident->detections(0).id(), "d2");
}

TEST_F(ReportStoreTest, TheHighestRevisionWins) {
  ASSERT_THAT(store_->Apply({Incident("i1", 3, 120), Incident("i1", 2, 60)}, {}), IsOk());
  EXPECT_EQ(store_->GetIncident("i1")->incident().revision(), 3);
  EXPECT_EQ(store_->GetIncident("i1")->incident().last_detection_time().seconds(), kStart + 120);
}

TEST_F(ReportStoreTest, NothingIsStoredWhenOnePartFails) {
  ASSERT_THAT(store_->Apply({Incident("i1", 1, 0)}, {{{"incidents.correlated", 0}, 1}}), IsOk());
  ASSERT_THAT(database_->Write([](sql::Connection& c) {
    return c.ExecuteScript(
        "CREATE TRIGGER broken BEFORE UPDATE ON offsets BEGIN SELECT RAISE(ABORT, 'no'); END");
  }),
              IsOk());
  EXPECT_THAT(store_->Apply({Incident("i2", 1, 0)}, {{{"incidents.correlated", 0}, 2}}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(IncidentIds(), ElementsAre("i1"));
  EXPECT_THAT(store_->Offsets(), IsOkAndHolds(kafka::Offsets{{{"incidents.correlated", 0}, 1}}));
}

TEST_F(ReportStoreTest, ListsNewestFirstInPagesOfAnySize) {
  std::vector<Arrival> arrivals;
  std::vector<std::string> expected;
  for (int i = 0; i < 7; ++i) {
    const std::string id = Concat("i", i);
    arrivals.push_back(Incident(id, 1, i / 2));  // pairs share a time
    expected.insert(expected.begin(), id);
  }
  ASSERT_THAT(store_->Apply(arrivals, {}), IsOk());
  for (const int size : {1, 2, 3, 7, 100}) {
    v1::ListIncidentsRequest request;
    request.set_page_size(size);
    EXPECT_EQ(IncidentIds(request), expected) << size;
  }
}

TEST_F(ReportStoreTest, APageStaysBelowTheSizeOfAMessage) {
  std::vector<Arrival> arrivals;
  for (int i = 0; i < 10; ++i) {
    Arrival arrival = Incident(Concat("i", i), 1, i);
    std::get<IncidentArrived>(arrival).incident.set_title(std::string(700'000, 'x'));
    arrivals.push_back(arrival);
  }
  ASSERT_THAT(store_->Apply(arrivals, {}), IsOk());
  EXPECT_LT(store_->ListIncidents({})->ByteSizeLong(), 4U << 20);
  EXPECT_THAT(IncidentIds(), SizeIs(10));
}

TEST_F(ReportStoreTest, Filters) {
  ASSERT_THAT(store_->Apply({Incident("a", 1, 0, "surge", event::v1::SEVERITY_LOW),
                             Incident("b", 1, 60, "surge", event::v1::SEVERITY_CRITICAL),
                             Incident("c", 1, 120, "repeat", event::v1::SEVERITY_UNSPECIFIED)},
                            {}),
              IsOk());
  ASSERT_THAT(Acknowledge("b", "maria"), IsOk());
  const auto with = [&](auto set) {
    v1::ListIncidentsRequest request;
    set(request);
    return IncidentIds(request);
  };
  EXPECT_THAT(with([](auto& r) { r.set_rule_id("surge"); }), ElementsAre("b", "a"));
  EXPECT_THAT(with([](auto& r) { r.set_rule_id("' OR 1=1 --"); }), IsEmpty());
  EXPECT_THAT(with([](auto& r) { r.add_states(incident::v1::INCIDENT_STATE_OPEN); }),
              ElementsAre("c", "a"));
  EXPECT_THAT(with([](auto& r) {
                r.add_states(incident::v1::INCIDENT_STATE_OPEN);
                r.add_states(incident::v1::INCIDENT_STATE_ACKNOWLEDGED);
              }),
              ElementsAre("c", "b", "a"));
  EXPECT_THAT(with([](auto& r) { r.set_min_severity(event::v1::SEVERITY_LOW); }),
              ElementsAre("b", "a"));
  EXPECT_THAT(with([](auto& r) { r.set_min_severity(event::v1::SEVERITY_INFO); }),
              ElementsAre("c", "b", "a"));
  EXPECT_THAT(with([](auto& r) {
                r.mutable_from_time()->set_seconds(kStart + 60);
                r.mutable_to_time()->set_seconds(kStart + 120);
              }),
              ElementsAre("b"));
}

TEST_F(ReportStoreTest, ATokenIsGoodForItsFilterOnly) {
  ASSERT_THAT(store_->Apply({Incident("a", 1, 0), Incident("b", 1, 1)}, {}), IsOk());
  v1::ListIncidentsRequest request;
  request.set_page_size(1);
  const auto first = store_->ListIncidents(request);
  ASSERT_THAT(first, IsOk());
  request.set_page_token(first->next_page_token());
  request.set_page_size(50);
  EXPECT_THAT(store_->ListIncidents(request), IsOk());
  request.set_rule_id("r");
  EXPECT_THAT(store_->ListIncidents(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another filter")));
}

TEST_F(ReportStoreTest, WhatIsCorrectedOrRetractedDoesNotStand) {
  const auto again = [](Arrival arrival, int revision, const std::string& corrects,
                        bool retracted) {
    auto& detection = std::get<DetectionArrived>(arrival).detection;
    detection.set_revision(revision);
    detection.set_corrects(corrects);
    detection.set_retracted(retracted);
    return arrival;
  };
  ASSERT_THAT(store_->Apply({Detection("d1", 0, "r", "i1"), Detection("d2", 60, "r", "i1"),
                             Detection("d3", 120, "r", "i1"),
                             again(Detection("d2b", 60, "r", "i1"), 2, "d2", false),
                             again(Detection("d3", 130, "r", "i1"), 2, "d3", false),
                             again(Detection("d1", 0, "r", "i1"), 2, "", true)},
                            {}),
              IsOk());
  const auto listed = store_->ListDetections({});
  ASSERT_THAT(listed.status(), IsOk());
  ASSERT_EQ(listed->detections_size(), 2);
  EXPECT_EQ(listed->detections(0).id(), "d3");
  EXPECT_EQ(listed->detections(0).revision(), 2);
  EXPECT_EQ(listed->detections(1).id(), "d2b");
}

TEST_F(ReportStoreTest, ListsDetections) {
  ASSERT_THAT(store_->Apply({Detection("d1", 0, "surge", "i1"), Detection("d2", 60, "surge", "i2"),
                             Detection("d3", 120, "repeat", "i3")},
                            {}),
              IsOk());
  v1::ListDetectionsRequest request;
  request.set_page_size(1);
  request.set_rule_id("surge");
  const auto page = store_->ListDetections(request);
  ASSERT_THAT(page, IsOk());
  ASSERT_THAT(page->detections(), SizeIs(1));
  EXPECT_EQ(page->detections(0).id(), "d2");
  request.set_page_token(page->next_page_token());
  EXPECT_EQ(store_->ListDetections(request)->detections(0).id(), "d1");
  EXPECT_EQ(store_->ListDetections(request)->next_page_token(), "");
}

TEST_F(ReportStoreTest, ACommandChangesTheIncidentAndGoesToTheOutbox) {
  ASSERT_THAT(store_->Apply({Incident("i1", 1, 0)}, {}), IsOk());
  const std::string etag = store_->GetIncident("i1")->incident().etag();
  clock_.Advance(std::chrono::hours(1));
  const auto done = Acknowledge("i1", "maria", etag);
  ASSERT_THAT(done, IsOk());
  EXPECT_EQ(done->state(), incident::v1::INCIDENT_STATE_ACKNOWLEDGED);
  EXPECT_EQ(done->acknowledged_by(), "maria");
  EXPECT_NE(done->etag(), etag);
  EXPECT_EQ(done->SerializeAsString(), store_->GetIncident("i1")->incident().SerializeAsString());

  // The retry of a call whose answer was lost.
  EXPECT_THAT(Acknowledge("i1", "maria", etag), IsOk());
  EXPECT_THAT(Acknowledge("i1", "john"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Acknowledge("none", "john"), StatusIs(absl::StatusCode::kNotFound));

  const auto outbox = store_->Outbox(10);
  ASSERT_THAT(outbox, IsOk());
  ASSERT_THAT(*outbox, SizeIs(1));
  EXPECT_EQ(outbox->front().activity.actor(), "maria");
  EXPECT_EQ(outbox->front().traceparent, "00-trace");

  // It comes back from the topic: nothing changes.
  ASSERT_THAT(store_->Apply({ActivityArrived{outbox->front().activity}}, {}), IsOk());
  EXPECT_THAT(store_->GetIncident("i1")->activities(), SizeIs(1));
  EXPECT_EQ(store_->GetIncident("i1")->incident().etag(), done->etag());

  ASSERT_THAT(store_->RemoveFromOutbox({outbox->front().sequence}), IsOk());
  EXPECT_THAT(*store_->Outbox(10), IsEmpty());
}

TEST_F(ReportStoreTest, ALaterRevisionKeepsTheLifecycle) {
  ASSERT_THAT(store_->Apply({Incident("i1", 1, 0)}, {}), IsOk());
  ASSERT_THAT(Acknowledge("i1", "maria"), IsOk());
  ASSERT_THAT(store_->Apply({Incident("i1", 2, 60)}, {}), IsOk());
  const auto incident = store_->GetIncident("i1")->incident();
  EXPECT_EQ(incident.revision(), 2);
  EXPECT_EQ(incident.state(), incident::v1::INCIDENT_STATE_ACKNOWLEDGED);
}

// The database was lost and is built again: activities may be read before their incident.
TEST_F(ReportStoreTest, ARebuildGivesTheSameWhateverTheOrderOfTheTopics) {
  ASSERT_THAT(store_->Apply({Incident("i1", 1, 0)}, {}), IsOk());
  ASSERT_THAT(Acknowledge("i1", "maria"), IsOk());
  ASSERT_THAT(
      store_->Execute(
          {.kind = incident::v1::ACTIVITY_KIND_RESOLVED, .incident_id = "i1", .actor = "john"}, ""),
      IsOk());
  const std::string before = store_->GetIncident("i1")->SerializeAsString();
  std::vector<Arrival> activities;
  const auto outbox = store_->Outbox(10);
  for (const OutboxEntry& entry : outbox.value()) {
    activities.emplace_back(ActivityArrived{entry.activity});
  }
  for (const bool activities_first : {true, false}) {
    store_.reset();
    database_.reset();
    std::filesystem::remove(folder_ / "report.db");
    Open();
    std::vector<Arrival> arrivals = {Incident("i1", 1, 0)};
    arrivals.insert(activities_first ? arrivals.begin() : arrivals.end(), activities.begin(),
                    activities.end());
    ASSERT_THAT(store_->Apply(arrivals, {}), IsOk());
    EXPECT_EQ(store_->GetIncident("i1")->SerializeAsString(), before) << activities_first;
    EXPECT_THAT(*store_->Outbox(10), IsEmpty());
  }
}

}  // namespace
}  // namespace tocsin::report
