#include "cli/schema/finding_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::shared_ptr<const schema::CompiledSchema> Compile(std::string text) {
  auto schema = schema::CompiledSchema::Compile({"order.proto", std::move(text)});
  EXPECT_TRUE(schema.ok()) << schema.status();
  return *std::move(schema);
}

TEST(CaretTextTest, StandsUnderTheWholeWord) {
  EXPECT_EQ(CaretText("a\n  int32 amount = 2;\nb", {"", 2, 9}),
            "      2 |   int32 amount = 2;\n"
            "        |         ^~~~~~\n");
}

TEST(CaretTextTest, TabsAndWideLettersAreKept) {
  EXPECT_EQ(CaretText("\tint32 x = 1;", {"", 1, 8}),
            "      1 | \tint32 x = 1;\n"
            "        | \t      ^\n");
  // Two columns each, and three bytes.
  EXPECT_EQ(CaretText("/*日本*/ int32 x = 1;", {"", 1, 14}),
            "      1 | /*日本*/ int32 x = 1;\n"
            "        |                ^\n");
}

TEST(CaretTextTest, WhatIsNotThereAndWhatWouldMoveTheTerminal) {
  EXPECT_THAT(CaretText("a\nb", {"", 3, 1}), IsEmpty());
  EXPECT_THAT(CaretText("a", {"", 0, 0}), IsEmpty());
  EXPECT_EQ(CaretText("a\x1b[2Jb", {"", 1, 1}),
            "      1 | a [2Jb\n"
            "        | ^\n");
  EXPECT_EQ(CaretText("abc", {"", 1, 99}),
            "      1 | abc\n"
            "        |    ^\n");
}

TEST(FindingTextTest, SaysWhatWhereAndHowToMendIt) {
  const auto older = Compile("syntax = \"proto3\";\nmessage Order { int32 amount = 1; }\n");
  const auto newer = Compile("syntax = \"proto3\";\nmessage Order {\n  string amount = 1;\n}\n");
  const auto findings =
      schema::CheckCompatibility(*older, *newer, schema::CompatibilityLevel::kBackward);
  ASSERT_THAT(findings, SizeIs(1));
  const std::string text =
      FindingText(findings[0], {"git:HEAD order.proto", *older}, {"order.proto", *newer});
  EXPECT_THAT(text, HasSubstr("_CHANGED at #/Order/amount\n"));
  EXPECT_THAT(text, HasSubstr("    order.proto:3:"));
  EXPECT_THAT(text, HasSubstr("      3 |   string amount = 1;\n"));
  EXPECT_THAT(text, HasSubstr("    before, in git:HEAD order.proto:2:"));
  EXPECT_THAT(text, HasSubstr("      2 | message Order { int32 amount = 1; }\n"));
  EXPECT_THAT(text, HasSubstr("  on the wire: "));
  EXPECT_THAT(text, HasSubstr("  repair: "));
  const auto fields = FindingFields(findings[0]);
  EXPECT_EQ(fields.fields().at("newer").struct_value().fields().at("line").number_value(), 3);
  EXPECT_EQ(fields.fields().at("direction").string_value(), "BACKWARD");
}

}  // namespace
}  // namespace tocsin::cli
