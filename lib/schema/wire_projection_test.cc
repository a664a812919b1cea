#include "lib/schema/wire_projection.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

constexpr char kProto3[] = R"(
syntax = "proto3";
message Event {
  enum Severity { UNKNOWN = 0; HIGH = 4; }
  message Place { string name = 1; Place within = 2; double latitude = 3; optional int32 floor = 4; }
  string source = 1;
  Severity severity = 2;
  Place place = 3;
  repeated int32 counts = 4;
  repeated Place others = 5;
  map<string, Place> by_name = 6;
  bytes raw = 7;
  sint64 delta = 8;
  fixed64 big = 9;
  sfixed32 small = 10;
  bool flag = 11;
  float ratio = 12;
  uint32 number = 13;
  oneof either { string left = 14; int64 right = 15; Place middle = 16; }
  optional uint64 maybe = 100;
}
)";
constexpr char kProto2[] = R"(
syntax = "proto2";
message Event {
  enum Severity { UNKNOWN = 0; HIGH = 4; }
  optional string source = 1 [default = "nobody"];
  optional Severity severity = 2 [default = HIGH];
  optional group Place = 3 { optional string name = 1; }
  repeated int32 counts = 4 [packed = true];
  oneof either { Severity left = 14; int64 right = 15; }
}
message Strict { required int32 id = 1; optional string text = 2; }
)";

void AddPaths(const Descriptor& type, const FieldPath& prefix, std::vector<FieldPath>& paths) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->is_repeated()) continue;
    FieldPath path = prefix;
    path.push_back(field);
    paths.push_back(path);
    if (field->message_type() != nullptr && path.size() < 3) {
      AddPaths(*field->message_type(), path, paths);
    }
  }
}

class WireProjectionTest : public ::testing::TestWithParam<const char*> {
 protected:
  WireProjectionTest() {
    google::protobuf::SetLogHandler(nullptr);
    schema_ = CompiledSchema::Compile({"event.proto", GetParam()}).value();
    Use("Event");
  }

  void Use(const std::string& name) {
    type_ = schema_->FindMessage(name);
    std::vector<FieldPath> paths;
    AddPaths(*type_, {}, paths);
    projection_ = WireProjection::Compile(type_, paths);
  }

  // Every slot as text; "refused" where the bytes are no message.
  std::string Read(std::string_view bytes) {
    ProjectedMessage message(projection_, *factory_.GetPrototype(type_));
    if (!message.Read(bytes)) return "refused";
    return Text(message.slots());
  }
  std::string ReadByParser(std::string_view bytes) {
    const std::unique_ptr<Message> message(factory_.GetPrototype(type_)->New());
    if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return "refused";
    std::deque<std::string> copies;
    std::vector<Slot> slots(projection_->size());
    projection_->ReadMessage(*message, copies, slots.data());
    return Text(slots.data());
  }
  std::string Text(const Slot* slots) const {
    std::string text;
    for (std::size_t i = 0; i < projection_->size(); ++i) {
      const FieldDescriptor& field = *projection_->path(i).back();
      if (field.has_presence()) text += slots[i].present ? '+' : '-';
      switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_STRING:
          text += HexEncode(slots[i].text());
          break;
        case FieldDescriptor::CPPTYPE_BOOL:
          text += slots[i].boolean ? "true" : "false";
          break;
        default:
          // NaN of a float may change its bits on the way to a double.
          text +=
              field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT && slots[i].real != slots[i].real
                  ? "nan"
                  : std::to_string(slots[i].natural);
      }
      text += ' ';
    }
    return text;
  }

  std::shared_ptr<const CompiledSchema> schema_;
  google::protobuf::DynamicMessageFactory factory_;
  const Descriptor* type_ = nullptr;
  std::shared_ptr<const WireProjection> projection_;
};
INSTANTIATE_TEST_SUITE_P(Syntax, WireProjectionTest, ::testing::Values(kProto3, kProto2),
                         [](const auto& test) { return test.index == 0 ? "Proto3" : "Proto2"; });

TEST_P(WireProjectionTest, ReadsWhatTheParserReads) {
  for (const char* hex :
       {"",
        // The last one wins; a message that comes twice is merged.
        "0a0161"
        "0a0162",
        "1a030a0161"
        "1a0922"
        "07"
        "1a030a0162",
        "1a050a0161200f"
        "1a021203",
        // Another member of the oneof clears, the same merges.
        "72016c"
        "7805",
        "7805"
        "72016c",
        "8201020a00"
        "7805",
        "7001"
        "7009",
        "7805"
        "7009",
        // Packed and not; another wire type is an unknown field; unknown fields of all types.
        "2203010203"
        "2004",
        "0805", "1205",
        "c03e01"
        "c13e0102030405060708"
        "c23e0161"
        "c53e01020304",
        // A group, ended and not, and one inside another.
        "c33e0801c43e", "c33e", "c33ecb3e0801cc3ec43e", "c33ecb3ec43ecc3e", "1b0a01611c",
        // Cut off, too long, numbers and types that do not exist.
        "0a", "0a05", "0a056161", "08", "1280", "12ffffffffffffffffff01",
        "12ffffffffffffffffffff01", "00", "06", "07", "0f", "1a020a05", "12ffffffff0f",
        "1a81808080800061", "8a808080800061",
        // UTF-8: a text must be, bytes need not; a key of a map is a text, too.
        "0a01ff", "3a01ff", "32030a01ff", "32050a01611200", "0a02c3a9",
        // Numbers at their ends.
        "40ffffffffffffffffff01", "68ffffffffffffffffff01", "5880808080808080808001",
        "10ffffffffffffffffff01", "a00600", "a006ffffffffffffffffff01"}) {
    const std::string bytes = HexDecode(hex).value();
    EXPECT_EQ(Read(bytes), ReadByParser(bytes)) << hex;
  }
}

TEST_P(WireProjectionTest, DepthIsBoundedAsInTheParser) {
  // Place within Place …, as length-delimited messages and as unknown groups.
  for (const int depth : {98, 99, 100, 101, 1000}) {
    std::string nested;
    for (int i = 0; i < depth; ++i) {
      std::string outer(1, i + 1 == depth ? '\x1a' : '\x12');
      for (std::size_t size = nested.size();; size >>= 7) {
        outer.push_back(static_cast<char>(size < 0x80 ? size : (size & 0x7f) | 0x80));
        if (size < 0x80) break;
      }
      nested.insert(0, outer);
    }
    EXPECT_EQ(Read(nested), ReadByParser(nested)) << depth;
    std::string groups;
    for (int i = 0; i < depth; ++i) groups += "\xc3\x3e";
    for (int i = 0; i < depth; ++i) groups += "\xc4\x3e";
    EXPECT_EQ(Read(groups), ReadByParser(groups)) << depth;
  }
}

// What a fuzzer does at length: messages by chance, bent by chance.
TEST_P(WireProjectionTest, BentBytesAreReadAsTheParserReadsThem) {
  std::mt19937_64 random(20261121);
  const std::unique_ptr<Message> message(factory_.GetPrototype(type_)->New());
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      std::string_view(GetParam()) == kProto3
          ? "source: 'abc' severity: HIGH place { name: 'n' within { latitude: 1 floor: 0 } } "
            "counts: [1, 2, 300] others { name: 'o' } by_name { key: 'k' value { name: 'v' } } "
            "raw: '\\377' delta: -5 big: 9 small: -1 flag: true ratio: 0.5 number: 7 right: 3 "
            "maybe: 0"
          : "source: 'abc' severity: UNKNOWN Place { name: 'n' } counts: [1, 2, 300] left: HIGH",
      message.get()));
  // Twice over, so that there is something to merge.
  const std::string seed = message->SerializeAsString() + message->SerializeAsString();
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed;
    for (std::size_t n = random() % 4; n > 0; --n) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1 + random() % 3);
          break;
        case 2:
          bytes.insert(at, seed.substr(random() % seed.size(), random() % 6));
          break;
        default:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      }
      if (bytes.empty()) bytes = seed;
    }
    const std::string expected = ReadByParser(bytes);
    if (expected != "refused") ++accepted;
    ASSERT_EQ(Read(bytes), expected) << HexEncode(bytes);
  }
  EXPECT_GT(accepted, 2'000);
}

TEST(WireProjection, RequiredFieldsAreLeftToTheParser) {
  google::protobuf::SetLogHandler(nullptr);
  const auto schema = CompiledSchema::Compile({"event.proto", kProto2}).value();
  google::protobuf::DynamicMessageFactory factory;
  const Descriptor* type = schema->FindMessage("Strict");
  const FieldPath path = {type->FindFieldByName("text")};
  const auto projection = WireProjection::Compile(type, std::vector<FieldPath>{path});
  ProjectedMessage message(projection, *factory.GetPrototype(type));
  EXPECT_FALSE(message.Read(HexDecode("120161").value()));
  const std::string bytes = HexDecode("0801120161").value();
  ASSERT_TRUE(message.Read(bytes));
  EXPECT_EQ(message.slots()[0].text(), "a");
}

TEST(WireProjection, EqualPathsShareASlotAndViewsKeepTheirOwnOrder) {
  const auto schema = CompiledSchema::Compile({"event.proto", kProto3}).value();
  google::protobuf::DynamicMessageFactory factory;
  const Descriptor* type = schema->FindMessage("Event");
  const FieldPath source = {type->FindFieldByName("source")};
  const FieldPath number = {type->FindFieldByName("number")};
  const auto projection =
      WireProjection::Compile(type, std::vector<FieldPath>{source, number, source});
  EXPECT_EQ(projection->size(), 2U);
  ProjectedMessage message(projection, *factory.GetPrototype(type));
  const std::string bytes = HexDecode("0a01616807").value();
  ASSERT_TRUE(message.Read(bytes));
  const std::uint32_t slots[] = {1, 0};
  const FieldView view(message, slots);
  EXPECT_EQ(view[0].natural, 7U);
  EXPECT_EQ(view[1].text(), "a");
  EXPECT_EQ(view.message().SerializeAsString(), bytes);
}

}  // namespace
}  // namespace tocsin::schema
