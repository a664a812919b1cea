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

// The usual form is read by itself; whatever else RFC 3339 allows must mean the same.
TEST(TimeTest, FormsOfOneTime) {
  const WallTime time = *ParseTime("2016-02-29T23:59:59.123456Z");
  for (const char* text : {"2016-02-29T23:59:59.1234569Z", "2016-02-29T23:59:59.123456999Z",
                           "2016-02-29t23:59:59.123456z", "2016-02-29T23:59:59.123456+00:00",
                           "2016-03-01T01:29:59.123456+01:30"}) {
    EXPECT_EQ(*ParseTime(text), time) << text;
  }
  EXPECT_EQ(*ParseTime("1969-12-31T23:59:59.9999999Z"), WallTime(std::chrono::microseconds(-1)));
  EXPECT_EQ(*ParseTime("2016-12-31T23:59:60Z"), *ParseTime("2017-01-01T00:00:00Z"));
  for (const char* text : {"2015-02-29T00:00:00Z", "2016-01-15T24:00:01Z", "2016-01-15T00:60:00Z",
                           "2016-01-15T00:00:00.Z", "2016-01-15T00:00:0 Z", "2016-00-15T00:00:00Z",
                           "2016-01-15T00:00:00.12x4Z", "2016-01-15T00:00:00,5Z"}) {
    EXPECT_FALSE(ParseTime(text).ok()) << text;
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
