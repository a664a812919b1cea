#include "lib/schema/schema_tags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin::schema {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kMessage = EntityTags::Kind::kMessage;
constexpr auto kField = EntityTags::Kind::kField;

std::shared_ptr<const CompiledSchema> Compiled(std::string_view text) {
  auto schema = CompiledSchema::Compile({"test.proto", std::string(text)});
  EXPECT_THAT(schema, IsOk());
  return schema.ok() ? *schema : nullptr;
}

std::string Tagged(std::string_view text, const TagChanges& changes) {
  const auto tagged = WithTags(*Compiled(text), changes);
  EXPECT_THAT(tagged, IsOk());
  if (!tagged.ok()) return "";
  // What comes out compiles.
  EXPECT_NE(Compiled(*tagged), nullptr);
  return *tagged;
}

constexpr char kText[] = R"(syntax = "proto3";
package p.v1;
message Alert {
  message Place { string city = 1; }
  string source = 1;
  Place place = 2;
})";

TEST(SchemaTags, OfAFieldByEachOfItsNames) {
  for (const std::string path : {"Alert.source", ".Alert.source", "p.v1.Alert.source"}) {
    const std::string text = Tagged(kText, {.add = {{kField, path, {"PII", "HR"}}}});
    EXPECT_THAT(text, HasSubstr("import \"confluent/meta.proto\";"));
    EXPECT_THAT(
        text,
        HasSubstr("string source = 1 [(.confluent.field_meta) = { tags: \"PII\" tags: \"HR\" }];"))
        << path;
  }
}

TEST(SchemaTags, OfMessagesAndOfWhatIsWithinThem) {
  const std::string text = Tagged(kText, {.add = {{kMessage, "Alert", {"A"}},
                                                  {kMessage, "Alert.Place", {"B"}},
                                                  {kField, "Alert.Place.city", {"C"}}}});
  EXPECT_THAT(text, HasSubstr("message Alert {\n  option (.confluent.message_meta) = { tags: "
                              "\"A\" };"));
  EXPECT_THAT(text, HasSubstr("option (.confluent.message_meta) = { tags: \"B\" };"));
  EXPECT_THAT(text, HasSubstr("string city = 1 [(.confluent.field_meta) = { tags: \"C\" }];"));
}

TEST(SchemaTags, WhatIsThereStays) {
  const std::string before = Tagged(R"(syntax = "proto3";
      import "confluent/meta.proto";
      message M {
        string a = 1 [deprecated = true, (confluent.field_meta).doc = "x",
                      (confluent.field_meta).tags = "PII"];
      })",
                                    {.add = {{kField, "M.a", {"PII", "HR"}}}});
  EXPECT_THAT(before, HasSubstr("deprecated = true"));
  EXPECT_THAT(before, HasSubstr("{ doc: \"x\" tags: \"PII\" tags: \"HR\" }"));
  EXPECT_EQ(before.find("import"), before.rfind("import")) << "imported once";
  const std::string after = Tagged(before, {.remove = {{kField, "M.a", {"PII", "never"}}}});
  EXPECT_THAT(after, HasSubstr("{ doc: \"x\" tags: \"HR\" }"));
}

TEST(SchemaTags, TheLastOneTakesItsOptionAlong) {
  const std::string tagged = Tagged(kText, {.add = {{kField, "Alert.source", {"PII"}}}});
  const std::string bare = Tagged(tagged, {.remove = {{kField, "Alert.source", {"PII"}}}});
  EXPECT_THAT(bare, HasSubstr("string source = 1;"));
  EXPECT_THAT(bare, Not(HasSubstr("field_meta")));
}

TEST(SchemaTags, WhatIsNotThereCannotBeTagged) {
  const auto schema = Compiled(kText);
  for (const EntityTags& entity :
       {EntityTags{kField, "Alert.nothing", {"x"}}, EntityTags{kField, "source", {"x"}},
        EntityTags{kField, "Alert", {"x"}}, EntityTags{kField, "", {"x"}},
        EntityTags{kField, ".", {"x"}}, EntityTags{kMessage, "Alert.source", {"x"}},
        EntityTags{kMessage, "q.Alert", {"x"}}, EntityTags{kMessage, "", {"x"}}}) {
    const auto tagged = WithTags(*schema, {.add = {entity}});
    ASSERT_THAT(tagged, Not(IsOk())) << entity.path;
    EXPECT_THAT(Message(tagged.status()), HasSubstr("there is no "));
  }
  const auto removed = WithTags(*schema, {.remove = {{kField, "Alert.nothing", {"x"}}}});
  EXPECT_THAT(Message(removed.status()), HasSubstr("there is no field 'Alert.nothing'"));
}

TEST(SchemaTags, AnOptionOfOthersUnderTheSameNumber) {
  const auto schema = Compiled(R"(syntax = "proto3";
      import "google/protobuf/descriptor.proto";
      extend google.protobuf.FieldOptions { int32 size = 1088; }
      message M { string a = 1 [(size) = 7]; })");
  const auto tagged = WithTags(*schema, {.add = {{kField, "M.a", {"x"}}}});
  ASSERT_THAT(tagged, Not(IsOk()));
  EXPECT_THAT(Message(tagged.status()), HasSubstr("'M.a': its option number 1088 is not that of"));
}

}  // namespace
}  // namespace tocsin::schema
