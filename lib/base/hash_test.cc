#include "lib/base/hash.h"

#include <gtest/gtest.h>

#include "lib/base/hex.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin {
namespace {
// The vectors of Kafka's own UtilsTest.testMurmur2.
TEST(Murmur2Test, AgreesWithKafkasJavaClient) {
  EXPECT_EQ(static_cast<std::int32_t>(Murmur2("21")), -973932308);
  EXPECT_EQ(static_cast<std::int32_t>(Murmur2("foobar")), -790332482);
  EXPECT_EQ(static_cast<std::int32_t>(Murmur2("a-little-bit-long-string")), -985981536);
  EXPECT_EQ(static_cast<std::int32_t>(Murmur2("a-little-bit-longer-string")), -1486304829);
  EXPECT_EQ(static_cast<std::int32_t>(Murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")),
            -58897971);
  EXPECT_EQ(static_cast<std::int32_t>(Murmur2("abc")), 479470107);
}

TEST(StableIdTest, DependsOnTheDivisionIntoParts) {
  const std::string_view split[] = {"ab", "c"};
  const std::string_view other[] = {"a", "bc"};
  EXPECT_EQ(StableId(split).size(), 32U);
  EXPECT_NE(StableId(split), StableId(other));
  EXPECT_EQ(StableId(split), StableId(split));
}

// Vectors of the reference implementation: the key 00 01 … 0f over the bytes 00 01 ….
TEST(SipHashTest, AgreesWithTheReference) {
  const SipKey key{0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
  EXPECT_EQ(SipHash128(key, ""), (Hash128{0xe6a825ba047f81a3U, 0x930255c71472f66dU}));
  EXPECT_EQ(SipHash128(key, std::string_view("\0", 1)),
            (Hash128{0x44af996bd8c187daU, 0x45fc229b11597634U}));
  EXPECT_NE(SipHash128(key, "12345678"), SipHash128(key, "12345679"));
  EXPECT_NE(SipHash128(key, "12345678"), SipHash128({}, "12345678"));
}

TEST(HexTest, RoundTripAndRefusals) {
  EXPECT_EQ(HexEncode(std::string_view("\x00\xff", 2)), "00ff");
  EXPECT_THAT(HexDecode("00fF"), IsOkAndHolds(std::string("\x00\xff", 2)));
  EXPECT_FALSE(HexDecode("0").ok());
  EXPECT_FALSE(HexDecode("0g").ok());
}

TEST(Base64UrlTest, RoundTripOfEveryLength) {
  std::string bytes;
  for (int i = 0; i < 70; ++i) {
    EXPECT_THAT(Base64UrlDecode(Base64UrlEncode(bytes)), IsOkAndHolds(bytes));
    bytes.push_back(static_cast<char>(i * 37));
  }
}

TEST(Base64UrlTest, OneValueHasOneText) {
  EXPECT_TRUE(Base64UrlDecode("AA").ok());
  EXPECT_FALSE(Base64UrlDecode("AB").ok());    // trailing bits
  EXPECT_FALSE(Base64UrlDecode("AA==").ok());  // padding
  EXPECT_FALSE(Base64UrlDecode("A+").ok());    // other alphabet
  EXPECT_FALSE(Base64UrlDecode("A").ok());
}

TEST(Base64Test, TextsOfTheStandard) {
  struct Case {
    std::string bytes;
    std::string text;
  };
  for (const Case& one : {Case{"", ""}, Case{"f", "Zg=="}, Case{"fo", "Zm8="}, Case{"foo", "Zm9v"},
                          Case{"\xfb\xff", "+/8="}}) {
    EXPECT_EQ(Base64Encode(one.bytes), one.text);
    EXPECT_THAT(Base64Decode(one.text), IsOkAndHolds(one.bytes));
  }
  EXPECT_THAT(Base64Decode("Zg"), IsOkAndHolds("f"));
  for (const char* text : {"=", "==", "Zg=", "Zg===", "Z===", "Zh==", "Z=g=", "-_8=", "Zm9v===="}) {
    EXPECT_THAT(Base64Decode(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}
}  // namespace
}  // namespace tocsin
