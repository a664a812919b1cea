#include "lib/http/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"
#include "lib/http/out_queue.h"
#include "lib/http/text.h"

namespace tocsin::http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;

TEST(MessageTest, HeadersKeepOrderAndLowerNames) {
  Headers headers{{"Content-Type", "a"}, {"X-Tag", "1"}, {"x-tag", "2"}};
  EXPECT_EQ(headers.Get("content-type"), "a");
  EXPECT_EQ(headers.Joined("x-tag"), "1, 2");
  headers.Set("X-TAG", "3");
  EXPECT_EQ(headers.Joined("x-tag"), "3");
  EXPECT_EQ(headers.Get("absent"), std::nullopt);
}

TEST(MessageTest, QueriesAndEscapes) {
  EXPECT_THAT(PercentDecode("a%2fb%25"), IsOkAndHolds("a/b%"));
  EXPECT_THAT(PercentDecode("%41+"), IsOkAndHolds("A+"));
  EXPECT_THAT(PercentDecode("%41+", true), IsOkAndHolds("A "));
  EXPECT_THAT(ParseQuery("a=1&b&&c=x%3Dy+z=&%3d=%26"),
              IsOkAndHolds(
                  ElementsAre(Pair("a", "1"), Pair("b", ""), Pair("c", "x=y z="), Pair("=", "&"))));
  EXPECT_THAT(ParseQuery(""), IsOkAndHolds(IsEmpty()));
}

TEST(MessageTest, EscapesThatAreNoneAreRefusedWithTheirPlace) {
  for (const std::string text : {"a%2Fb%", "a%2Fb%4", "a%2Fb%zz+", "a%2Fb%4z", "a%2Fb%%41"}) {
    EXPECT_THAT(PercentDecode(text), StatusIs(absl::StatusCode::kInvalidArgument,
                                              StartsWith("the '%' at character 6 of the text")))
        << text;
  }
  EXPECT_THAT(ParsePath("/subjects/a%2Fb/%zz"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("the '%' at character 17 of the path begins no escape")));
  // Not beyond the end of a segment or a parameter.
  EXPECT_FALSE(ParsePath("/a%/41").ok());
  EXPECT_FALSE(ParsePath("/a%4/1").ok());
  EXPECT_FALSE(ParseQuery("a%4=1").ok());
  EXPECT_THAT(ParseQuery("a=1&b=%4&c=1"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("the '%' at character 7 of the query")));
}

TEST(MessageTest, PathsKeepWhatIsEmptyBetweenSlashes) {
  EXPECT_THAT(ParsePath("/subjects/a%2Fb/versions"),
              IsOkAndHolds(ElementsAre("subjects", "a/b", "versions")));
  EXPECT_THAT(ParsePath("/"), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(ParsePath(""), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(ParsePath("*"), IsOkAndHolds(ElementsAre("*")));
  EXPECT_THAT(ParsePath("/a/"), IsOkAndHolds(ElementsAre("a")));
  EXPECT_THAT(ParsePath("//"), IsOkAndHolds(ElementsAre("")));
  EXPECT_THAT(ParsePath("//a"), IsOkAndHolds(ElementsAre("", "a")));
  EXPECT_THAT(ParsePath("/a//b"), IsOkAndHolds(ElementsAre("a", "", "b")));
  EXPECT_THAT(ParsePath("/a//"), IsOkAndHolds(ElementsAre("a", "")));
}

TEST(MessageTest, SlicesShareTheirBytes) {
  const Slice whole(std::string("0123456789"));
  const Slice part = whole.Sub(2, 3);
  EXPECT_EQ(part.view(), "234");
  EXPECT_EQ(part.view().data(), whole.view().data() + 2);
  EXPECT_EQ(Flatten({whole, part}), "0123456789234");
}

TEST(MessageTest, FieldsThatWouldBreakTheFramingAreNotSent) {
  const auto fields = SendableFields(
      {{"good", "a\r\nx: b"}, {"bad name", "1"}, {"connection", "close"}, {"", "1"}});
  ASSERT_EQ(fields.size(), 1u);
  EXPECT_EQ(fields[0].value, "ax: b");
}

TEST(MessageTest, Dates) {
  EXPECT_EQ(HttpDate(WallTime(std::chrono::seconds(1'795'244'114))),
            "Sat, 21 Nov 2026 06:55:14 GMT");
}

TEST(OutQueueTest, GathersAndConsumesAcrossPieces) {
  const std::string large(1000, 'L');
  OutQueue queue;
  queue.Append(std::string_view("ab"));
  queue.Append(Slice(std::string("cd")));
  queue.Append(Slice(large));
  queue.Append(std::string_view("ef"));
  EXPECT_EQ(queue.size(), 1006u);
  std::string out;
  while (!queue.empty()) {
    iovec buffers[2];
    ASSERT_GT(queue.Gather(buffers, 2), 0);
    out.push_back(*static_cast<const char*>(buffers[0].iov_base));
    queue.Consume(1);
  }
  EXPECT_EQ(out, "abcd" + large + "ef");
}

}  // namespace
}  // namespace tocsin::http
