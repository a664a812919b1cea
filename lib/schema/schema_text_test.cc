// Canonical and normal form: what they keep, and what they make equal.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/coded_stream.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/testing/random_schema.h"

namespace tocsin::schema {
namespace {

using testing::Random;

std::shared_ptr<const CompiledSchema> Compile(const std::string& text) {
  auto schema = CompiledSchema::Compile({"test.proto", text}, testing::ImportsOfRandomSchemas());
  EXPECT_THAT(schema, IsOk()) << text;
  return schema.ok() ? *schema : nullptr;
}

// The descriptor of the file, its custom options among it, as text.
std::string Described(const CompiledSchema& schema) {
  const google::protobuf::DescriptorPool& pool = *schema.file().pool();
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> file(
      factory.GetPrototype(pool.FindMessageTypeByName("google.protobuf.FileDescriptorProto"))
          ->New());
  const std::string bytes = schema.Serialized();
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetExtensionRegistry(&pool, &factory);
  EXPECT_TRUE(file->MergeFromCodedStream(&stream));
  return file->DebugString();
}

// Both forms compile; the canonical one to an equal descriptor; both are stable; the normal one
// keeps the messages at their indexes.
void ExpectFormsHold(const std::string& text) {
  const auto schema = Compile(text);
  ASSERT_TRUE(schema);
  const std::string canonical = CanonicalText(*schema);
  const auto again = Compile(canonical);
  ASSERT_TRUE(again) << canonical;
  EXPECT_EQ(Described(*again), Described(*schema)) << text << "\n-----\n" << canonical;
  EXPECT_EQ(again->fingerprint(), schema->fingerprint());
  EXPECT_EQ(CanonicalText(*again), canonical);
  const std::string normal = NormalizedText(*schema);
  const auto normalized = Compile(normal);
  ASSERT_TRUE(normalized) << normal;
  EXPECT_EQ(NormalizedText(*normalized), normal);
  EXPECT_EQ(NormalizedText(*again), normal);
  EXPECT_EQ(normalized->MessageNames(), schema->MessageNames());
  for (const std::string& name : schema->MessageNames()) {
    EXPECT_EQ(MessageIndexes(*normalized->FindMessage(name)),
              MessageIndexes(*schema->FindMessage(name)))
        << name << "\n"
        << text << "\n-----\n"
        << normal;
  }
  for (const Finding& finding : Differences(*schema, *normalized)) {
    ADD_FAILURE() << KindName(finding.kind) << " at " << finding.path << "\n" << normal;
  }
}

class Text : public ::testing::TestWithParam<std::string> {};

TEST_P(Text, FormsHold) { ExpectFormsHold(GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    Proto2, Text,
    ::testing::Values(
        "", "package p;", "message M {}", "syntax = 'proto2'; message M { reserved 1, 3 to 5, 9; }",
        R"(message M {
             optional string text = 1 [default = "q\"b\\n\n\t\001\377 ä '"];
             optional bytes raw = 2 [default = "\x00\xff\1112"];
             optional double d = 3 [default = nan];
             optional double e = 4 [default = -inf];
             optional float f = 5 [default = 1e-40];
             optional double g = 6 [default = 0.1];
             optional int64 h = 7 [default = -9223372036854775808];
             optional uint64 i = 8 [default = 18446744073709551615];
             optional bool j = 9 [default = true];
             optional E k = 10 [default = B];
             optional float l = 11 [default = 1e20];
             optional double m = 12 [default = 123456789012345680000.0];
             enum E { A = -5; B = 7; reserved -3, 10 to max, -100 to -50; reserved "X", "Y"; }
           })",
        R"(message M {
             message First {}
             optional group Part = 3 [deprecated = true] {
               option no_standard_descriptor_accessor = true;
               optional group Deep = 1 { required int32 x = 1; }
             }
             message Second {}
             map<string, Second> by_name = 1;
             message Third {}
             oneof either { int32 a = 8; group InOneof = 7 { optional int32 y = 1; } string b = 6; }
             repeated group Many = 5 {}
             message Fourth {}
           })",
        R"(message M {
             extensions 100 to max;
             extend M { optional int32 before = 101; optional group G = 100 {} }
             map<int32, M> z = 5;
             message N {}
             extend M { optional int32 between = 103; }
             map<int32, N> a = 1;
             message O {}
             extend M { optional group H = 102 {} }
           })",
        R"(message M {
             extensions 100 to 199, 500, 1000 to max;
             extensions 200 to 299 [(imported_range) = "x"];
             extend M { optional int32 inner = 110; }
             message N { extensions 4 to max; option message_set_wire_format = true; }
           }
           import "google/protobuf/descriptor.proto";
           extend google.protobuf.ExtensionRangeOptions { optional string imported_range = 50000; }
           extend M { repeated string outer = 100; optional M self = 101; }
           extend M { optional group InExtension = 120 { optional int32 x = 1; } }
           message After {})",
        R"(enum E { option allow_alias = true; A = 3; B = 3 [deprecated = true]; C = -1; D = 3; }
           message M { reserved "z", "a", "z2"; reserved 7 to max; optional E e = 1; })"));

INSTANTIATE_TEST_SUITE_P(Proto3, Text,
                         ::testing::Values(
                             R"(syntax = "proto3"; package a.b.c;
           import public "google/protobuf/any.proto";
           import weak "google/protobuf/duration.proto";
           import "google/type/latlng.proto";
           option java_package = "x"; option go_package = "\"quoted\""; option deprecated = true;
           message M {
             optional int32 presence = 2;
             int32 snake_case_name = 1 [json_name = "other"];
             repeated int64 numbers = 3 [packed = false, jstype = JS_STRING];
             a.b.c.M self = 4;
             google.type.LatLng at = 5;
             map<int32, E> kinds = 7;
             oneof o { option (custom_oneof) = -7; bytes b = 9; string s = 8; }
             enum E { Z = 0; NEGATIVE = -1; }
           }
           import "google/protobuf/descriptor.proto";
           extend google.protobuf.OneofOptions { sint32 custom_oneof = 50001; }
           service S {
             option deprecated = true;
             rpc Two(stream M) returns (stream M) { option idempotency_level = IDEMPOTENT; }
             rpc One(M) returns (.a.b.c.M);
           })",
                             R"(syntax = "proto3";
           import "confluent/meta.proto"; import "confluent/type/decimal.proto";
           option (confluent.file_meta) = { doc: "a;\"b\"\n", tags: ["x", "y"],
             params: [{ key: "k2" value: "v" }, { key: "k1", value: "w" }] };
           message M {
             option (confluent.message_meta).doc = "d";
             confluent.type.Decimal d = 1 [(confluent.field_meta).tags = "PII",
                                           (confluent.field_meta).tags = "X"];
           }
           enum E { A = 0 [(confluent.enum_value_meta) = { doc: "zero" }]; })"));

TEST(SchemaText, FormsHoldOfSchemasByChance) {
  Random random(5);
  for (int round = 0; round < 300 && !::testing::Test::HasFailure(); ++round) {
    testing::SchemaModel model = testing::RandomSchema(random);
    testing::Mutate(model, random);
    ExpectFormsHold(testing::Render(model, &random));
  }
}

TEST(SchemaText, CanonicalTextReadsAsATextDoes) {
  EXPECT_EQ(CanonicalText(*Compile(R"(// about
    syntax = 'proto3';
    enum E { A = 0; }
    message M { // more
      repeated E e = 2 [deprecated=true]; M m = 1; oneof o { string s = 3; } map<string,M> t = 4;
    }
    import 'google/protobuf/any.proto';
    package p;)")),
            R"(syntax = "proto3";
package p;
import "google/protobuf/any.proto";
message M {
  repeated .p.E e = 2 [deprecated = true];
  .p.M m = 1;
  oneof o {
    string s = 3;
  }
  map<string, .p.M> t = 4;
}
enum E {
  A = 0;
}
)");
}

TEST(SchemaText, NormalFormsAreEqualWhereOnlyTheOrderDiffers) {
  const std::string one = NormalizedText(*Compile(R"(
    import "google/protobuf/any.proto";
    import "google/type/date.proto";
    option java_package = "j"; option go_package = "g";
    message M {
      reserved 20 to 25; reserved "b", "a"; reserved 26, 10;
      optional E e = 3;
      oneof o { int32 x = 7; int32 y = 2; }
      optional M m = 1 [lazy = true, deprecated = true];
    }
    enum E { A = 0; C = 2; B = 1; })"));
  const std::string other = NormalizedText(*Compile(R"(
    syntax = "proto2";
    import "google/type/date.proto";
    import "google/protobuf/any.proto";
    option go_package = "g"; option java_package = "j";
    enum E { A = 0; B = 1; C = 2; }
    message M {
      optional .M m = 1 [deprecated = true, lazy = true];
      oneof o { int32 y = 2; int32 x = 7; }
      optional .E e = 3;
      reserved 10; reserved 20 to 26;
      reserved "a"; reserved "b";
    })"));
  EXPECT_EQ(one, other);
  EXPECT_EQ(one, R"(import "google/protobuf/any.proto";
import "google/type/date.proto";
option go_package = "g";
option java_package = "j";
message M {
  reserved 10, 20 to 26;
  reserved "a", "b";
  optional .M m = 1 [deprecated = true, lazy = true];
  oneof o {
    int32 y = 2;
    int32 x = 7;
  }
  optional .E e = 3;
}
enum E {
  A = 0;
  B = 1;
  C = 2;
}
)");
}

TEST(SchemaText, NormalFormsDifferWhereTheMeaningDoes) {
  const auto normal = [](const std::string& text) { return NormalizedText(*Compile(text)); };
  EXPECT_NE(normal("message A {} message B {}"), normal("message B {} message A {}"));
  EXPECT_NE(normal("enum E { A = 0; B = 1; }"), normal("enum E { B = 1; A = 0; }"));
  EXPECT_NE(normal("message A { optional int32 a = 1 [default = 1]; }"),
            normal("message A { optional int32 a = 1 [default = 2]; }"));
  EXPECT_NE(normal("message A { message N {} map<int32, int32> m = 1; }"),
            normal("message A { map<int32, int32> m = 1; message N {} }"));
}

}  // namespace
}  // namespace tocsin::schema
