// The holes of Confluent's rules that STRICT closes: FULL lets each of these pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"

namespace tocsin::schema {
namespace {

std::shared_ptr<const CompiledSchema> Compile(std::string_view text) {
  auto schema = CompiledSchema::Compile({"test.proto", std::string(text)});
  EXPECT_THAT(schema, IsOk());
  return schema.ok() ? *schema : nullptr;
}

struct Hole {
  std::string_view name;
  std::string_view older;
  std::string_view newer;
  // "B KIND path" and "F KIND path", with a comma between them; empty: compatible.
  std::string_view strict;
};

constexpr Hole kHoles[] = {
    {"UnlabelledToRepeated", "message M { int32 a = 1; }", "message M { repeated int32 a = 1; }",
     "B FIELD_LABEL_CHANGED #/M/a, F FIELD_LABEL_CHANGED #/M/a"},
    {"RepeatedToUnlabelled", "message M { repeated int32 a = 1; }", "message M { int32 a = 1; }",
     "B FIELD_LABEL_CHANGED #/M/a, F FIELD_LABEL_CHANGED #/M/a"},
    {"TextToRepeated", "message M { optional string a = 1; }",
     "message M { repeated string a = 1; }",
     "B FIELD_LABEL_CHANGED #/M/a, F FIELD_LABEL_CHANGED #/M/a"},
    {"BytesToRepeated", "message M { bytes a = 1; }", "message M { repeated bytes a = 1; }",
     "B FIELD_LABEL_CHANGED #/M/a, F FIELD_LABEL_CHANGED #/M/a"},
    {"MessageToRepeated", "message M { M a = 1; }", "message M { repeated M a = 1; }",
     "B FIELD_LABEL_CHANGED #/M/a, F FIELD_LABEL_CHANGED #/M/a"},
    {"UnlabelledToOptional", "message M { int32 a = 1; }", "message M { optional int32 a = 1; }",
     ""},
    {"TextMadeRequired", "syntax = 'proto2'; message M { optional string a = 1; }",
     "syntax = 'proto2'; message M { required string a = 1; }", "B FIELD_MADE_REQUIRED #/M/a"},
    {"MessageMadeRequired", "syntax = 'proto2'; message M { optional M a = 1; }",
     "syntax = 'proto2'; message M { required M a = 1; }", "B FIELD_MADE_REQUIRED #/M/a"},
    {"RequiredTextMadeOptional", "syntax = 'proto2'; message M { required string a = 1; }",
     "syntax = 'proto2'; message M { optional string a = 1; }", "F FIELD_MADE_REQUIRED #/M/a"},
    {"ReservedNumberReused", "message M { reserved 4 to 6; }", "message M { int32 a = 5; }",
     "B RESERVED_REUSED #/M/a"},
    {"ReservedNameReused", "message M { reserved 'place'; }", "message M { int32 place = 5; }",
     "B RESERVED_REUSED #/M/place"},
    {"ReservedInTheNewOne", "message M { int32 a = 5; }", "message M { reserved 5; reserved 'a'; }",
     ""},
    {"ReservationGone", "message M { reserved 5; }", "message M { }", ""},
    {"FieldGone", "message M { int32 a = 5; }", "message M { }", ""},
    {"FieldNew", "message M { }", "message M { int32 a = 5; }", ""},
    {"EnumValueGone", "enum E { A = 0; B = 1; }", "enum E { A = 0; }",
     "B ENUM_CONST_REMOVED #/E/B"},
    {"EnumValueReserved", "enum E { A = 0; B = 1; }", "enum E { A = 0; reserved 1; }",
     "B ENUM_CONST_REMOVED #/E/B"},
    {"EnumValueNew", "enum E { A = 0; }", "enum E { A = 0; B = 1; }", ""},
    {"EnumReservedNumberReused", "enum E { A = 0; reserved 1; }", "enum E { A = 0; B = 1; }",
     "B RESERVED_REUSED #/E/B"},
    {"EnumReservedNameReused", "enum E { A = 0; reserved 'B'; }", "enum E { A = 0; B = 1; }",
     "B RESERVED_REUSED #/E/B"},
    {"OtherEnumWithFewerValues",
     "message M { E a = 1; E b = 2; } enum E { A = 0; B = 1; } enum F { C = 0; }",
     "message M { F a = 1; F b = 2; } enum E { A = 0; B = 1; } enum F { C = 0; }",
     "B ENUM_CONST_REMOVED #/F/B"},
    {"EnumGoneWithItsUses", "message M { E a = 1; } enum E { A = 0; B = 1; }",
     "message M { reserved 1; }", ""},
    {"JsonName", "message M { int32 a = 1; }", "message M { int32 a = 1 [json_name = 'z']; }",
     "B FIELD_JSON_NAME_CHANGED #/M/a, F FIELD_JSON_NAME_CHANGED #/M/a"},
    {"Renamed", "message M { int32 a = 1; }", "message M { int32 b = 1; }",
     "B FIELD_JSON_NAME_CHANGED #/M/b, F FIELD_JSON_NAME_CHANGED #/M/b"},
    {"RenamedWithTheOldNameInJson", "message M { int32 a = 1; }",
     "message M { int32 b = 1 [json_name = 'a']; }", ""},
    {"MapToMap", "message M { map<int32, string> a = 1; }",
     "message M { map<int64, bytes> a = 1; }", ""},
};

class StrictVerdict : public ::testing::TestWithParam<Hole> {};

TEST_P(StrictVerdict, ClosesTheHole) {
  const auto text = [](std::string_view body) {
    return body.substr(0, 6) == "syntax" ? std::string(body) : Concat("syntax = 'proto3'; ", body);
  };
  const auto older = Compile(text(GetParam().older));
  const auto newer = Compile(text(GetParam().newer));
  ASSERT_TRUE(older && newer);
  EXPECT_TRUE(CheckCompatibility(*older, *newer, CompatibilityLevel::kFull).empty());
  std::vector<std::string> findings;
  for (const Finding& finding : CheckCompatibility(*older, *newer, CompatibilityLevel::kStrict)) {
    findings.push_back(Concat(finding.direction == Direction::kBackward ? "B " : "F ",
                              KindName(finding.kind), " ", finding.path));
    EXPECT_FALSE(finding.consequence.empty());
    EXPECT_FALSE(finding.repair.empty());
    EXPECT_TRUE(finding.older);
  }
  EXPECT_EQ(Join(findings, ", "), GetParam().strict);
}

INSTANTIATE_TEST_SUITE_P(Table, StrictVerdict, ::testing::ValuesIn(kHoles),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Strict, TellsTheReservationAndAFreeNumber) {
  const auto older = Compile("syntax = 'proto3';\nmessage M {\n  reserved 2, 4 to 6;\n}");
  const auto newer = Compile("syntax = 'proto3';\nmessage M {\n  int32 a = 5;\n}");
  const auto findings = CheckCompatibility(*older, *newer, CompatibilityLevel::kStrict);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].description, "a (number 5) takes number 5, which was reserved");
  EXPECT_EQ(findings[0].repair, "give it number 7, and keep the reservation");
  EXPECT_EQ(findings[0].older, (Place{"", 3, 15}));
  EXPECT_EQ(findings[0].newer, (Place{"", 3, 13}));
}

std::string Fields(int count, std::string_view label) {
  std::string text = "syntax = 'proto3'; message M {";
  for (int i = 1; i <= count; ++i) text += Concat(label, " int32 f", i, " = ", i, ";");
  return text + "}";
}

TEST(Strict, FindingsAreBounded) {
  const auto check = [](int fields) {
    const std::vector<std::shared_ptr<const CompiledSchema>> history = {
        Compile(Fields(fields, ""))};
    return CheckHistory(history, *Compile(Fields(fields, "repeated")), CompatibilityLevel::kStrict);
  };
  // One for each field and direction.
  const HistoryVerdict whole = check(500);
  ASSERT_EQ(whole.findings.size(), 1'000U);
  EXPECT_EQ(whole.left_out, 0U);
  const HistoryVerdict cut = check(5'000);
  ASSERT_EQ(cut.findings.size(), 1'000U);
  EXPECT_EQ(cut.left_out, 9'000U);
  EXPECT_EQ(cut.findings.front().description, whole.findings.front().description);
}

}  // namespace
}  // namespace tocsin::schema
