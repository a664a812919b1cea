#include "lib/base/time.h"

#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"

namespace tocsin {
namespace {
using ::testing::HasSubstr;

TEST(TimeTest, RoundTrip) {
  for (const char* text :
       {"2016-01-15T13:24:00Z", "1969-12-31T23:59:59.250Z", "2100-02-28T00:00:00.000001Z",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"}) {
    ASSERT_THAT(ParseTime(text), IsOk());
    EXPECT_EQ(FormatTime(*ParseTime(text)), text);
  }
  EXPECT_EQ(FormatTime(*ParseTime("2016-01-15T14:24:00+01:00")), "2016-01-15T13:24:00Z");
}

TEST(TimeTest, RefusesWhatIsNotRfc3339) {
  for (const char* text : {"", "yesterday", "2016-01-15", "infinite-future", "2016-13-01T00:00:00Z",
                           "10000-01-01T00:00:00Z", "0000-12-31T23:59:59Z",
                           "-292277022399-01-01T00:00:00Z", "9999-12-31T23:59:59-00:01"}) {
    EXPECT_THAT(ParseTime(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("RFC 3339")))
        << text;
  }
}

TEST(DurationTest, ReadsOneNumberAndOneUnit) {
  EXPECT_THAT(ParseDuration("90m"), IsOkAndHolds(std::chrono::minutes(90)));
  EXPECT_THAT(ParseDuration("0s"), IsOkAndHolds(std::chrono::seconds(0)));
  for (const char* text : {"", "10", "s", "-1s", "1h30m", "1.5s", "99999999999999d"}) {
    EXPECT_THAT(ParseDuration(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("90s")))
        << text;
  }
}

TEST(DurationTest, FormatsShortestExactForm) {
  EXPECT_EQ(FormatDuration(std::chrono::minutes(10)), "10m");
  EXPECT_EQ(FormatDuration(std::chrono::seconds(90)), "90s");
  EXPECT_EQ(FormatDuration(std::chrono::milliseconds(1500)), "1500ms");
  EXPECT_EQ(FormatDuration(std::chrono::seconds(0)), "0s");
}
}  // namespace
}  // namespace tocsin
