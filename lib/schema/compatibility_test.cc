#include "lib/schema/compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::schema {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Schema = std::shared_ptr<const CompiledSchema>;

Schema Compile(std::string_view text, const std::vector<SourceFile>& imports = {}) {
  auto schema = CompiledSchema::Compile({"test.proto", std::string(text)}, imports);
  EXPECT_THAT(schema, IsOk());
  return schema.ok() ? *schema : nullptr;
}

// The kinds of the incompatible differences, with a blank between them.
std::string Incompatible(const CompiledSchema& older, const CompiledSchema& newer) {
  std::vector<std::string> kinds;
  for (const Finding& finding : Differences(older, newer)) {
    if (!IsCompatible(finding.kind)) kinds.emplace_back(KindName(finding.kind));
  }
  return Join(kinds, " ");
}

// One row of the table of changes. `body` texts stand inside `message M { … }` of a proto3 file
// unless they begin with "syntax". An empty kind: compatible.
struct Change {
  std::string name;
  std::string before;
  std::string after;
  std::string backward;
  std::string forward;
};

std::string Expand(const std::string& text) {
  if (text.rfind("syntax", 0) == 0) return text;
  return Concat("syntax = \"proto3\"; package p; enum E { A = 0; } enum F { B = 0; } ",
                "message X { int32 a = 1; } message Y { int32 a = 1; } message M {", text, "}");
}

class ConfluentVerdict : public ::testing::TestWithParam<Change> {};

TEST_P(ConfluentVerdict, BothDirections) {
  const Schema before = Compile(Expand(GetParam().before));
  const Schema after = Compile(Expand(GetParam().after));
  ASSERT_TRUE(before && after);
  EXPECT_EQ(Incompatible(*before, *after), GetParam().backward) << "backward";
  EXPECT_EQ(Incompatible(*after, *before), GetParam().forward) << "forward";
}

constexpr char kScalar[] = "FIELD_SCALAR_KIND_CHANGED";
constexpr char kKind[] = "FIELD_KIND_CHANGED";
constexpr char kNamed[] = "FIELD_NAMED_TYPE_CHANGED";
constexpr char kLabel[] = "FIELD_NUMERIC_LABEL_CHANGED";
constexpr char kRemoved[] = "MESSAGE_REMOVED";
constexpr char kOneofField[] = "ONEOF_FIELD_REMOVED";
constexpr char kMultiple[] = "MULTIPLE_FIELDS_MOVED_TO_ONEOF";
constexpr char kExisting[] = "FIELD_MOVED_TO_EXISTING_ONEOF";
constexpr char kPackage[] = "PACKAGE_CHANGED";

INSTANTIATE_TEST_SUITE_P(
    Fields, ConfluentVerdict,
    ::testing::Values(
        Change{"Same", "int32 a = 1;", "int32 a = 1;", "", ""},
        Change{"Added", "int32 a = 1;", "int32 a = 1; string b = 2;", "", ""},
        Change{"RemovedWithReserve", "int32 a = 1; int32 b = 2;", "int32 a = 1; reserved 2;", "",
               ""},
        Change{"Renamed", "int32 a = 1;", "int32 b = 1;", "", ""},
        Change{"Renumbered", "int32 a = 1;", "int32 a = 2;", "", ""},
        Change{"JsonName", "int32 a = 1;", "int32 a = 1 [json_name = \"z\"];", "", ""},
        Change{"ReservedReused", "reserved 2; int32 a = 1;", "int32 a = 1; string b = 2;", "", ""},
        Change{"VarintGroup", "int32 a = 1; int64 b = 2; bool c = 3; E d = 4;",
               "uint64 a = 1; E b = 2; uint32 c = 3; F d = 4;", "", ""},
        Change{"ZigZagGroup", "sint32 a = 1;", "sint64 a = 1;", "", ""},
        Change{"TextGroup", "string a = 1;", "bytes a = 1;", "", ""},
        Change{"Fixed32Group", "fixed32 a = 1;", "sfixed32 a = 1;", "", ""},
        Change{"Fixed64Group", "fixed64 a = 1;", "sfixed64 a = 1;", "", ""},
        Change{"VarintToZigZag", "int32 a = 1;", "sint32 a = 1;", kScalar, kScalar},
        Change{"VarintToText", "int32 a = 1;", "string a = 1;", kScalar, kScalar},
        Change{"VarintToFixed", "int32 a = 1;", "fixed32 a = 1;", kScalar, kScalar},
        Change{"FixedWidth", "fixed32 a = 1;", "fixed64 a = 1;", kScalar, kScalar},
        Change{"FloatToDouble", "float a = 1;", "double a = 1;", kScalar, kScalar},
        Change{"FloatToFixed32", "float a = 1;", "fixed32 a = 1;", kScalar, kScalar},
        Change{"EnumToString", "E a = 1;", "string a = 1;", kScalar, kScalar},
        Change{"MessageToBytes", "X a = 1;", "bytes a = 1;", kKind, kKind},
        Change{"MessageToString", "X a = 1;", "string a = 1;", kKind, kKind},
        Change{"MessageToScalar", "X a = 1;", "int32 a = 1;", kKind, kKind},
        Change{"MessageToMap", "X a = 1;", "map<string, X> a = 1;", kKind, kKind},
        Change{"MessageToOther", "X a = 1;", "Y a = 1;", kNamed, kNamed},
        Change{"MapWithinGroup", "map<int32, E> a = 1;", "map<uint64, int32> a = 1;", "", ""},
        Change{"MapKey", "map<int32, int32> a = 1;", "map<string, int32> a = 1;", kScalar, kScalar},
        Change{"MapValue", "map<int32, int32> a = 1;", "map<int32, double> a = 1;", kScalar,
               kScalar},
        Change{"MapValueMessage", "map<int32, X> a = 1;", "map<int32, Y> a = 1;", kNamed, kNamed},
        Change{"MapRemoved", "int32 b = 2; map<int32, int32> a = 1;", "int32 b = 2;", "", ""},
        Change{"UnlabelledToRepeated", "int32 a = 1;", "repeated int32 a = 1;", "", ""},
        Change{"UnlabelledToOptional", "int32 a = 1;", "optional int32 a = 1;", "", ""},
        Change{"OptionalToRepeated", "optional int32 a = 1;", "repeated int32 a = 1;", kLabel,
               kLabel},
        Change{"RepeatedEnumToOptional", "repeated E a = 1;", "optional E a = 1;", kLabel, kLabel},
        Change{"RepeatedString", "optional string a = 1;", "repeated string a = 1;", "", ""},
        Change{"RepeatedMessage", "optional X a = 1;", "repeated X a = 1;", "", ""}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Oneofs, ConfluentVerdict,
    ::testing::Values(Change{"AddedWithNewFields", "int32 z = 9;",
                             "int32 z = 9; oneof o { int32 a = 1; X b = 2;}", "", ""},
                      Change{"Renamed", "oneof o { int32 a = 1; X b = 2; }",
                             "oneof q { int32 a = 1; X b = 2; }", "", ""},
                      Change{"MemberAdded", "oneof o { int32 a = 1; }",
                             "oneof o { int32 a = 1; X b = 2; }", "", kOneofField},
                      Change{"OneFieldIntoNew", "int32 a = 1;", "oneof o { int32 a = 1; }", "", ""},
                      Change{"TwoFieldsIntoNew", "int32 a = 1; int32 b = 2;",
                             "oneof o { int32 a = 1; int32 b = 2; }", kMultiple, ""},
                      Change{"OneFieldIntoExisting", "int32 a = 1; oneof o { int32 b = 2; }",
                             "oneof o { int32 a = 1; int32 b = 2; }", kExisting, ""},
                      Change{"OneFieldWithABrandNewMember", "int32 a = 1;",
                             "oneof o { int32 a = 1; int32 b = 2; }", "", kOneofField},
                      Change{"MemberToTopLevel", "oneof o { int32 a = 1; int32 b = 2; }",
                             "int32 a = 1; oneof o { int32 b = 2; }", "", kExisting},
                      Change{"Dissolved", "oneof o { int32 a = 1; int32 b = 2; }",
                             "int32 a = 1; int32 b = 2;", "", kMultiple},
                      Change{"Merged", "oneof o { int32 a = 1; } oneof q { int32 b = 2; }",
                             "oneof o { int32 a = 1; int32 b = 2; }", kMultiple, ""},
                      Change{"MemberDroppedWhileRenamed", "oneof o { int32 a = 1; int32 b = 2; }",
                             "oneof q { int32 a = 1; }", kOneofField, ""}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Files, ConfluentVerdict,
    ::testing::Values(
        Change{"MessageAdded", "syntax = 'proto3'; message A {}",
               "syntax = 'proto3'; message A {} message B {}", "", kRemoved},
        Change{"NestedMessageRemoved", "syntax = 'proto3'; message A { message B {} }",
               "syntax = 'proto3'; message A {}", kRemoved, ""},
        Change{"MessageMovedToTop", "syntax = 'proto3'; message A { message B {} }",
               "syntax = 'proto3'; message A {} message B {}", kRemoved, kRemoved},
        Change{"MessagesReordered", "syntax = 'proto3'; message A {} message B {}",
               "syntax = 'proto3'; message B {} message A {}", "", ""},
        Change{"PackageChanged", "syntax = 'proto3'; package p; message A { A a = 1; }",
               "syntax = 'proto3'; package q; message A { A a = 1; }", kPackage, kPackage},
        Change{"PackageAdded", "syntax = 'proto3'; message A {}",
               "syntax = 'proto3'; package q; message A {}", kPackage, kPackage},
        Change{"EnumValues", "syntax = 'proto3'; enum E { A = 0; B = 1; C = 2; }",
               "syntax = 'proto3'; enum E { A = 0; Z = 1; D = 3; }", "", ""},
        Change{"EnumRemoved", "syntax = 'proto3'; enum E { A = 0; } message M {}",
               "syntax = 'proto3'; message M {}", "", ""},
        Change{"ServiceRemoved",
               "syntax = 'proto3'; message M {} service S { rpc R(M) returns (M); }",
               "syntax = 'proto3'; message M {}", "", ""},
        Change{"UnusedImportRemoved",
               "syntax = 'proto3'; import 'google/protobuf/any.proto'; message M {}",
               "syntax = 'proto3'; message M {}", "", ""},
        Change{"Syntax", "syntax = 'proto2'; message M { optional int32 a = 1; }",
               "syntax = 'proto3'; message M { int32 a = 1; }", "", ""},
        Change{"ExtensionRangeRemoved", "syntax = 'proto2'; message M { extensions 100 to 200; }",
               "syntax = 'proto2'; message M {}", "", ""},
        Change{"RequiredAdded", "syntax = 'proto2'; message M { }",
               "syntax = 'proto2'; message M { required int32 a = 1; }", "REQUIRED_FIELD_ADDED",
               "REQUIRED_FIELD_REMOVED"},
        Change{"OptionalToRequiredNumber", "syntax = 'proto2'; message M { optional int32 a = 1; }",
               "syntax = 'proto2'; message M { required int32 a = 1; }", kLabel, kLabel},
        Change{"OptionalToRequiredText", "syntax = 'proto2'; message M { optional string a = 1; }",
               "syntax = 'proto2'; message M { required string a = 1; }", "", ""},
        Change{"MapToEntryMessage", "syntax = 'proto3'; message M { map<string, int32> a = 1; }",
               "syntax = 'proto3'; message M { message AEntry { string key = 1; int32 value = 2; } "
               "repeated AEntry a = 1; }",
               kKind, "MESSAGE_REMOVED FIELD_KIND_CHANGED"}),
    [](const auto& test) { return test.param.name; });

TEST(Compatibility, FindingNamesPathAndConsequence) {
  const Schema before = Compile("syntax='proto3'; message A { message B { int32 level = 3; } }");
  const Schema after = Compile("syntax='proto3'; message A { message B { string level = 3; } }");
  const std::vector<Finding> findings =
      CheckCompatibility(*before, *after, CompatibilityLevel::kBackward);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].path, "#/A/B/level");
  EXPECT_EQ(findings[0].description,
            "level (number 3) was int32 and is string: the two are written differently, so the old "
            "data would be misread; keep the type, or add a new field with a new number");
}

TEST(Compatibility, CompatibleDifferencesAreToldToo) {
  const Schema before = Compile("syntax='proto3'; message A { int32 a = 1; } message B {}");
  const Schema after = Compile(
      "syntax='proto3'; message B {} message A { int32 z = 1; int32 b = 2; } enum E {N=0;}");
  std::vector<std::string> kinds;
  for (const Finding& finding : Differences(*before, *after)) {
    EXPECT_TRUE(IsCompatible(finding.kind));
    kinds.emplace_back(KindName(finding.kind));
  }
  EXPECT_THAT(kinds, ElementsAre("MESSAGE_MOVED", "FIELD_NAME_CHANGED", "FIELD_ADDED",
                                 "MESSAGE_MOVED", "ENUM_ADDED"));
}

TEST(Compatibility, ImportedTypeIsComparedDeeply) {
  const std::string main = "syntax='proto3'; import 'i.proto'; message A { p.B b = 1; }";
  const auto import = [](std::string_view type) {
    return std::vector<SourceFile>{
        {"i.proto", Concat("syntax='proto3'; package p; message B { C c = 1; B self = 2; } ",
                           "message C { D d = 1; } message D { ", type, " x = 1; B b = 2; }")}};
  };
  const Schema before = Compile(main, import("int32"));
  EXPECT_THAT(Incompatible(*before, *Compile(main, import("int64"))), IsEmpty());
  const std::vector<Finding> findings =
      CheckCompatibility(*before, *Compile(main, import("string")), CompatibilityLevel::kBackward);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(KindName(findings[0].kind), kNamed);
  EXPECT_EQ(findings[0].path, "#/A/b");
  EXPECT_THAT(findings[0].description, HasSubstr("p.D of i.proto: FIELD_SCALAR_KIND_CHANGED"));
}

TEST(Compatibility, MessageMovedIntoAnImport) {
  const Schema inside = Compile("syntax='proto3'; message A { B b = 1; } message B {}");
  const Schema outside = Compile("syntax='proto3'; import 'i.proto'; message A { B b = 1; }",
                                 {{"i.proto", "syntax='proto3'; message B {}"}});
  EXPECT_THAT(Incompatible(*inside, *outside), Eq(kRemoved));
  EXPECT_THAT(Incompatible(*outside, *inside), IsEmpty());
}

TEST(Compatibility, LongChainOfImportedMessages) {
  const auto chain = [](std::string_view last) {
    std::string text = "syntax='proto3'; ";
    constexpr int kLength = 20'000;
    for (int i = 0; i < kLength; ++i) text += Concat("message M", i, "{M", i + 1, " f=1;}");
    return std::vector<SourceFile>{
        {"i.proto", text + Concat("message M", kLength, "{", last, " f=1;}")}};
  };
  const std::string main = "syntax='proto3'; import 'i.proto'; message A { M0 m = 1; M5 n = 2; }";
  const Schema before = Compile(main, chain("int32"));
  EXPECT_THAT(Incompatible(*before, *Compile(main, chain("bool"))), IsEmpty());
  EXPECT_THAT(Incompatible(*before, *Compile(main, chain("bytes"))),
              Eq("FIELD_NAMED_TYPE_CHANGED FIELD_NAMED_TYPE_CHANGED"));
}

TEST(Compatibility, LevelsChooseTheDirection) {
  const Schema small = Compile("syntax='proto3'; message A {}");
  const Schema large = Compile("syntax='proto3'; message A {} message B {}");
  using L = CompatibilityLevel;
  for (const L level : {L::kNone, L::kBackward, L::kBackwardTransitive}) {
    EXPECT_THAT(CheckCompatibility(*small, *large, level), IsEmpty()) << LevelName(level);
  }
  for (const L level : {L::kForward, L::kForwardTransitive, L::kFull, L::kFullTransitive}) {
    const auto findings = CheckCompatibility(*small, *large, level);
    ASSERT_EQ(findings.size(), 1U) << LevelName(level);
    EXPECT_THAT(findings[0].description, HasSubstr("seen from the previous schema: message B"));
  }
}

TEST(Compatibility, TransitiveLevelsLookFurtherBack) {
  const std::vector<Schema> history = {Compile("syntax='proto3'; message A { int32 a = 1; }"),
                                       Compile("syntax='proto3'; message A {}")};
  const Schema candidate = Compile("syntax='proto3'; message A { string a = 1; }");
  EXPECT_THAT(CheckHistory(history, *candidate, CompatibilityLevel::kBackward).findings, IsEmpty());
  const HistoryVerdict verdict =
      CheckHistory(history, *candidate, CompatibilityLevel::kBackwardTransitive);
  ASSERT_EQ(verdict.findings.size(), 1U);
  EXPECT_EQ(verdict.against, 0U);
  EXPECT_THAT(CheckHistory({}, *candidate, CompatibilityLevel::kFullTransitive).findings,
              IsEmpty());
}

TEST(Compatibility, LevelNames) {
  for (const std::string_view name : {"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD",
                                      "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}) {
    const auto level = ParseLevel(name);
    ASSERT_THAT(level, IsOk());
    EXPECT_EQ(LevelName(*level), name);
  }
  EXPECT_THAT(ParseLevel("backward"), StatusIs(absl::StatusCode::kInvalidArgument,
                                               HasSubstr("NONE, BACKWARD, BACKWARD_TRANSITIVE")));
}

}  // namespace
}  // namespace tocsin::schema
