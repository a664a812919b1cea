// What holds of all schemas, on schemas by chance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/testing/random_schema.h"

namespace tocsin::schema {
namespace {

using testing::Random;
using L = CompatibilityLevel;

constexpr int kRounds = 300;
constexpr L kAllLevels[] = {L::kNone,
                            L::kBackward,
                            L::kBackwardTransitive,
                            L::kForward,
                            L::kForwardTransitive,
                            L::kFull,
                            L::kFullTransitive,
                            L::kStrict,
                            L::kStrictTransitive};

std::shared_ptr<const CompiledSchema> Compile(const std::string& text) {
  auto schema = CompiledSchema::Compile({"test.proto", text}, testing::ImportsOfRandomSchemas());
  EXPECT_THAT(schema, IsOk()) << text;
  return schema.ok() ? *schema : nullptr;
}

struct Pair {
  testing::SchemaModel older;
  testing::SchemaModel newer;
};

Pair RandomPair(Random& random) {
  Pair pair;
  pair.older = testing::RandomSchema(random);
  pair.newer = pair.older;
  const int changes = static_cast<int>(random() % 5);
  for (int i = 0; i < changes; ++i) testing::Mutate(pair.newer, random);
  return pair;
}

// Sorted; without MESSAGE_MOVED, which is about the order of declarations.
std::vector<std::string> Facts(const std::vector<Finding>& findings) {
  std::vector<std::string> facts;
  for (const Finding& finding : findings) {
    if (finding.kind == DifferenceKind::kMessageMoved) continue;
    facts.push_back(Concat(finding.direction == Direction::kBackward ? "B " : "F ",
                           KindName(finding.kind), " ", finding.path));
  }
  std::sort(facts.begin(), facts.end());
  return facts;
}

TEST(CompatibilityProperties, ASchemaIsCompatibleWithItselfAtEveryLevel) {
  Random random(1);
  for (int round = 0; round < kRounds; ++round) {
    const testing::SchemaModel model = testing::RandomSchema(random);
    const auto schema = Compile(testing::Render(model));
    const auto again = Compile(testing::Render(model));
    ASSERT_TRUE(schema && again);
    EXPECT_THAT(Facts(Differences(*schema, *again)), ::testing::IsEmpty());
    for (const L level : kAllLevels) {
      EXPECT_THAT(Facts(CheckCompatibility(*schema, *again, level)), ::testing::IsEmpty());
    }
  }
}

TEST(CompatibilityProperties, FullIsBackwardAndForward) {
  Random random(2);
  int broken = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Pair pair = RandomPair(random);
    const auto older = Compile(testing::Render(pair.older));
    const auto newer = Compile(testing::Render(pair.newer));
    ASSERT_TRUE(older && newer);
    std::vector<std::string> both = Facts(CheckCompatibility(*older, *newer, L::kBackward));
    for (std::string& fact : Facts(CheckCompatibility(*older, *newer, L::kForward))) {
      both.push_back(std::move(fact));
    }
    const std::vector<std::string> full = Facts(CheckCompatibility(*older, *newer, L::kFull));
    EXPECT_EQ(full, both);
    // STRICT is FULL and more.
    const std::vector<std::string> strict = Facts(CheckCompatibility(*older, *newer, L::kStrict));
    EXPECT_TRUE(std::includes(strict.begin(), strict.end(), full.begin(), full.end()));
    // What the new one does to readers of the old is what the old one would do to readers of it.
    std::vector<std::string> turned = Facts(CheckCompatibility(*newer, *older, L::kBackward));
    EXPECT_EQ(turned.size(), Facts(CheckCompatibility(*older, *newer, L::kForward)).size());
    broken += full.empty() ? 0 : 1;
  }
  EXPECT_GT(broken, kRounds / 10);
  EXPECT_LT(broken, kRounds);
}

TEST(CompatibilityProperties, FindingsDoNotDependOnTheOrderOfDeclarations) {
  Random random(3);
  for (int round = 0; round < kRounds; ++round) {
    const Pair pair = RandomPair(random);
    const auto older = Compile(testing::Render(pair.older));
    const auto newer = Compile(testing::Render(pair.newer));
    const auto other_older = Compile(testing::Render(pair.older, &random));
    const auto other_newer = Compile(testing::Render(pair.newer, &random));
    ASSERT_TRUE(older && newer && other_older && other_newer);
    EXPECT_EQ(Facts(Differences(*older, *newer)), Facts(Differences(*other_older, *other_newer)));
    EXPECT_EQ(Facts(CheckCompatibility(*older, *newer, L::kStrict)),
              Facts(CheckCompatibility(*other_older, *other_newer, L::kStrict)));
  }
}

TEST(CompatibilityProperties, AllLevelsAtOnceSayWhatEachSays) {
  Random random(4);
  for (int round = 0; round < kRounds / 4; ++round) {
    std::vector<std::shared_ptr<const CompiledSchema>> history;
    testing::SchemaModel model = testing::RandomSchema(random);
    const int versions = static_cast<int>(random() % 4);
    for (int i = 0; i < versions; ++i) {
      history.push_back(Compile(testing::Render(model)));
      testing::Mutate(model, random);
    }
    const auto candidate = Compile(testing::Render(model));
    ASSERT_TRUE(candidate);
    const std::vector<LevelVerdict> verdicts = CheckAllLevels(history, *candidate);
    ASSERT_EQ(verdicts.size(), std::size(kAllLevels) - 1);
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
      EXPECT_EQ(verdicts[i].level, kAllLevels[i + 1]);
      const HistoryVerdict alone = CheckHistory(history, *candidate, verdicts[i].level);
      EXPECT_EQ(verdicts[i].verdict.against, alone.against);
      EXPECT_EQ(Facts(verdicts[i].verdict.findings), Facts(alone.findings));
    }
  }
}

}  // namespace
}  // namespace tocsin::schema
