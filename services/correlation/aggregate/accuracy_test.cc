// How far off the sketches are, against exact answers, on uniform, Zipf and adversarial data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "lib/base/text.h"
#include "services/correlation/aggregate/accumulator.h"
#include "tocsin/correlation/v1/aggregate.pb.h"

namespace tocsin::correlation::aggregate {
namespace {

v1::AggregateValue ResultOf(const Accumulator& accumulator) {
  v1::AggregateValue result;
  accumulator.Result(std::chrono::seconds(1), result);
  return result;
}

// Ranks 0, 1, 2 … with a frequency falling as 1 / (rank + 1).
class Zipf {
 public:
  explicit Zipf(std::size_t values) {
    double sum = 0;
    for (std::size_t i = 0; i < values; ++i) {
      sum += 1.0 / static_cast<double>(i + 1);
      cumulative_.push_back(sum);
    }
  }
  std::size_t operator()(std::mt19937_64& random) const {
    const double at = std::uniform_real_distribution<double>(0, cumulative_.back())(random);
    return static_cast<std::size_t>(std::lower_bound(cumulative_.begin(), cumulative_.end(), at) -
                                    cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
};

TEST(AccuracyTest, DistinctIsExactToItsBound) {
  for (const std::size_t distinct : {std::size_t{1}, std::size_t{100}, kExactDistinct}) {
    Accumulator accumulator({Function::kDistinct});
    for (std::size_t i = 0; i < 5 * distinct; ++i) {
      accumulator.Add(Concat("v", i * 7919 % distinct));
    }
    EXPECT_EQ(ResultOf(accumulator).integer(), static_cast<std::int64_t>(distinct));
    EXPECT_EQ(ResultOf(accumulator).relative_error(), 0);
  }
}

TEST(AccuracyTest, DistinctBeyondIsWithinItsStandardError) {
  // The root of the mean square of many errors is the standard error; single ones stay within four.
  for (const std::size_t distinct : {513U, 1'000U, 4'000U, 10'000U, 30'000U, 200'000U}) {
    double squares = 0;
    const std::size_t runs = distinct > 50'000 ? 12 : 40;
    for (std::size_t run = 0; run < runs; ++run) {
      Accumulator accumulator({Function::kDistinct});
      for (std::size_t i = 0; i < distinct; ++i) {
        // Half of the runs: names that differ in their last character only.
        accumulator.Add(run % 2 == 0 ? Concat("run", run, "/", i) : Concat(i, "/", run));
      }
      const v1::AggregateValue result = ResultOf(accumulator);
      EXPECT_EQ(result.relative_error(), kDistinctStandardError);
      const double error =
          static_cast<double>(result.integer()) / static_cast<double>(distinct) - 1;
      EXPECT_LT(std::abs(error), 4 * kDistinctStandardError) << distinct;
      squares += error * error;
    }
    EXPECT_LT(std::sqrt(squares / static_cast<double>(runs)), 1.4 * kDistinctStandardError)
        << distinct;
  }
}

std::vector<double> Sample(int kind, std::mt19937_64& random, std::size_t count) {
  std::vector<double> numbers;
  const Zipf zipf(10'000);
  for (std::size_t i = 0; i < count; ++i) {
    switch (kind) {
      case 0:
        numbers.push_back(std::uniform_real_distribution<double>(-1000, 1000)(random));
        break;
      case 1:
        numbers.push_back(static_cast<double>(zipf(random) + 1));
        break;
      case 2:
        // Seven decades.
        numbers.push_back(std::pow(10, std::uniform_real_distribution<double>(-2, 5)(random)));
        break;
      default:
        // At the ends of buckets, just below and above powers of two.
        numbers.push_back(std::nextafter(std::ldexp(1.0 + static_cast<double>(random() % 64) / 64,
                                                    static_cast<int>(random() % 20)),
                                         random() % 2 == 0 ? 0.0 : 1e300));
    }
  }
  return numbers;
}

TEST(AccuracyTest, PercentilesAreWithinTheirBound) {
  std::mt19937_64 random(5);
  for (int kind = 0; kind < 4; ++kind) {
    for (const std::size_t count : {1U, 2U, 99U, 20'000U}) {
      std::vector<double> numbers = Sample(kind, random, count);
      Accumulator parts[] = {Accumulator({Function::kPercentile, false, 50}),
                             Accumulator({Function::kPercentile, false, 50})};
      for (const double number : numbers) parts[random() % 2].Add(number);
      parts[0].Merge(parts[1]);

      std::sort(numbers.begin(), numbers.end());
      for (const double percentile : {0.1, 1.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 100.0}) {
        Accumulator asked({Function::kPercentile, false, percentile});
        asked.Merge(parts[0]);
        const auto rank = static_cast<std::size_t>(
            std::max(1.0, std::ceil(percentile / 100 * static_cast<double>(count))));
        const double exact = numbers[rank - 1];
        const v1::AggregateValue result = ResultOf(asked);
        EXPECT_LE(std::abs(result.number() - exact),
                  result.relative_error() * std::abs(exact) * (1 + 1e-12))
            << "kind " << kind << ", " << count << " numbers, percentile " << percentile;
        EXPECT_LE(result.relative_error(), 0.01);
      }
    }
  }
}

struct Counted {
  Accumulator accumulator;
  std::map<std::string, std::int64_t> exact;
  std::int64_t events = 0;
};

Counted CountTexts(int kind, std::mt19937_64& random, std::size_t count) {
  const Spec spec{Function::kTopK, false, 0, 20};
  Counted counted{Accumulator(spec), {}, static_cast<std::int64_t>(count)};
  std::vector<Accumulator> parts(3, Accumulator(spec));
  const Zipf zipf(50'000);
  for (std::size_t i = 0; i < count; ++i) {
    std::string text;
    switch (kind) {
      case 0:
        text = Concat("u", random() % 50'000);
        break;
      case 1:
        text = Concat("z", zipf(random));
        break;
      default:
        // What is frequent comes last, after a flood of values that come once.
        text = i < count * 9 / 10 ? Concat("once", i) : Concat("late", i % 30);
    }
    ++counted.exact[text];
    parts[kind == 2 ? 0 : random() % 3].Add(text);
  }
  for (const Accumulator& part : parts) counted.accumulator.Merge(part);
  return counted;
}

TEST(AccuracyTest, FrequenciesAreWithinTheirBound) {
  std::mt19937_64 random(6);
  for (int kind = 0; kind < 3; ++kind) {
    SCOPED_TRACE(Concat("kind ", kind));
    const Counted counted = CountTexts(kind, random, 200'000);
    const v1::TopK top = ResultOf(counted.accumulator).top();
    EXPECT_GT(top.others_at_most(), 0) << "more values than are held";
    EXPECT_LE(top.others_at_most(),
              counted.events / static_cast<std::int64_t>(kExactFrequencies) + 3);
    std::set<std::string> listed;
    for (const v1::TopEntry& entry : top.entries()) {
      const std::int64_t exact =
          counted.exact.contains(entry.value()) ? counted.exact.at(entry.value()) : std::int64_t{0};
      EXPECT_GE(entry.count(), exact);
      EXPECT_LE(entry.count() - exact, entry.overcount_at_most());
      listed.insert(entry.value());
    }
    // Whatever is certainly frequent is listed, or tied with what is.
    const std::int64_t least = top.entries(top.entries_size() - 1).count();
    for (const auto& [value, count] : counted.exact) {
      EXPECT_TRUE(count <= least || listed.contains(value)) << value << ' ' << count;
    }
  }
}

TEST(AccuracyTest, FrequenciesAreExactToTheirBound) {
  std::mt19937_64 random(7);
  Accumulator accumulator({Function::kTopK, false, 0, 10});
  std::map<std::string, std::int64_t> exact;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = Concat("v", random() % kExactFrequencies);
    ++exact[text];
    accumulator.Add(text);
  }
  std::vector<std::int64_t> counts;
  for (const auto& [value, count] : exact) counts.push_back(count);
  std::sort(counts.rbegin(), counts.rend());
  const v1::TopK top = ResultOf(accumulator).top();
  EXPECT_EQ(top.others_at_most(), 0);
  ASSERT_EQ(top.entries_size(),
            std::count_if(counts.begin(), counts.end(), [&](auto c) { return c >= counts[9]; }));
  for (const v1::TopEntry& entry : top.entries()) {
    EXPECT_EQ(entry.count(), exact.at(entry.value()));
    EXPECT_EQ(entry.overcount_at_most(), 0);
  }
}

TEST(AccuracyTest, TheDeviationStandsLargeOffsets) {
  Accumulator accumulator({Function::kStddev});
  for (int i = 0; i < 1000; ++i) accumulator.Add(1e9 + (i % 2 == 0 ? 1.0 : -1.0));
  EXPECT_NEAR(ResultOf(accumulator).number(), std::sqrt(1000.0 / 999), 1e-6);
}

}  // namespace
}  // namespace tocsin::correlation::aggregate
