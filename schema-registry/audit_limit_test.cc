#include "schema-registry/audit_limit.h"

#include <gtest/gtest.h>

#include "lib/base/testing/fake_clock.h"

namespace tocsin::registry {
namespace {

TEST(AuditLimitTest, TellsHowManyWereLeftOut) {
  FakeClock clock;
  AuditLimit limit(clock);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(limit.Take(), 0U);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(limit.Take(), std::nullopt);
  clock.Advance(std::chrono::milliseconds(150));
  EXPECT_EQ(limit.Take(), 7U);
  EXPECT_EQ(limit.Take(), std::nullopt);
  clock.Advance(std::chrono::hours(1));
  EXPECT_EQ(limit.Take(), 1U);
  for (int i = 0; i < 99; ++i) EXPECT_EQ(limit.Take(), 0U);
  EXPECT_EQ(limit.Take(), std::nullopt);
}

}  // namespace
}  // namespace tocsin::registry
