#include "schema-registry/rest/schema_answers.h"

#include <gtest/gtest.h>

namespace tocsin::registry {
namespace {

std::shared_ptr<const StoredSchema> Schema(int id) {
  StoredSchema schema;
  schema.id = SchemaId(id);
  return std::make_shared<const StoredSchema>(std::move(schema));
}

std::shared_ptr<const std::string> Text(std::size_t size, char c = 'x') {
  return std::make_shared<const std::string>(size, c);
}

SchemaAnswerKey Key(int id, TextFormat format = TextFormat::kText, std::string context = ".") {
  return {std::move(context), SchemaId(id), format};
}

TEST(SchemaAnswersTest, KeepsOneAnswerForEachFormAndContext) {
  SchemaAnswers answers(1 << 20);
  const auto schema = Schema(1);
  answers.Keep(Key(1), schema, Text(1, 'a'));
  answers.Keep(Key(1, TextFormat::kSerialized), schema, Text(1, 'b'));
  answers.Keep(Key(1, TextFormat::kText, ".eu"), schema, Text(1, 'c'));
  EXPECT_EQ(*answers.Find(Key(1), *schema), "a");
  EXPECT_EQ(*answers.Find(Key(1, TextFormat::kSerialized), *schema), "b");
  EXPECT_EQ(*answers.Find(Key(1, TextFormat::kText, ".eu"), *schema), "c");
  EXPECT_EQ(answers.Find(Key(2), *schema), nullptr);
}

TEST(SchemaAnswersTest, AnIdThatStandsForAnotherSchemaIsNotAnswered) {
  SchemaAnswers answers(1 << 20);
  answers.Keep(Key(1), Schema(1), Text(1));
  const auto other = Schema(1);
  EXPECT_EQ(answers.Find(Key(1), *other), nullptr);
  EXPECT_EQ(answers.bytes(), 0U);
}

TEST(SchemaAnswersTest, IsBounded) {
  constexpr std::size_t kMost = 1 << 20;
  SchemaAnswers answers(kMost);
  for (int id = 1; id <= 2000; ++id) answers.Keep(Key(id), Schema(id), Text(4000));
  EXPECT_LE(answers.bytes(), kMost);
  EXPECT_GT(answers.bytes(), kMost / 2);
  const std::size_t before = answers.bytes();
  answers.Keep(Key(3000), Schema(3000), Text(kMost / 8));
  EXPECT_EQ(answers.bytes(), before) << "one large answer does not drive all others out";
}

}  // namespace
}  // namespace tocsin::registry
