#include "services/correlation/aggregate/accumulator.h"

#include <type_traits>
#include <utility>

#include "lib/base/status.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace tocsin::correlation::aggregate {

Input InputOf(Function function) {
  switch (function) {
    case Function::kCount:
    case Function::kRate:
      return Input::kNothing;
    case Function::kDistinct:
    case Function::kTopK:
      return Input::kText;
    default:
      return Input::kNumber;
  }
}

std::size_t LargestState(Function function) {
  // Tags, lengths and numbers beside what is counted.
  constexpr std::size_t kFrame = 64;
  switch (function) {
    case Function::kDistinct:
      return kDistinctRegisters + kFrame;
    case Function::kPercentile:
      return (2 * static_cast<std::size_t>(kMostBuckets) + 1) * 13 + kFrame;
    case Function::kTopK:
      return kExactFrequencies * (kLongestFrequentValue + 28) + kFrame;
    default:
      return kFrame;
  }
}

Accumulator::Accumulator(const Spec& spec) : spec_(spec) {
  switch (spec.function) {
    case Function::kCount:
    case Function::kRate:
      held_ = std::int64_t{0};
      break;
    case Function::kSum:
    case Function::kAvg:
      held_ = Sum(spec.integer);
      break;
    case Function::kMin:
    case Function::kMax:
      held_ = Extremum(spec.integer, spec.function == Function::kMax);
      break;
    case Function::kStddev:
      held_ = Moments();
      break;
    case Function::kDistinct:
      held_ = Distinct();
      break;
    case Function::kPercentile:
      held_ = QuantileSketch();
      break;
    case Function::kTopK:
      held_ = Frequencies();
      break;
  }
}

void Accumulator::Add(const Value& value) {
  std::visit(
      [&](auto& held) {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::int64_t>) {
          ++held;
        } else {
          held.Add(value);
        }
      },
      held_);
}

void Accumulator::Merge(const Accumulator& other) {
  std::visit(
      [&](auto& held) {
        using Held = std::decay_t<decltype(held)>;
        const auto* there = std::get_if<Held>(&other.held_);
        if (there == nullptr) return;
        if constexpr (std::is_same_v<Held, std::int64_t>) {
          held += *there;
        } else {
          held.Merge(*there);
        }
      },
      held_);
}

void Accumulator::Result(std::chrono::microseconds length, v1::AggregateValue& result) const {
  switch (spec_.function) {
    case Function::kCount:
      result.set_integer(std::get<std::int64_t>(held_));
      break;
    case Function::kRate:
      if (length.count() <= 0) {
        result.set_error("no rate: all events have the same time");
      } else {
        result.set_number(static_cast<double>(std::get<std::int64_t>(held_)) * 1e6 /
                          static_cast<double>(length.count()));
      }
      break;
    case Function::kSum:
      std::get<Sum>(held_).Total(result);
      break;
    case Function::kAvg:
      std::get<Sum>(held_).Average(result);
      break;
    case Function::kMin:
    case Function::kMax:
      std::get<Extremum>(held_).Result(result);
      break;
    case Function::kStddev:
      std::get<Moments>(held_).Deviation(result);
      break;
    case Function::kDistinct:
      std::get<Distinct>(held_).Result(result);
      break;
    case Function::kPercentile:
      std::get<QuantileSketch>(held_).Percentile(spec_.percentile, result);
      break;
    case Function::kTopK:
      std::get<Frequencies>(held_).Top(spec_.k, result);
      break;
  }
}

void Accumulator::Save(v1::AccumulatorState& state) const {
  if (const auto* count = std::get_if<std::int64_t>(&held_)) state.set_count(*count);
  if (const auto* held = std::get_if<Sum>(&held_)) held->Save(*state.mutable_sum());
  if (const auto* held = std::get_if<Extremum>(&held_); held != nullptr && !held->empty()) {
    held->Save(*state.mutable_extremum());
  }
  if (const auto* held = std::get_if<Moments>(&held_)) held->Save(*state.mutable_moments());
  if (const auto* held = std::get_if<Distinct>(&held_)) held->Save(*state.mutable_distinct());
  if (const auto* held = std::get_if<QuantileSketch>(&held_)) held->Save(*state.mutable_sketch());
  if (const auto* held = std::get_if<Frequencies>(&held_)) held->Save(*state.mutable_frequency());
}

absl::StatusOr<Accumulator> Accumulator::Load(const Spec& spec, const v1::AccumulatorState& state) {
  using State = v1::AccumulatorState;
  Accumulator loaded(spec);
  absl::Status status;
  State::StateCase expected = State::STATE_NOT_SET;
  if (auto* count = std::get_if<std::int64_t>(&loaded.held_)) {
    expected = State::kCount;
    *count = state.count();
    if (state.count() < 0) status = InvalidArgument("a negative count");
  } else if (auto* sum = std::get_if<Sum>(&loaded.held_)) {
    expected = State::kSum;
    status = sum->Load(state.sum());
  } else if (auto* extremum = std::get_if<Extremum>(&loaded.held_)) {
    // Nothing at all: no value has come.
    if (state.state_case() == State::STATE_NOT_SET) return loaded;
    expected = State::kExtremum;
    status = extremum->Load(state.extremum());
  } else if (auto* moments = std::get_if<Moments>(&loaded.held_)) {
    expected = State::kMoments;
    status = moments->Load(state.moments());
  } else if (auto* distinct = std::get_if<Distinct>(&loaded.held_)) {
    expected = State::kDistinct;
    status = distinct->Load(state.distinct());
  } else if (auto* sketch = std::get_if<QuantileSketch>(&loaded.held_)) {
    expected = State::kSketch;
    status = sketch->Load(state.sketch());
  } else if (auto* frequencies = std::get_if<Frequencies>(&loaded.held_)) {
    expected = State::kFrequency;
    status = frequencies->Load(state.frequency());
  }
  if (!status.ok()) return status;
  if (state.state_case() != expected) {
    return InvalidArgument("the state of another kind of accumulator");
  }
  return loaded;
}

}  // namespace tocsin::correlation::aggregate
