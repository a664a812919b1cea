#include "lib/kafka/transaction_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/kafka/types.h"

namespace tocsin::kafka::internal {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr SteadyTime kStart{std::chrono::hours(1)};

TEST(TransactionWatchTest, AQuickAndQuietTransactionLeavesNoDoubt) {
  TransactionWatch watch(seconds(2));
  watch.Tick(kStart);
  watch.Opened();
  watch.Tick(kStart + milliseconds(900));
  watch.Ended("commit", seconds(2));
  watch.Closed();
  EXPECT_FALSE(watch.indefinite());
  EXPECT_EQ(watch.reason(), "");
}

TEST(TransactionWatchTest, ASlowCommitLeavesDoubt) {
  TransactionWatch watch(seconds(2));
  watch.Ended("commit", milliseconds(2'001));
  EXPECT_TRUE(watch.indefinite());
  EXPECT_EQ(watch.reason(), "the commit took 2001 ms");
}

TEST(TransactionWatchTest, ALostConnectionCountsOnlyWhileATransactionIsOpen) {
  TransactionWatch watch(seconds(2));
  watch.ConnectionTrouble("idle connection closed");
  EXPECT_FALSE(watch.indefinite());
  watch.Opened();
  watch.ConnectionTrouble("disconnected");
  watch.Closed();
  EXPECT_TRUE(watch.indefinite());
  EXPECT_EQ(watch.reason(), "disconnected");
}

TEST(TransactionWatchTest, AStandstillCountsOnlyWhileATransactionIsOpen) {
  TransactionWatch watch(seconds(2));
  watch.Tick(kStart);
  watch.Tick(kStart + seconds(60));
  EXPECT_FALSE(watch.indefinite());
  watch.Opened();
  watch.Tick(kStart + seconds(61) + milliseconds(1));
  EXPECT_EQ(watch.reason(), "the process stood still for 1001 ms");
}

TEST(TransactionWatchTest, RepeatedRequestsCountWhenATransactionWasOpenSinceTheLastStatistics) {
  TransactionWatch watch(seconds(2));
  watch.Statistics(3);  // before the first transaction: connecting
  EXPECT_FALSE(watch.indefinite());
  watch.Opened();
  watch.Closed();
  watch.Statistics(3);
  EXPECT_FALSE(watch.indefinite());
  watch.Statistics(4);  // nothing was open in this second
  EXPECT_FALSE(watch.indefinite());
  watch.Opened();
  watch.Closed();
  watch.Statistics(6);
  EXPECT_THAT(watch.reason(), HasSubstr("2 requests"));
}

TEST(TransactionWatchTest, TheFirstReasonIsKept) {
  TransactionWatch watch(seconds(2));
  watch.Ended("abort", seconds(3));
  watch.Ended("commit", seconds(4));
  EXPECT_EQ(watch.reason(), "the abort took 3000 ms");
}

TEST(TroublesInStatisticsTest, SumsOverAllBrokers) {
  EXPECT_EQ(TroublesInStatistics(R"({"brokers":{"a":{"txretries":1,"req_timeouts":2,
      "disconnects": 3,"connects":9},"b":{"txretries":10,"disconnects":10}}})"),
            15);
  EXPECT_EQ(TroublesInStatistics(""), 0);
  EXPECT_EQ(TroublesInStatistics("\"disconnects\""), 0);
  EXPECT_EQ(TroublesInStatistics("\"disconnects\":-5"), 0);
  EXPECT_GT(TroublesInStatistics("\"disconnects\":99999999999999999999999"), 0);
}

TEST(HeadersTest, FindTakesTheLastAndSetReplacesAll) {
  Headers headers{{"a", "1"}, {"b", "2"}, {"a", "3"}};
  EXPECT_EQ(headers.Find("a"), "3");
  EXPECT_EQ(headers.Find("A"), std::nullopt);
  headers.Set("a", "4");
  EXPECT_THAT(headers.entries(), ElementsAre(Pair("a", "4"), Pair("b", "2")));
  headers.Set("c", "5");
  headers.Remove("b");
  EXPECT_THAT(headers.entries(), ElementsAre(Pair("a", "4"), Pair("c", "5")));
}

}  // namespace
}  // namespace tocsin::kafka::internal
