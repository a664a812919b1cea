#include "services/report/report_core.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/time.h"

namespace tocsin::report {
namespace {
using incident::v1::ACTIVITY_KIND_ACKNOWLEDGED;
using incident::v1::ACTIVITY_KIND_RESOLVED;
using incident::v1::INCIDENT_STATE_ACKNOWLEDGED;
using incident::v1::INCIDENT_STATE_RESOLVED;
using ::testing::HasSubstr;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};

struct LifecycleCase {
  std::string name;
  incident::v1::ActivityKind kind;
  std::string actor;
  std::string etag;
  Lifecycle before;
  // OK together with `activity` false: nothing is to be done.
  absl::StatusCode code;
  bool activity;
  std::string message;
};

Lifecycle AcknowledgedBy(std::string actor) {
  return {.state = INCIDENT_STATE_ACKNOWLEDGED,
          .acknowledged_by = std::move(actor),
          .acknowledged_time = kNow};
}
Lifecycle ResolvedBy(std::string actor) {
  return {.state = INCIDENT_STATE_RESOLVED, .resolved_by = std::move(actor), .resolved_time = kNow};
}

class LifecycleTest : public ::testing::TestWithParam<LifecycleCase> {};

TEST_P(LifecycleTest, Decides) {
  const LifecycleCase& c = GetParam();
  const auto decided =
      Decide({.kind = c.kind, .incident_id = "i1", .etag = c.etag, .note = "n", .actor = c.actor},
             c.before, "now", kNow + std::chrono::hours(1));
  ASSERT_THAT(decided, StatusIs(c.code, HasSubstr(c.message)));
  if (!decided.ok()) return;
  ASSERT_EQ(decided->has_value(), c.activity);
  if (!c.activity) return;
  Lifecycle after = c.before;
  Apply(**decided, after);
  EXPECT_EQ((*decided)->state_before(), c.before.state);
  EXPECT_EQ((*decided)->state_after(), after.state);
  EXPECT_EQ((*decided)->incident_id(), "i1");
  EXPECT_EQ((*decided)->note(), "n");
  EXPECT_EQ(after.state, c.kind == ACTIVITY_KIND_ACKNOWLEDGED ? INCIDENT_STATE_ACKNOWLEDGED
                                                              : INCIDENT_STATE_RESOLVED);
  EXPECT_EQ(c.kind == ACTIVITY_KIND_ACKNOWLEDGED ? after.acknowledged_by : after.resolved_by,
            c.actor);
}

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kWrongState = absl::StatusCode::kFailedPrecondition;
INSTANTIATE_TEST_SUITE_P(
    All, LifecycleTest,
    ::testing::Values(
        LifecycleCase{
            "AcknowledgeOpen", ACTIVITY_KIND_ACKNOWLEDGED, "maria", "now", {}, kOk, true, ""},
        LifecycleCase{
            "AcknowledgeWithoutEtag", ACTIVITY_KIND_ACKNOWLEDGED, "maria", "", {}, kOk, true, ""},
        LifecycleCase{"AcknowledgeWithOldEtag",
                      ACTIVITY_KIND_ACKNOWLEDGED,
                      "maria",
                      "old",
                      {},
                      absl::StatusCode::kAborted,
                      false,
                      "its etag is now now"},
        LifecycleCase{"AcknowledgeAgainWithTheOldEtag", ACTIVITY_KIND_ACKNOWLEDGED, "maria", "old",
                      AcknowledgedBy("maria"), kOk, false, ""},
        LifecycleCase{"AcknowledgeAnothers", ACTIVITY_KIND_ACKNOWLEDGED, "maria", "",
                      AcknowledgedBy("john"), kWrongState, false,
                      "ACKNOWLEDGED by john since 2023-11-14T22:13:20Z"},
        LifecycleCase{"AcknowledgeResolved", ACTIVITY_KIND_ACKNOWLEDGED, "maria", "",
                      ResolvedBy("maria"), kWrongState, false, "RESOLVED by maria"},
        LifecycleCase{"ResolveOpen", ACTIVITY_KIND_RESOLVED, "maria", "", {}, kOk, true, ""},
        LifecycleCase{"ResolveAcknowledgedByAnother", ACTIVITY_KIND_RESOLVED, "maria", "now",
                      AcknowledgedBy("john"), kOk, true, ""},
        LifecycleCase{"ResolveAgain", ACTIVITY_KIND_RESOLVED, "maria", "old", ResolvedBy("maria"),
                      kOk, false, ""},
        LifecycleCase{"ResolveAnothers", ACTIVITY_KIND_RESOLVED, "maria", "", ResolvedBy("john"),
                      kWrongState, false, "RESOLVED by john"}),
    [](const auto& c) { return c.param.name; });

TEST(ReportCoreTest, AnActivityHasAnIdOfItsOwn) {
  const Command command{.kind = ACTIVITY_KIND_RESOLVED, .incident_id = "i1", .actor = "maria"};
  const auto first = Decide(command, {}, "", kNow);
  const auto same = Decide(command, {}, "", kNow);
  const auto later = Decide(command, {}, "", kNow + std::chrono::microseconds(1));
  EXPECT_EQ((*first)->id(), (*same)->id());
  EXPECT_NE((*first)->id(), (*later)->id());
}

TEST(ReportCoreTest, ChecksCommands) {
  EXPECT_THAT(CheckCommand({}),
              StatusIs(absl::StatusCode::kInvalidArgument, "incident_id: is missing"));
  EXPECT_THAT(CheckCommand({.incident_id = "i", .note = std::string(4097, 'x')}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("note: has 4097 bytes")));
}

TEST(ReportCoreTest, TheEtagChangesWithRevisionAndLifecycle) {
  incident::v1::Incident incident;
  incident.set_id("i");
  incident.set_revision(1);
  const std::string open = Etag(incident, {});
  EXPECT_EQ(Etag(incident, {}), open);
  EXPECT_NE(Etag(incident, AcknowledgedBy("maria")), open);
  EXPECT_NE(Etag(incident, AcknowledgedBy("maria")), Etag(incident, AcknowledgedBy("john")));
  incident.set_revision(2);
  EXPECT_NE(Etag(incident, {}), open);
}

TEST(ReportCoreTest, TimesBeforeAndAfter1970) {
  for (const char* text :
       {"1969-12-31T23:59:59.250Z", "1970-01-01T00:00:00Z", "2016-01-15T12:01:00.000001Z"}) {
    const WallTime time = *ParseTime(text);
    EXPECT_EQ(ToWallTime(ToTimestamp(time)), time) << text;
    EXPECT_GE(ToTimestamp(time).nanos(), 0) << text;
  }
}

}  // namespace
}  // namespace tocsin::report
