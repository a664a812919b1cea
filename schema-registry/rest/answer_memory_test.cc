#include "schema-registry/rest/answer_memory.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

namespace tocsin::registry {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

AnswerMemory::Options Impatient() {
  AnswerMemory::Options options;
  options.bytes = 4 * kMiB;
  options.patience = std::chrono::milliseconds(0);
  return options;
}

TEST(AnswerMemoryTest, LargeAnswersLeaveAQuarterToSmallOnes) {
  AnswerMemory memory(Impatient());
  auto large = memory.Take(3 * kMiB);
  ASSERT_NE(large, nullptr);
  EXPECT_EQ(memory.Take(AnswerMemory::kLarge), nullptr);
  EXPECT_EQ(memory.TakeOrWait(AnswerMemory::kLarge), nullptr);
  std::vector<std::shared_ptr<AnswerMemory::Part>> small;
  while (auto part = memory.Take(AnswerMemory::kLarge - 1)) small.push_back(std::move(part));
  EXPECT_EQ(small.size(), kMiB / (AnswerMemory::kLarge - 1));
  large = nullptr;
  EXPECT_NE(memory.Take(kMiB), nullptr);
  small.clear();
  EXPECT_EQ(memory.taken(), 0U);
}

TEST(AnswerMemoryTest, APartIsCorrectedToItsTrueSize) {
  AnswerMemory memory(Impatient());
  const auto part = memory.Take(2 * kMiB);
  EXPECT_TRUE(part->Resize(kMiB));
  EXPECT_EQ(memory.taken(), kMiB);
  EXPECT_TRUE(part->Resize(3 * kMiB));
  EXPECT_FALSE(part->Resize(4 * kMiB));
  EXPECT_EQ(memory.taken(), 3 * kMiB);
  EXPECT_TRUE(part->Resize(5 * kMiB, /*must=*/true));
  EXPECT_EQ(memory.taken(), 5 * kMiB);
  EXPECT_EQ(memory.Take(1), nullptr);
}

TEST(AnswerMemoryTest, WhoWaitsGetsWhatIsGivenBack) {
  AnswerMemory::Options options = Impatient();
  options.patience = std::chrono::minutes(10);
  AnswerMemory memory(options);
  auto first = memory.Take(3 * kMiB);
  std::shared_ptr<AnswerMemory::Part> second;
  std::thread waits([&] { second = memory.TakeOrWait(2 * kMiB); });
  first = nullptr;
  waits.join();
  EXPECT_NE(second, nullptr);
  EXPECT_EQ(memory.taken(), 2 * kMiB);
}

TEST(AnswerMemoryTest, WhoWouldBeOneTooManyDoesNotWait) {
  AnswerMemory::Options options = Impatient();
  options.patience = std::chrono::minutes(10);
  options.max_waiting = 0;
  AnswerMemory memory(options);
  const auto first = memory.Take(3 * kMiB);
  EXPECT_EQ(memory.TakeOrWait(2 * kMiB), nullptr);
}

TEST(AnswerMemoryTest, ItIsToldWhenALargeAnswerIsGone) {
  int freed = 0;
  AnswerMemory::Options options = Impatient();
  options.freed = [&] { ++freed; };
  std::optional<AnswerMemory> memory(std::in_place, options);
  memory->Take(AnswerMemory::kLarge - 1);
  EXPECT_EQ(freed, 0);
  auto part = memory->Take(AnswerMemory::kLarge);
  memory.reset();
  EXPECT_EQ(freed, 0);
  part = nullptr;
  EXPECT_EQ(freed, 1);
}

}  // namespace
}  // namespace tocsin::registry
