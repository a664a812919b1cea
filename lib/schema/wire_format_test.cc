#include "lib/schema/wire_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin::schema {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Hex(std::string_view text) { return HexDecode(text).value(); }

TEST(WireFormat, FirstMessageIsASingleZero) {
  const std::vector<std::int32_t> first = {0};
  EXPECT_EQ(EncodeFrame(SchemaId(1), first, "\x0a"), Hex("00000000010"
                                                         "00a"));
}

TEST(WireFormat, NestedPathIsZigZag) {
  const std::vector<std::int32_t> nested = {1, 0};
  EXPECT_EQ(EncodeFrame(SchemaId(0x01020304), nested, ""), Hex("0001020304040200"));
}

TEST(WireFormat, LargeIndexTakesSeveralBytes) {
  const std::vector<std::int32_t> path = {64, 2147483647};
  const std::string bytes = EncodeFrame(SchemaId(7), path, "xyz");
  const auto framed = DecodeFrame(bytes);
  ASSERT_THAT(framed, IsOk());
  EXPECT_EQ(framed->message_indexes, path);
  EXPECT_EQ(framed->payload, "xyz");
  EXPECT_EQ(framed->id, SchemaId(7));
}

TEST(WireFormat, AcceptsTheLongFormOfTheFirstMessage) {
  const std::string bytes =
      Hex("0000000009"
          "0200"
          "ff");
  const auto framed = DecodeFrame(bytes);
  ASSERT_THAT(framed, IsOk());
  EXPECT_THAT(framed->message_indexes, ElementsAre(0));
  EXPECT_EQ(framed->payload, "\xff");
}

TEST(WireFormat, EmptyPayloadIsAMessage) {
  const std::string bytes = Hex("000000000900");
  const auto framed = DecodeFrame(bytes);
  ASSERT_THAT(framed, IsOk());
  EXPECT_TRUE(framed->payload.empty());
}

struct BadFrame {
  std::string name;
  std::string hex;
  std::string message;
};

class WireFormatRefuses : public ::testing::TestWithParam<BadFrame> {};

TEST_P(WireFormatRefuses, WithTheReason) {
  EXPECT_THAT(DecodeFrame(Hex(GetParam().hex)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Table, WireFormatRefuses,
    ::testing::Values(BadFrame{"Empty", "", "no bytes"},
                      BadFrame{"PlainProtobuf", "0a0568656c6c6f", "begins with 0x0a"},
                      BadFrame{"Json", "7b7d", "0x7b"}, BadFrame{"Guid", "0100", "schema GUID"},
                      BadFrame{"CutId", "000000", "cut off: 3 bytes"},
                      BadFrame{"IdZero", "000000000000", "schema id 0"},
                      BadFrame{"IdNegative", "00ffffffff00", "schema id 4294967295"},
                      BadFrame{"NoIndexes", "0000000001", "indexes are cut off"},
                      BadFrame{"CutIndexes", "00000000010402", "indexes are cut off"},
                      BadFrame{"NegativeCount", "000000000101", "count of message indexes is -1"},
                      BadFrame{"CountTooLarge", "0000000001ca0100", "is 101"},
                      BadFrame{"NegativeIndex", "00000000010201", "index -1 is negative"},
                      BadFrame{"VarintTooLong", "0000000001ffffffffff01", "cut off"}),
    [](const auto& test) { return test.param.name; });

TEST(WireFormat, GuidHeader) {
  const std::string bytes =
      Hex("01"
          "00112233445566778899aabbccddeeff"
          "040200");
  const auto header = DecodeGuidHeader(bytes);
  ASSERT_THAT(header, IsOk());
  EXPECT_EQ(FormatGuid(header->guid), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_THAT(header->message_indexes, ElementsAre(1, 0));
  EXPECT_EQ(EncodeGuidHeader(header->guid, header->message_indexes), bytes);
}

TEST(WireFormat, GuidHeaderWithoutIndexesMeansTheFirstMessage) {
  const auto header =
      DecodeGuidHeader(Hex("01"
                           "00112233445566778899aabbccddeeff"));
  ASSERT_THAT(header, IsOk());
  EXPECT_THAT(header->message_indexes, ElementsAre(0));
}

TEST(WireFormat, GuidHeaderRefused) {
  EXPECT_THAT(DecodeGuidHeader(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DecodeGuidHeader(Hex("0100")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cut off: 2 bytes")));
  EXPECT_THAT(DecodeGuidHeader(Hex("01"
                                   "00112233445566778899aabbccddeeff"
                                   "0000")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 bytes too many")));
}

}  // namespace
}  // namespace tocsin::schema
