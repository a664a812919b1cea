#include "lib/base/status.h"

#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"

namespace tocsin {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<int> Half(int number) {
  if (number % 2 != 0) return InvalidArgument(Concat(number, " is odd"));
  return number / 2;
}

absl::StatusOr<int> Quarter(int number) {
  TOCSIN_ASSIGN_OR_RETURN(const int half, Half(number));
  TOCSIN_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(StatusTest, AssignOrReturnPassesValueAndError) {
  EXPECT_THAT(Quarter(12), IsOkAndHolds(3));
  EXPECT_THAT(Quarter(6), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 is odd")));
}

TEST(StatusTest, AnnotateKeepsCodeAndPayload) {
  absl::Status status = NotFound("no such subject");
  status.SetPayload("detail", absl::Cord("x"));
  const absl::Status annotated = Annotate(status, "alerts.raw");
  EXPECT_EQ(Describe(annotated), "NOT_FOUND: alerts.raw: no such subject");
  EXPECT_TRUE(annotated.GetPayload("detail").has_value());
  EXPECT_THAT(Annotate(absl::OkStatus(), "x"), IsOk());
}

TEST(StatusTest, RetryableIsWhatMayPassByItself) {
  EXPECT_TRUE(IsRetryable(Unavailable("")));
  EXPECT_FALSE(IsRetryable(InvalidArgument("")));
  EXPECT_THAT(Half(1), Not(IsOk()));
}
}  // namespace
}  // namespace tocsin
