#include "lib/schema/compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
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

constexpr char kNamed[] = "FIELD_NAMED_TYPE_CHANGED";

TEST(Compatibility, FindingTellsWhatWhereAndWhatNext) {
  const Schema before = Compile(R"(syntax = "proto3";
message A {
  message B {
    int32 level = 3;
  }
})");
  const Schema after = Compile(R"(syntax = "proto3";
message A {
  // Städte
  message B { /* ü */ string level = 3; }
})");
  const std::vector<Finding> findings =
      CheckCompatibility(*before, *after, CompatibilityLevel::kFull);
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].path, "#/A/B/level");
  EXPECT_EQ(findings[0].direction, Direction::kBackward);
  EXPECT_EQ(findings[0].description, "level (number 3) was int32 and is string");
  EXPECT_EQ(findings[0].consequence,
            "a reader with the new schema sees level = \"\" (the default); the value is among the "
            "unknown fields");
  EXPECT_EQ(findings[0].repair,
            "write int32 level = 3; again, or give the new field number 4 and write reserved 3;");
  EXPECT_EQ(findings[0].older, (Place{"", 4, 5}));
  EXPECT_EQ(findings[0].newer, (Place{"", 4, 23})) << "in characters";
  EXPECT_EQ(findings[1].direction, Direction::kForward);
  EXPECT_EQ(findings[1].consequence,
            "a reader with the old schema sees level = 0 (the default); the value is among the "
            "unknown fields");
  EXPECT_EQ(findings[1].older, findings[0].older);
}

TEST(Compatibility, PlacesCountATabAsOne) {
  const auto findings = CheckCompatibility(*Compile("message A {\n\toptional\tint32 a = 1;\n}"),
                                           *Compile("message A {\n\n\t\toptional bytes a = 1;\n}"),
                                           CompatibilityLevel::kBackward);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].older, (Place{"", 2, 11}));
  EXPECT_EQ(findings[0].newer, (Place{"", 3, 12}));
}

TEST(Compatibility, PlacesOfWhatOneSideAloneHas) {
  const Schema small = Compile("syntax='proto3';\nmessage A {}");
  const Schema large = Compile("syntax='proto3';\nmessage A {}\nmessage B {}");
  const auto removed = CheckCompatibility(*large, *small, CompatibilityLevel::kBackward);
  ASSERT_EQ(removed.size(), 1U);
  EXPECT_EQ(removed[0].older, (Place{"", 3, 9}));
  EXPECT_EQ(removed[0].newer, std::nullopt);
  const auto added = CheckCompatibility(*small, *large, CompatibilityLevel::kForward);
  ASSERT_EQ(added.size(), 1U);
  EXPECT_EQ(added[0].older, std::nullopt);
  EXPECT_EQ(added[0].newer, (Place{"", 3, 9}));
}

// The consequence that a reader of each direction is told.
struct Misreading {
  std::string older;
  std::string newer;
  std::string backward;
  std::string forward;
};

class Consequence : public ::testing::TestWithParam<Misreading> {};

TEST_P(Consequence, OnTheWire) {
  const auto schema = [](const std::string& body) {
    return Compile(
        Concat("syntax = 'proto3'; message X {} enum E { UNKNOWN = 0; } message M { ", body, " }"));
  };
  const auto findings = CheckCompatibility(*schema(GetParam().older), *schema(GetParam().newer),
                                           CompatibilityLevel::kStrict);
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_THAT(findings[0].consequence, HasSubstr(GetParam().backward));
  EXPECT_THAT(findings[1].consequence, HasSubstr(GetParam().forward));
}

INSTANTIATE_TEST_SUITE_P(
    All, Consequence,
    ::testing::Values(
        Misreading{"int32 a = 1;", "sint32 a = 1;", "1 comes as -1", "-1 comes as 1"},
        Misreading{"float a = 1;", "fixed32 a = 1;", "bits of a float for an integer",
                   "bits of an integer for a float"},
        Misreading{"E a = 1;", "X a = 1;", "sees a not set", "sees a = UNKNOWN (the default)"},
        Misreading{"X a = 1;", "string a = 1;", "not UTF-8", "takes the bytes for message X"},
        Misreading{"int32 a = 1;", "repeated int32 a = 1;", "a list of at most one",
                   "a = 0 (the default): the values are packed"},
        Misreading{"string a = 1;", "repeated string a = 1;", "a list of at most one",
                   "the last of the values"},
        Misreading{"X a = 1;", "repeated X a = 1;", "a list of at most one",
                   "all elements merged into one"}));

TEST(Compatibility, CompatibleDifferencesAreToldToo) {
  const Schema before = Compile("syntax='proto3'; message A { int32 a = 1; } message B {}");
  const Schema after = Compile(
      "syntax='proto3'; message B {} message A { int32 z = 1; int32 b = 2; } enum E {N=0;}");
  std::vector<std::string> kinds;
  for (const Finding& finding : Differences(*before, *after)) {
    EXPECT_TRUE(IsCompatible(finding.kind));
    kinds.emplace_back(KindName(finding.kind));
  }
  EXPECT_THAT(kinds, ElementsAre("MESSAGE_MOVED", "FIELD_NAME_CHANGED", "FIELD_JSON_NAME_CHANGED",
                                 "FIELD_ADDED", "MESSAGE_MOVED", "ENUM_ADDED"));
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
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(KindName(findings[0].kind), kNamed);
  EXPECT_EQ(findings[0].path, "#/A/b");
  EXPECT_THAT(findings[0].description,
              HasSubstr("p.D of i.proto: FIELD_SCALAR_KIND_CHANGED at #/D/x"));
  EXPECT_EQ(findings[0].newer, (Place{"", 1, 48}));
  EXPECT_EQ(findings[1].path, "#/D/x");
  ASSERT_TRUE(findings[1].newer);
  EXPECT_EQ(findings[1].newer->file, "i.proto");
}

TEST(Compatibility, LongChainOfImportedMessages) {
  const auto chain = [](std::string_view last) {
    std::string text = "syntax='proto3'; ";
    constexpr int kLength = 4'900;
    for (int i = 0; i < kLength; ++i) text += Concat("message M", i, "{M", i + 1, " f=1;}");
    return std::vector<SourceFile>{
        {"i.proto", text + Concat("message M", kLength, "{", last, " f=1;}")}};
  };
  const std::string main = "syntax='proto3'; import 'i.proto'; message A { M0 m = 1; M5 n = 2; }";
  const Schema before = Compile(main, chain("int32"));
  EXPECT_THAT(Incompatible(*before, *Compile(main, chain("bool"))), IsEmpty());
  EXPECT_THAT(Incompatible(*before, *Compile(main, chain("bytes"))),
              Eq("FIELD_NAMED_TYPE_CHANGED FIELD_NAMED_TYPE_CHANGED FIELD_SCALAR_KIND_CHANGED"));
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
    EXPECT_EQ(findings[0].direction, Direction::kForward);
    EXPECT_EQ(findings[0].description, "message B is new in the file");
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

TEST(Compatibility, StrictTransitiveRemembersWhatWasReserved) {
  const std::vector<Schema> history = {Compile("syntax='proto3'; message A { reserved 2; }"),
                                       Compile("syntax='proto3'; message A { }")};
  const Schema candidate = Compile("syntax='proto3'; message A { int32 b = 2; }");
  EXPECT_THAT(CheckHistory(history, *candidate, CompatibilityLevel::kStrict).findings, IsEmpty());
  const HistoryVerdict verdict =
      CheckHistory(history, *candidate, CompatibilityLevel::kStrictTransitive);
  EXPECT_EQ(verdict.against, 0U);
  ASSERT_EQ(verdict.findings.size(), 1U);
  EXPECT_EQ(KindName(verdict.findings[0].kind), "RESERVED_REUSED");
}

TEST(Compatibility, AllLevelsInTheOrderOfTheEnum) {
  const std::vector<Schema> history = {Compile("syntax='proto3'; message A { int32 a = 1; }"),
                                       Compile("syntax='proto3'; message A {}")};
  const Schema candidate = Compile("syntax='proto3'; message A { string a = 1; }");
  std::vector<std::string> verdicts;
  for (const LevelVerdict& verdict : CheckAllLevels(history, *candidate)) {
    verdicts.push_back(Concat(LevelName(verdict.level), ":",
                              verdict.verdict.against ? Concat(*verdict.verdict.against) : "-"));
  }
  EXPECT_THAT(verdicts, ElementsAre("BACKWARD:-", "BACKWARD_TRANSITIVE:0", "FORWARD:-",
                                    "FORWARD_TRANSITIVE:0", "FULL:-", "FULL_TRANSITIVE:0",
                                    "STRICT:-", "STRICT_TRANSITIVE:0"));
}

TEST(Compatibility, LevelNames) {
  for (const std::string_view name :
       {"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL",
        "FULL_TRANSITIVE", "STRICT", "STRICT_TRANSITIVE"}) {
    const auto level = ParseLevel(name);
    ASSERT_THAT(level, IsOk());
    EXPECT_EQ(LevelName(*level), name);
  }
  EXPECT_THAT(ParseLevel("backward"), StatusIs(absl::StatusCode::kInvalidArgument,
                                               HasSubstr("NONE, BACKWARD, BACKWARD_TRANSITIVE")));
}

}  // namespace
}  // namespace tocsin::schema
