#include "lib/schema/wire_validator.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {
namespace {

using ::google::protobuf::Descriptor;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr char kSchema[] = R"(
syntax = "proto3";
message Event {
  enum Severity { UNKNOWN = 0; HIGH = 4; }
  message Place {
    string name = 1;
    Place within = 2;
    repeated Place near = 3;
    double latitude = 4;
  }
  string source = 1;
  Severity severity = 2;
  repeated Place places = 3;
  repeated int32 counts = 4;
  repeated fixed32 marks = 5;
  map<string, Place> by_name = 6;
  bytes raw = 7;
  sint64 delta = 8;
  fixed64 big = 9;
  sfixed32 small = 10;
  bool flag = 11;
  float ratio = 12;
  uint32 number = 13;
  oneof either { string left = 14; int64 right = 15; }
}
)";

constexpr char kProto2Schema[] = R"(
syntax = "proto2";
message Old {
  required int32 id = 1;
  optional string text = 2;
  optional group Part = 3 { required bool on = 1; }
  extensions 100 to 200;
}
extend Old { optional Old inner = 100; }
)";

std::string Hex(std::string_view text) { return HexDecode(text).value(); }

class WireValidator : public ::testing::Test {
 protected:
  static const Descriptor& Event() {
    static const auto* const schema = new std::shared_ptr<const CompiledSchema>(
        CompiledSchema::Compile({"event.proto", kSchema}).value());
    return *(*schema)->FindMessage("Event");
  }
  static const Descriptor& Old() {
    static const auto* const schema = new std::shared_ptr<const CompiledSchema>(
        CompiledSchema::Compile({"old.proto", kProto2Schema}).value());
    return *(*schema)->FindMessage("Old");
  }
  static bool ProtobufParses(const Descriptor& type, const std::string& bytes) {
    google::protobuf::DynamicMessageFactory factory;
    const std::unique_ptr<google::protobuf::Message> message(factory.GetPrototype(&type)->New());
    return message->ParseFromString(bytes);
  }
};

struct Bytes {
  std::string name;
  std::string hex;
  // Empty: accepted.
  std::string message;
};

class WireTable : public WireValidator, public ::testing::WithParamInterface<Bytes> {};

TEST_P(WireTable, Verdict) {
  const std::string bytes = Hex(GetParam().hex);
  if (GetParam().message.empty()) {
    EXPECT_THAT(Validate(Event(), bytes), IsOk());
    EXPECT_TRUE(ProtobufParses(Event(), bytes));
  } else {
    EXPECT_THAT(Validate(Event(), bytes),
                StatusIs(absl::StatusCode::kInvalidArgument, GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(Good, WireTable,
                         ::testing::Values(Bytes{"Empty", "", ""}, Bytes{"Text", "0a03e282ac", ""},
                                           Bytes{"Enum", "1004", ""},
                                           Bytes{"UnknownEnumValue", "107f", ""},
                                           Bytes{"Packed", "2203018002", ""},
                                           Bytes{"Unpacked", "20012002", ""},
                                           Bytes{"PackedFixed", "2a080100000002000000", ""},
                                           Bytes{"UnpackedFixed", "2d01000000", ""},
                                           Bytes{"Map",
                                                 "32070a0161120212"
                                                 "00",
                                                 ""},
                                           Bytes{"BytesNeedNotBeUtf8", "3a02fffe", ""},
                                           Bytes{"UnknownField", "f80101", ""},
                                           Bytes{"UnknownGroup", "a306a3060801a406a406", ""},
                                           Bytes{"NegativeEnum", "10ffffffffffffffffff01", ""},
                                           Bytes{"LongTag", "8a808080000161", ""}),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Bad, WireTable,
    ::testing::Values(
        Bytes{"FieldZero", "0001", "Event at byte 0: field number 0"},
        Bytes{"CutTag", "80", "Event at byte 0: the bytes end inside a varint"},
        Bytes{"CutVarint", "1080", "severity at byte 1: the bytes end inside a varint"},
        Bytes{"LongVarint", "10ffffffffffffffffffff01",
              "severity at byte 1: a varint longer than 10 bytes"},
        Bytes{"TagTooLarge", "ffffffff7f01", "Event at byte 0: a field number above 536870911"},
        Bytes{"WireType6", "0e01", "Event at byte 0: wire type 6 does not exist"},
        Bytes{"WireType7", "0f01", "Event at byte 0: wire type 7 does not exist"},
        Bytes{"LengthBeyondEnd", "0a0561",
              "source at byte 1: a length that goes beyond the end of the bytes"},
        Bytes{"LengthOf2To31", "0a8080808008",
              "source at byte 1: a length that goes beyond the end of the bytes"},
        Bytes{"LengthOf2To64", "0affffffffffffffffff01",
              "source at byte 1: a length that goes beyond the end of the bytes"},
        Bytes{"Utf8", "0a02c328", "source at byte 2: not valid UTF-8"},
        Bytes{"Utf8InMapKey", "32030a01ff", "by_name.key at byte 4: not valid UTF-8"},
        Bytes{"WrongWireType", "12024142",
              "severity at byte 0: length-delimited, where the schema says a varint (enum)"},
        Bytes{"NumberForText", "0801",
              "source at byte 0: a varint, where the schema says length-delimited (string)"},
        Bytes{"FieldZeroInside", "1a0101", "places[0] at byte 2: field number 0"},
        Bytes{"PackedForSingular", "420101",
              "delta at byte 0: length-delimited, where the schema says a varint (sint64)"},
        Bytes{"Nested",
              "1a001a021200"
              "1a041a020800",
              "places[2].near[0].name at byte 10: a varint, where the schema says "
              "length-delimited (string)"},
        Bytes{"PackedCut", "220180", "counts[0] at byte 2: the bytes end inside a varint"},
        Bytes{"PackedFixedSize", "2a03010203",
              "marks[0] at byte 2: packed values of 4 bytes in 3 bytes"},
        Bytes{"Fixed32Cut", "550102", "small at byte 1: the bytes end inside a 4-byte value"},
        Bytes{"Fixed64Cut", "490102", "big at byte 1: the bytes end inside an 8-byte value"},
        Bytes{"EndGroupAlone", "a406", "Event at byte 0: the end of a group that was not begun"},
        Bytes{"OtherEndGroup", "a306ac06", "unknown field 100 at byte 2: the end of another group"},
        Bytes{"GroupNotEnded", "a3060801",
              "unknown field 100 at byte 4: the bytes end inside a group"}),
    [](const auto& test) { return test.param.name; });

std::string Varint(std::size_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}

std::string NestedPlaces(int depth) {
  std::string bytes;
  for (int i = 1; i < depth; ++i) bytes = "\x12" + Varint(bytes.size()) + bytes;
  return "\x1a" + Varint(bytes.size()) + bytes;
}

std::string UnknownGroups(int depth) {
  std::string bytes;
  for (int i = 0; i < depth; ++i) bytes += "\xa3\x06";
  for (int i = 0; i < depth; ++i) bytes += "\xa4\x06";
  return bytes;
}

TEST_F(WireValidator, DepthIsProtobufs) {
  EXPECT_THAT(Validate(Event(), NestedPlaces(100)), IsOk());
  EXPECT_TRUE(ProtobufParses(Event(), NestedPlaces(100)));
  EXPECT_THAT(
      Validate(Event(), NestedPlaces(101)),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nested deeper than 100 messages")));
  EXPECT_FALSE(ProtobufParses(Event(), NestedPlaces(101)));
}

TEST_F(WireValidator, DepthOfUnknownGroups) {
  EXPECT_THAT(Validate(Event(), UnknownGroups(100)), IsOk());
  EXPECT_TRUE(ProtobufParses(Event(), UnknownGroups(100)));
  EXPECT_THAT(Validate(Event(), UnknownGroups(101)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nested deeper")));
  EXPECT_THAT(Validate(Event(), UnknownGroups(500'000)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nested deeper")));
}

TEST_F(WireValidator, Proto2) {
  EXPECT_THAT(Validate(Old(), Hex("0801")), IsOk());
  EXPECT_THAT(Validate(Old(), Hex("08011201ff")), IsOk()) << "proto2 does not check UTF-8";
  EXPECT_THAT(Validate(Old(), Hex("08011b08011c")), IsOk());
  EXPECT_THAT(Validate(Old(), ""),
              StatusIs(absl::StatusCode::kInvalidArgument, "id at byte 0: required, and missing"));
  EXPECT_THAT(Validate(Old(), Hex("08011b1c")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("part.on at byte 4")));
  EXPECT_THAT(Validate(Old(), Hex("0801a20600")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[inner].id at byte 5")));
}

// What the scanner accepts, Protobuf parses: over bytes made by mutation of good ones.
TEST_F(WireValidator, NeverAcceptsWhatProtobufRefuses) {
  const std::vector<std::string> seeds = {
      Hex("0a0361626310041a0a0a0161120112"
          "0a00220200012a0401000000"),
      Hex("32070a016112021a003a0141400149010203040506070851010203045801"),
      NestedPlaces(5) + UnknownGroups(3),
      Hex("08011b08011c12016a"
          "a206020801")};
  std::mt19937_64 random(911);
  int accepted = 0;
  for (int round = 0; round < 30'000; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    const Descriptor& type = round % 4 == 0 ? Old() : Event();
    for (auto left = random() % 4; left > 0; --left) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.insert(at, 1, static_cast<char>(random() % 4 == 0 ? random() : random() % 0x40));
          break;
        case 2:
          if (bytes.size() > 1) bytes.erase(at, 1);
          break;
        default:
          bytes.resize(at + 1);
          break;
      }
    }
    if (!Validate(type, bytes).ok()) continue;
    ++accepted;
    ASSERT_TRUE(ProtobufParses(type, bytes)) << HexEncode(bytes);
  }
  EXPECT_GT(accepted, 1000);
}

TEST_F(WireValidator, ReadsTopLevelFields) {
  const auto read = [](std::string_view field, std::string_view hex) {
    const std::string bytes = Hex(hex);
    return ReadField(*Event().FindFieldByName(std::string(field)), bytes).value();
  };
  EXPECT_THAT(read("source",
                   "1004"
                   "0a026869"),
              Optional(FieldValue(std::string("hi"))));
  EXPECT_THAT(read("source", "1004"), Eq(std::nullopt));
  EXPECT_THAT(read("source",
                   "0a0161"
                   "0a0162"),
              Optional(FieldValue(std::string("b"))))
      << "the last one counts";
  EXPECT_THAT(read("severity", "10ffffffffffffffffff01"), Optional(FieldValue(std::int64_t{-1})));
  EXPECT_THAT(read("delta", "4003"), Optional(FieldValue(std::int64_t{-2})));
  EXPECT_THAT(read("big", "49ffffffffffffffff"), Optional(FieldValue(~std::uint64_t{0})));
  EXPECT_THAT(read("small", "55feffffff"), Optional(FieldValue(std::int64_t{-2})));
  EXPECT_THAT(read("flag", "5801"), Optional(FieldValue(true)));
  EXPECT_THAT(read("ratio", "650000003f"), Optional(FieldValue(0.5)));
  EXPECT_THAT(read("number", "68ffffffff0f"), Optional(FieldValue(std::uint64_t{0xffffffff})));
  EXPECT_THAT(read("left",
                   "720161"
                   "7805"),
              Eq(std::nullopt))
      << "cleared by the other member";
  EXPECT_THAT(read("left",
                   "7805"
                   "720161"),
              Optional(FieldValue(std::string("a"))));
  EXPECT_THAT(read("source", "1a030a0178"), Eq(std::nullopt)) << "a nested field 1 is another";
}

TEST_F(WireValidator, ReadFieldRefusals) {
  EXPECT_THAT(ReadField(*Event().FindFieldByName("places"), ""),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("it is repeated")));
  EXPECT_THAT(ReadField(*Event().FindFieldByName("source"), Hex("1080")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "source: the message breaks at byte 1: the bytes end inside a varint"));
}

TEST_F(WireValidator, ReadsAsText) {
  const auto text = [](std::string_view field, std::string_view hex) {
    return ReadFieldAsText(*Event().FindFieldByName(std::string(field)), Hex(hex)).value();
  };
  EXPECT_EQ(text("severity", "1004"), "HIGH");
  EXPECT_EQ(text("severity", "1009"), "9");
  EXPECT_EQ(text("severity", ""), "");
  EXPECT_EQ(text("source", "0a0161"), "a");
  EXPECT_EQ(text("delta", "4003"), "-2");
  EXPECT_EQ(text("flag", "5801"), "true");
}

TEST(Utf8, Table) {
  struct Case {
    std::string hex;
    bool valid;
  };
  for (const Case& c : std::vector<Case>{{"", true},
                                         {"6162636465666768696a", true},
                                         {"61626364656667c3", false},
                                         {"c3a9", true},
                                         {"c0af", false},
                                         {"c1bf", false},
                                         {"e282ac", true},
                                         {"e28228", false},
                                         {"e09fbf", false},
                                         {"eda080", false},
                                         {"ed9fbf", true},
                                         {"f09f9a92", true},
                                         {"f08fbfbf", false},
                                         {"f48fbfbf", true},
                                         {"f4908080", false},
                                         {"f5808080", false},
                                         {"80", false}}) {
    EXPECT_EQ(IsValidUtf8(HexDecode(c.hex).value()), c.valid) << c.hex;
  }
}

}  // namespace
}  // namespace tocsin::schema
