// One aggregate of one window, or of a part of one: events are added, parts are merged, the result
// is asked for, the state is saved and loaded. The place to begin.
//
// | function   | of                      | result             | exact | | ---------- |
// ----------------------- | ------------------ | ---------------------------------- | | count | all
// events              | integer            | yes                                | | rate       |
// all events              | events per second  | yes                                | | sum |
// numbers                 | as the field       | whole numbers; overflow is an error| | avg |
// numbers                 | number             | to the last bits                   | | min, max |
// numbers                 | as the field       | yes                                | | stddev |
// numbers, at least two   | number             | to the last bits                   | | distinct |
// texts                   | integer            | up to 512, then 1.6 % standard error| | percentile
// | numbers                 | number             | 0.8 % of the value at most         | | top_k |
// texts                   | list               | up to 2,048 values, then told      |
//
// An event without the value takes no part in that aggregate, as in SQL; nor do numbers that are
// not finite. Where no event had a value there is no result.
//
// A plain value; threads: one at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <variant>

#include "absl/status/statusor.h"
#include "services/correlation/aggregate/distinct.h"
#include "services/correlation/aggregate/frequencies.h"
#include "services/correlation/aggregate/numbers.h"
#include "services/correlation/aggregate/quantile_sketch.h"
#include "services/correlation/aggregate/value.h"

namespace tocsin::correlation::v1 {
class AccumulatorState;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation::aggregate {

enum class Function {
  kCount,
  kSum,
  kAvg,
  kMin,
  kMax,
  kStddev,
  kDistinct,
  kPercentile,
  kTopK,
  kRate
};

// What an aggregate's function needs to be told of each event.
enum class Input { kNothing, kNumber, kText };
Input InputOf(Function function);

struct Spec {
  Function function = Function::kCount;
  // sum, min, max: the field holds whole numbers.
  bool integer = false;
  // percentile: above 0, at most 100.
  double percentile = 0;
  // top_k.
  std::int64_t k = 0;
};

// The most bytes that the state of one accumulator takes.
std::size_t LargestState(Function function);

class Accumulator {
 public:
  explicit Accumulator(const Spec& spec);

  void Add(const Value& value);
  // `other` was made for the same spec.
  void Merge(const Accumulator& other);
  // `length` of the whole window, for the rate.
  void Result(std::chrono::microseconds length, v1::AggregateValue& result) const;

  void Save(v1::AccumulatorState& state) const;
  // INVALID_ARGUMENT: not the state of an accumulator of this spec.
  static absl::StatusOr<Accumulator> Load(const Spec& spec, const v1::AccumulatorState& state);

 private:
  Spec spec_;
  std::variant<std::int64_t, Sum, Extremum, Moments, Distinct, QuantileSketch, Frequencies> held_;
};

}  // namespace tocsin::correlation::aggregate
