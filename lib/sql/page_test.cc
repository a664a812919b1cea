#include "lib/sql/page.h"

#include <gtest/gtest.h>

#include <string>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::sql {
namespace {
using ::testing::HasSubstr;

TEST(PageTest, PageTokensAreBoundToTheirFilter) {
  const std::string token = EncodePageToken({.number = -5, .id = "a/b"}, "filter");
  const auto position = DecodePageToken(token, "filter");
  ASSERT_THAT(position, IsOk());
  EXPECT_EQ((*position)->number, -5);
  EXPECT_EQ((*position)->id, "a/b");
  EXPECT_THAT(DecodePageToken(token, "other"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another filter")));
  ASSERT_THAT(DecodePageToken("", "filter"), IsOk());
  EXPECT_FALSE(DecodePageToken("", "filter")->has_value());
  for (const std::string bad : {"x", "!!!!", "MQ", "MS8yLzM", "MS8vL2E"}) {
    EXPECT_THAT(DecodePageToken(bad, "filter"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")))
        << bad;
  }
}

TEST(PageTest, PageSizes) {
  EXPECT_THAT(PageSize(0), IsOkAndHolds(100));
  EXPECT_THAT(PageSize(7), IsOkAndHolds(7));
  EXPECT_THAT(PageSize(100'000), IsOkAndHolds(1'000));
  EXPECT_THAT(PageSize(-1), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tocsin::sql
