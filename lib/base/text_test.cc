#include "lib/base/text.h"

#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"

namespace tocsin {
namespace {
using ::testing::HasSubstr;

TEST(TextTest, ConcatTakesTextAndNumbers) {
  EXPECT_EQ(Concat("a", std::string("b"), std::string_view("c"), 1, 'd', true), "abc1dtrue");
}

TEST(TextTest, SplitKeepsEmptyParts) {
  EXPECT_EQ(Split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(Split("", ','), (std::vector<std::string>{""}));
  EXPECT_EQ(Trim(" \ta b\n"), "a b");
}

TEST(HostPortTest, ReadsNamesAndAddresses) {
  EXPECT_EQ(ParseHostPort("localhost:80")->port, 80);
  EXPECT_EQ(ParseHostPort("[::1]:8080")->host, "::1");
  for (const char* bad : {"", "localhost", ":80", "a:b", "a:70000", "::1:80", "a:"}) {
    EXPECT_THAT(ParseHostPort(bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("host:port")))
        << bad;
  }
}

TEST(NearestNameTest, SuggestsTypingSlipsOnly) {
  EXPECT_EQ(NearestName("timspan", {"timespan", "title"}), "timespan");
  EXPECT_EQ(NearestName("zzzzzz", {"timespan", "title"}), "");
}
TEST(DidYouMeanTest, EndsTheSentenceEitherWay) {
  EXPECT_EQ(DidYouMean("timspan", {"timespan", "title"}), "; did you mean 'timespan'?");
  EXPECT_EQ(DidYouMean("zzzzzz", {"timespan", "title"}), ".");
  EXPECT_EQ(DidYouMean("x", {}), ".");
}
TEST(ShortenTest, KeepsCharactersWhole) {
  EXPECT_EQ(Shorten("abc", 3), "abc");
  EXPECT_EQ(Shorten("abcd", 3), "abc…");
  EXPECT_EQ(Shorten("aé", 2), "a…");
  EXPECT_EQ(Shorten("aéb", 3), "aé…");
  EXPECT_EQ(Shorten("é", 0), "…");
}

TEST(CaseTest, ChangesTheLettersOfAsciiAlone) {
  EXPECT_EQ(AsciiLower("AZ[@\xc3\x84_09"), "az[@\xc3\x84_09");
  EXPECT_EQ(AsciiUpper("az{`\xc3\xa4_09"), "AZ{`\xc3\xa4_09");
}
}  // namespace
}  // namespace tocsin
