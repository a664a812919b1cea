#include "services/correlation/aggregate/numbers.h"

#include <cmath>
#include <limits>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace tocsin::correlation::aggregate {
namespace {

absl::int128 AsWhole(const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return *number;
  return 0;
}

bool IsNumber(const Value& value) {
  if (const auto* number = std::get_if<double>(&value)) return std::isfinite(*number);
  return std::holds_alternative<std::int64_t>(value) ||
         std::holds_alternative<std::uint64_t>(value);
}

void SetWhole(absl::int128 whole, std::string_view what, v1::AggregateValue& result) {
  if (whole > std::numeric_limits<std::int64_t>::max() ||
      whole < std::numeric_limits<std::int64_t>::min()) {
    result.set_error(Concat("overflow: the ", what, " does not fit into 64 bits"));
  } else {
    result.set_integer(static_cast<std::int64_t>(whole));
  }
}

void SetNumber(double number, std::string_view what, v1::AggregateValue& result) {
  if (std::isfinite(number)) {
    result.set_number(number);
  } else {
    result.set_error(Concat("overflow: the ", what, " is beyond the range of a double"));
  }
}

template <typename State>
void SaveWhole(absl::int128 whole, State& state) {
  state.set_high(absl::Int128High64(whole));
  state.set_low(absl::Int128Low64(whole));
}

}  // namespace

double AsDouble(const Value& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return static_cast<double>(*number);
  return 0;
}

void Sum::AddNumber(double number) {
  const double next = sum_ + number;
  compensation_ +=
      std::abs(sum_) >= std::abs(number) ? (sum_ - next) + number : (number - next) + sum_;
  sum_ = next;
}

void Sum::Add(const Value& value) {
  if (!IsNumber(value)) return;
  ++count_;
  if (integer_) {
    whole_ += AsWhole(value);
  } else {
    AddNumber(AsDouble(value));
  }
}

void Sum::Merge(const Sum& other) {
  count_ += other.count_;
  whole_ += other.whole_;
  AddNumber(other.sum_);
  compensation_ += other.compensation_;
}

void Sum::Total(v1::AggregateValue& result) const {
  if (count_ == 0) return;
  if (integer_) {
    SetWhole(whole_, "sum", result);
  } else {
    SetNumber(sum_ + compensation_, "sum", result);
  }
}

void Sum::Average(v1::AggregateValue& result) const {
  if (count_ == 0) return;
  const double total = integer_ ? static_cast<double>(whole_) : sum_ + compensation_;
  SetNumber(total / static_cast<double>(count_), "sum", result);
}

void Sum::Save(v1::SumState& state) const {
  state.set_count(count_);
  if (integer_) {
    SaveWhole(whole_, state);
  } else {
    state.set_sum(sum_);
    state.set_compensation(compensation_);
  }
}

absl::Status Sum::Load(const v1::SumState& state) {
  if (state.count() < 0) return InvalidArgument("a sum over a negative number of values");
  count_ = state.count();
  whole_ = absl::MakeInt128(state.high(), state.low());
  sum_ = state.sum();
  compensation_ = state.compensation();
  return absl::OkStatus();
}

void Extremum::Take(absl::int128 whole, double number) {
  const bool better = integer_ ? (largest_ ? whole > whole_ : whole < whole_)
                               : (largest_ ? number > number_ : number < number_);
  if (!empty_ && !better) return;
  empty_ = false;
  whole_ = whole;
  number_ = number;
}

void Extremum::Add(const Value& value) {
  if (!IsNumber(value)) return;
  // Zero has one sign, so that the order in which values come does not matter.
  Take(AsWhole(value), AsDouble(value) + 0.0);
}

void Extremum::Merge(const Extremum& other) {
  if (!other.empty_) Take(other.whole_, other.number_);
}

void Extremum::Result(v1::AggregateValue& result) const {
  if (empty_) return;
  if (integer_) {
    SetWhole(whole_, largest_ ? "largest value" : "smallest value", result);
  } else {
    result.set_number(number_);
  }
}

void Extremum::Save(v1::ExtremumState& state) const {
  if (integer_) {
    SaveWhole(whole_, state);
  } else {
    state.set_number(number_);
  }
}

absl::Status Extremum::Load(const v1::ExtremumState& state) {
  if (!std::isfinite(state.number())) return InvalidArgument("a smallest value that is no number");
  empty_ = false;
  whole_ = absl::MakeInt128(state.high(), state.low());
  number_ = state.number();
  return absl::OkStatus();
}

void Moments::Add(const Value& value) {
  if (!IsNumber(value)) return;
  const double number = AsDouble(value);
  ++count_;
  const double from_old = number - mean_;
  mean_ += from_old / static_cast<double>(count_);
  squares_ += from_old * (number - mean_);
}

void Moments::Merge(const Moments& other) {
  if (other.count_ == 0) return;
  if (count_ == 0) {
    *this = other;
    return;
  }
  const auto left = static_cast<double>(count_);
  const auto right = static_cast<double>(other.count_);
  const double apart = other.mean_ - mean_;
  count_ += other.count_;
  mean_ += apart * (right / (left + right));
  squares_ += other.squares_ + apart * apart * (left * (right / (left + right)));
}

void Moments::Deviation(v1::AggregateValue& result) const {
  if (count_ < 2) return;
  SetNumber(std::sqrt(squares_ / static_cast<double>(count_ - 1)), "sum of squares", result);
}

void Moments::Save(v1::MomentsState& state) const {
  state.set_count(count_);
  state.set_mean(mean_);
  state.set_squares(squares_);
}

absl::Status Moments::Load(const v1::MomentsState& state) {
  if (state.count() < 0) return InvalidArgument("a deviation of a negative number of values");
  count_ = state.count();
  mean_ = state.mean();
  squares_ = state.squares();
  return absl::OkStatus();
}

}  // namespace tocsin::correlation::aggregate
