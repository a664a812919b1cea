#include "services/correlation/engine/cache_budget.h"

#include <gtest/gtest.h>

#include <optional>

namespace tocsin::correlation {
namespace {

TEST(CacheBudgetTest, EveryTaskHasAnEqualShareOfWhatTheProcessHas) {
  const auto budget = std::make_shared<CacheBudget>(900);
  const CacheBudget::Share first(budget);
  EXPECT_EQ(first.bytes(), 900U);
  std::optional<CacheBudget::Share> second(std::in_place, budget);
  const CacheBudget::Share third(budget);
  EXPECT_EQ(first.bytes(), 300U);
  EXPECT_EQ(third.bytes(), 300U);
  second.reset();
  EXPECT_EQ(first.bytes(), 450U);
}

}  // namespace
}  // namespace tocsin::correlation
