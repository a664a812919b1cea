#include "services/correlation/aggregate/accumulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/correlation/aggregate/hash64.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace tocsin::correlation::aggregate {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::chrono::seconds kLength{10};
constexpr Function kAll[] = {Function::kCount,    Function::kSum,        Function::kAvg,
                             Function::kMin,      Function::kMax,        Function::kStddev,
                             Function::kDistinct, Function::kPercentile, Function::kTopK,
                             Function::kRate};

v1::AggregateValue ResultOf(const Accumulator& accumulator) {
  v1::AggregateValue result;
  accumulator.Result(kLength, result);
  return result;
}

Accumulator Over(const Spec& spec, const std::vector<Value>& values) {
  Accumulator accumulator(spec);
  for (const Value& value : values) accumulator.Add(value);
  return accumulator;
}

std::vector<Value> Whole(std::initializer_list<std::int64_t> numbers) {
  return {numbers.begin(), numbers.end()};
}
std::vector<Value> Real(std::initializer_list<double> numbers) {
  return {numbers.begin(), numbers.end()};
}

TEST(AccumulatorTest, SaysWhatTheNumbersSay) {
  const std::vector<Value> values = Whole({3, 1, 4, 1, 5});
  EXPECT_EQ(ResultOf(Over({Function::kCount}, values)).integer(), 5);
  EXPECT_EQ(ResultOf(Over({Function::kSum, true}, values)).integer(), 14);
  EXPECT_EQ(ResultOf(Over({Function::kAvg, true}, values)).number(), 2.8);
  EXPECT_EQ(ResultOf(Over({Function::kMin, true}, values)).integer(), 1);
  EXPECT_EQ(ResultOf(Over({Function::kMax, true}, values)).integer(), 5);
  EXPECT_DOUBLE_EQ(ResultOf(Over({Function::kStddev, true}, values)).number(), std::sqrt(3.2));
  EXPECT_EQ(ResultOf(Over({Function::kRate}, values)).number(), 0.5);
  EXPECT_NEAR(ResultOf(Over({Function::kPercentile, true, 50}, values)).number(), 3, 3.0 / 129);
  const std::vector<Value> texts = {"b", "a", "b", "c", "a", "d"};
  EXPECT_EQ(ResultOf(Over({Function::kDistinct}, texts)).integer(), 4);
  const v1::TopK top = ResultOf(Over({Function::kTopK, false, 0, 1}, texts)).top();
  ASSERT_THAT(top.entries(), SizeIs(2)) << "ties belong to it";
  EXPECT_EQ(top.entries(0).value(), "a");
  EXPECT_EQ(top.entries(1).value(), "b");
  EXPECT_EQ(top.entries(1).count(), 2);
}

TEST(AccumulatorTest, WithoutValuesThereIsNoResultButACount) {
  const std::vector<Value> none = {std::monostate(), std::numeric_limits<double>::quiet_NaN(),
                                   std::numeric_limits<double>::infinity()};
  for (const Function function : kAll) {
    const Spec spec{function, false, 50, 1};
    const v1::AggregateValue result = ResultOf(Over(spec, none));
    EXPECT_EQ(result.error(), "");
    if (function == Function::kCount) {
      EXPECT_EQ(result.integer(), 3);
    } else if (function == Function::kRate) {
      EXPECT_DOUBLE_EQ(result.number(), 0.3);
    } else if (function == Function::kDistinct) {
      EXPECT_EQ(result.integer(), 0);
    } else {
      EXPECT_EQ(result.value_case(), v1::AggregateValue::VALUE_NOT_SET);
    }
  }
  EXPECT_EQ(ResultOf(Over({Function::kStddev}, Real({1.0}))).value_case(),
            v1::AggregateValue::VALUE_NOT_SET);
}

TEST(AccumulatorTest, AnOverflowIsSaidAndOnlyWhereTheResultOverflows) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_THAT(ResultOf(Over({Function::kSum, true}, Whole({kMost, 1}))).error(),
              HasSubstr("does not fit into 64 bits"));
  EXPECT_EQ(ResultOf(Over({Function::kSum, true}, Whole({kMost, 1, -1}))).integer(), kMost);
  const std::vector<Value> large = {std::numeric_limits<std::uint64_t>::max(), std::uint64_t{1}};
  EXPECT_THAT(ResultOf(Over({Function::kMax, true}, large)).error(), HasSubstr("largest value"));
  EXPECT_EQ(ResultOf(Over({Function::kMin, true}, large)).integer(), 1);
  EXPECT_DOUBLE_EQ(ResultOf(Over({Function::kAvg, true}, large)).number(), std::ldexp(1.0, 63));
  EXPECT_THAT(ResultOf(Over({Function::kSum}, Real({1e308, 1e308}))).error(),
              HasSubstr("beyond the range of a double"));
}

TEST(AccumulatorTest, SmallNumbersAreNotLostBesideLargeOnes) {
  std::vector<Value> values = Real({1e16});
  for (int i = 0; i < 1000; ++i) values.emplace_back(1.0);
  values.emplace_back(-1e16);
  EXPECT_EQ(ResultOf(Over({Function::kSum}, values)).number(), 1000);
}

TEST(AccumulatorTest, ThePercentileIsTheNearestRank) {
  std::vector<Value> values;
  for (std::int64_t i = 1; i <= 100; ++i) values.emplace_back(i);
  for (const double percentile : {0.5, 1.0, 50.0, 99.0, 99.5, 100.0}) {
    const double exact = std::ceil(percentile);
    EXPECT_NEAR(ResultOf(Over({Function::kPercentile, true, percentile}, values)).number(), exact,
                exact * kQuantileRelativeError * (1 + 1e-12));
  }
  EXPECT_EQ(ResultOf(Over({Function::kPercentile, true, 99}, Whole({7}))).number(), 7);
  EXPECT_EQ(ResultOf(Over({Function::kPercentile, true, 50}, Whole({0, -5, 5}))).number(), 0);
}

TEST(AccumulatorTest, APercentileAmongMergedBucketsIsNotTold) {
  const std::vector<Value> values = Real({1e-30, 1e-29, 1e30});
  EXPECT_THAT(ResultOf(Over({Function::kPercentile, false, 50}, values)).error(),
              HasSubstr("64 powers of two"));
  EXPECT_NEAR(ResultOf(Over({Function::kPercentile, false, 100}, values)).number(), 1e30, 1e28);
}

TEST(AccumulatorTest, ALongValueIsKnownByItsBeginningAndHash) {
  const std::string first = std::string(300, 'x') + "1";
  const std::string second = std::string(300, 'x') + "2";
  const v1::TopK top = ResultOf(Over({Function::kTopK, false, 0, 5}, {first, second, first})).top();
  ASSERT_THAT(top.entries(), SizeIs(2));
  EXPECT_THAT(top.entries(0).value(), HasSubstr("xxx…#"));
  EXPECT_EQ(top.entries(0).count(), 2);
}

TEST(AccumulatorTest, TheHashIsMurmur3) {
  EXPECT_EQ(Hash64(""), 0U);
  EXPECT_EQ(Hash64("hello"), 0xcbd8a7b341bd9b02U);
  EXPECT_EQ(Hash64("The quick brown fox jumps over the lazy dog"), 0xe34bbc7bbc071b6cU);
}

// --- merging ---

std::vector<Value> RandomValues(std::mt19937_64& random, Input input, bool integer,
                                std::size_t count) {
  std::vector<Value> values;
  for (std::size_t i = 0; i < count; ++i) {
    if (random() % 20 == 0) {
      values.emplace_back(std::monostate());
    } else if (input == Input::kText) {
      values.emplace_back(Concat("value ", random() % 700));
    } else if (integer) {
      values.emplace_back(static_cast<std::int64_t>(random() % 2'000'001) - 1'000'000);
    } else {
      values.emplace_back(std::ldexp(static_cast<double>(random() % 1000) - 500,
                                     static_cast<int>(random() % 40) - 20));
    }
  }
  return values;
}

void ExpectAlike(const Accumulator& a, const Accumulator& b, bool exactly) {
  const v1::AggregateValue left = ResultOf(a);
  const v1::AggregateValue right = ResultOf(b);
  if (exactly || left.value_case() != v1::AggregateValue::kNumber) {
    EXPECT_EQ(left.SerializeAsString(), right.SerializeAsString());
  } else {
    EXPECT_NEAR(left.number(), right.number(), 1e-9 * (1 + std::abs(left.number())));
  }
}

class MergeTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Seeds, MergeTest, ::testing::Range(1, 31));

TEST_P(MergeTest, NeitherOrderNorDivisionMatters) {
  std::mt19937_64 random(static_cast<std::uint64_t>(GetParam()));
  for (const Function function : kAll) {
    for (const bool integer : {true, false}) {
      SCOPED_TRACE(Concat("function ", static_cast<int>(function), integer ? " whole" : " real"));
      const Spec spec{function, integer, 90, 3};
      // Whole numbers whose average and deviation are doubles, too, are divided at the end only.
      const bool exactly = function != Function::kStddev &&
                           (integer || (function != Function::kSum && function != Function::kAvg));
      std::vector<Value> values = RandomValues(random, InputOf(function), integer, 1500);
      const Accumulator whole = Over(spec, values);
      std::shuffle(values.begin(), values.end(), random);
      ExpectAlike(Over(spec, values), whole, exactly);

      std::vector<Accumulator> parts(1 + random() % 6, Accumulator(spec));
      for (const Value& value : values) parts[random() % parts.size()].Add(value);
      while (parts.size() > 1) {
        std::shuffle(parts.begin(), parts.end(), random);
        const Accumulator last = parts.back();
        parts.pop_back();
        parts.back().Merge(last);
        // The state says it all.
        v1::AccumulatorState saved;
        parts.back().Save(saved);
        EXPECT_LE(saved.ByteSizeLong(), LargestState(function));
        const auto loaded = Accumulator::Load(spec, saved);
        ASSERT_THAT(loaded.status(), IsOk());
        ExpectAlike(*loaded, parts.back(), true);
        parts.back() = *loaded;
      }
      ExpectAlike(parts.front(), whole, exactly);

      Accumulator with_nothing(spec);
      with_nothing.Merge(whole);
      ExpectAlike(with_nothing, whole, true);
      with_nothing.Merge(Accumulator(spec));
      ExpectAlike(with_nothing, whole, true);
    }
  }
}

TEST(LoadTest, RefusesWhatNoAccumulatorHasSaved) {
  const auto load = [](const Spec& spec, const v1::AccumulatorState& state) {
    return Accumulator::Load(spec, state).status();
  };
  v1::AccumulatorState state;
  EXPECT_FALSE(load({Function::kCount}, state).ok()) << "nothing at all";
  state.set_count(-1);
  EXPECT_FALSE(load({Function::kCount}, state).ok());
  state.set_count(1);
  EXPECT_FALSE(load({Function::kDistinct}, state).ok()) << "of another kind";
  state.mutable_distinct()->set_registers("short");
  EXPECT_FALSE(load({Function::kDistinct}, state).ok());
  state.mutable_distinct()->set_registers(std::string(kDistinctRegisters, '\x7f'));
  EXPECT_FALSE(load({Function::kDistinct}, state).ok());
  state.mutable_sketch()->add_counts(3);
  EXPECT_FALSE(load({Function::kPercentile}, state).ok());
  state.mutable_sketch()->add_bucket_steps(std::numeric_limits<std::int32_t>::max());
  EXPECT_FALSE(load({Function::kPercentile}, state).ok());
  state.mutable_frequency()->add_entries()->set_count(0);
  EXPECT_FALSE(load({Function::kTopK}, state).ok());
  state.mutable_frequency()->mutable_entries(0)->set_count(3);
  EXPECT_TRUE(load({Function::kTopK}, state).ok());
  state.mutable_frequency()->set_approximate(true);
  EXPECT_FALSE(load({Function::kTopK}, state).ok()) << "a full summary has all its entries";
}

}  // namespace
}  // namespace tocsin::correlation::aggregate
