#include "lib/http/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/http/out_queue.h"
#include "lib/http/text.h"

namespace tocsin::http {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(MessageTest, HeadersKeepOrderAndLowerNames) {
  Headers headers{{"Content-Type", "a"}, {"X-Tag", "1"}, {"x-tag", "2"}};
  EXPECT_EQ(headers.Get("content-type"), "a");
  EXPECT_EQ(headers.Joined("x-tag"), "1, 2");
  headers.Set("X-TAG", "3");
  EXPECT_EQ(headers.Joined("x-tag"), "3");
  EXPECT_EQ(headers.Get("absent"), std::nullopt);
}

TEST(MessageTest, QueriesAndEscapes) {
  EXPECT_EQ(PercentDecode("a%2Fb%"), "a/b%");
  EXPECT_EQ(PercentDecode("%4"), "%4");
  EXPECT_EQ(PercentDecode("%zz+"), "%zz+");
  EXPECT_EQ(PercentDecode("%41+", true), "A ");
  EXPECT_THAT(ParseQuery("a=1&b&&c=x%3Dy+z"),
              ElementsAre(Pair("a", "1"), Pair("b", ""), Pair("c", "x=y z")));
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
