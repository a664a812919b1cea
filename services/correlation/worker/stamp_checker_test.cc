#include "services/correlation/worker/stamp_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::int32_t kPartitions = 3;

// The logs of an output topic, as transactions would have written them.
struct Logs {
  std::vector<std::vector<OutputStamp>> partitions{kPartitions};

  static Logs Random(std::mt19937_64& random) {
    Logs logs;
    for (const char* worker : {"a", "b"}) {
      for (std::int64_t incarnation = 1; incarnation <= 3; ++incarnation) {
        for (std::int64_t transaction = 1; transaction <= 8; ++transaction) {
          logs.Write(worker, incarnation, transaction, 2 + static_cast<std::int64_t>(random() % 5),
                     random);
        }
      }
    }
    return logs;
  }
  void Write(const std::string& worker, std::int64_t incarnation, std::int64_t transaction,
             std::int64_t outputs, std::mt19937_64& random) {
    for (std::int64_t i = 1; i <= outputs; ++i) {
      partitions[random() % kPartitions].push_back(
          {{worker, incarnation, transaction, outputs}, i});
    }
  }

  std::set<std::string> Check() const {
    StampChecker checker;
    for (std::int32_t p = 0; p < kPartitions; ++p) {
      const auto& log = partitions[static_cast<std::size_t>(p)];
      for (std::size_t offset = 0; offset < log.size(); ++offset) {
        checker.Read({"out", p}, static_cast<std::int64_t>(offset), log[offset]);
      }
    }
    checker.Settle(checker.Moment());
    std::set<std::string> kinds;
    for (const Violation& violation : checker.Take()) kinds.insert(violation.kind);
    return kinds;
  }

  // A record in the middle of everything.
  std::pair<std::size_t, std::size_t> Somewhere(std::mt19937_64& random) const {
    for (;;) {
      const std::size_t p = random() % kPartitions;
      if (partitions[p].empty()) continue;
      const std::size_t at = random() % partitions[p].size();
      // Of what is missing at the very end of an incarnation stamps cannot tell.
      const std::int64_t transaction = partitions[p][at].transaction.transaction;
      if (transaction > 1 && transaction < 8) return {p, at};
    }
  }
};

TEST(StampCheckerTest, RightOutputsAreRight) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    EXPECT_THAT(Logs::Random(random).Check(), IsEmpty()) << seed;
  }
}

TEST(StampCheckerTest, WhatIsPlantedIsFound) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    const Logs right = Logs::Random(random);
    const auto [p, at] = right.Somewhere(random);
    const TransactionStamp victim = right.partitions[p][at].transaction;

    Logs torn = right;
    torn.partitions[p].erase(torn.partitions[p].begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_THAT(torn.Check(), UnorderedElementsAre("torn")) << seed;

    Logs lost = right;
    for (auto& log : lost.partitions) {
      std::erase_if(log, [&](const OutputStamp& stamp) { return stamp.transaction == victim; });
    }
    EXPECT_THAT(lost.Check(), UnorderedElementsAre("lost")) << seed;

    Logs repeated = right;
    repeated.partitions[random() % kPartitions].push_back(right.partitions[p][at]);
    // Which of the two was first depends on which partition is read first.
    EXPECT_THAT(repeated.Check(), Contains("repeated")) << seed;

    Logs reordered = right;
    auto& log = reordered.partitions[p];
    const auto other = std::find_if(log.begin(), log.end(), [&](const OutputStamp& stamp) {
      return stamp.transaction.worker == victim.worker &&
             (stamp.transaction.incarnation != victim.incarnation ||
              stamp.transaction.transaction != victim.transaction);
    });
    if (other == log.end()) continue;
    std::iter_swap(log.begin() + static_cast<std::ptrdiff_t>(at), other);
    EXPECT_THAT(reordered.Check(), UnorderedElementsAre("reordered")) << seed;
  }
}

TEST(StampCheckerTest, WhatIsStillBeingReadIsNotTorn) {
  StampChecker checker;
  const TransactionStamp stamp{"a", 1, 1, 2};
  const std::int64_t before = checker.Moment();
  checker.Read({"out", 0}, 0, {stamp, 1});
  // Whoever read to the ends of before has not read the rest of it.
  checker.Settle(before);
  EXPECT_THAT(checker.Take(), IsEmpty());
  const std::int64_t after = checker.Moment();
  checker.Read({"out", 1}, 0, {stamp, 2});
  checker.Settle(after);
  EXPECT_THAT(checker.Take(), IsEmpty());
}

TEST(StampCheckerTest, WhatBeganBeforeTheReadingIsNotJudged) {
  StampChecker checker({{{"out", 0}, 5}, {{"out", 1}, 3}});
  checker.Read({"out", 0}, 4, {{"a", 7, 30, 3}, 3});
  checker.Read({"out", 0}, 5, {{"a", 7, 32, 2}, 1});
  checker.Read({"out", 1}, 3, {{"a", 7, 32, 2}, 2});
  checker.Settle(checker.Moment());
  EXPECT_THAT(checker.Take(), IsEmpty());
  // From then on everything counts, and the next incarnation from its beginning.
  checker.Read({"out", 1}, 4, {{"a", 7, 34, 1}, 1});
  checker.Read({"out", 1}, 5, {{"a", 8, 2, 1}, 1});
  checker.Settle(checker.Moment());
  std::vector<std::string> what;
  for (const Violation& violation : checker.Take()) {
    what.push_back(Concat(violation.kind, " ", violation.what));
  }
  EXPECT_THAT(what, UnorderedElementsAre("lost a/7/33", "lost a/8/1"));
}

TEST(StampCheckerTest, ManyTransactionsTakeNoMemory) {
  StampChecker checker;
  for (std::int64_t n = 1; n <= 10'000; ++n) {
    checker.Read({"out", 0}, n, {{"a", 1, n, 1}, 1});
    if (n % 100 == 0) checker.Settle(checker.Moment());
  }
  EXPECT_THAT(checker.Take(), IsEmpty());
  checker.Read({"out", 0}, 20'000, {{"a", 1, 77, 1}, 1});
  std::vector<std::string> kinds;
  for (const Violation& violation : checker.Take()) kinds.push_back(violation.kind);
  EXPECT_THAT(kinds, Contains("repeated"));
}

}  // namespace
}  // namespace tocsin::correlation
