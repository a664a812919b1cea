// Accumulators over numbers: sum and average, smallest and largest, standard deviation.
//
// Whole numbers are added in 128 bits, so that neither order nor division into parts matters and an
// overflow is a property of the result alone. Floating-point numbers must be finite; they are added
// with the compensation of Neumaier (A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur
// Summation endlicher Summen", 1974): the result depends on the order by a few units in the last
// place at most. Standard deviation: B. P. Welford, "Note on a method for calculating corrected
// sums of squares and products", 1962; merged as by T. F. Chan, G. H. Golub, R. J. LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
//
// Plain values; threads: one at a time.
#pragma once

#include <cstdint>

#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "services/correlation/aggregate/value.h"

namespace tocsin::correlation::v1 {
class AggregateValue;
class ExtremumState;
class MomentsState;
class SumState;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation::aggregate {

class Sum {
 public:
  // `integer`: all values are whole numbers, and so is the sum.
  explicit Sum(bool integer) : integer_(integer) {}
  void Add(const Value& value);
  void Merge(const Sum& other);
  void Total(v1::AggregateValue& result) const;
  void Average(v1::AggregateValue& result) const;
  void Save(v1::SumState& state) const;
  absl::Status Load(const v1::SumState& state);

 private:
  void AddNumber(double number);

  bool integer_;
  std::int64_t count_ = 0;
  absl::int128 whole_ = 0;
  double sum_ = 0;
  double compensation_ = 0;
};

class Extremum {
 public:
  Extremum(bool integer, bool largest) : integer_(integer), largest_(largest) {}
  void Add(const Value& value);
  void Merge(const Extremum& other);
  void Result(v1::AggregateValue& result) const;
  // Only when it is not empty.
  void Save(v1::ExtremumState& state) const;
  absl::Status Load(const v1::ExtremumState& state);
  bool empty() const { return empty_; }

 private:
  void Take(absl::int128 whole, double number);

  bool integer_;
  bool largest_;
  bool empty_ = true;
  absl::int128 whole_ = 0;
  double number_ = 0;
};

// Of a sample: the sum of squares is divided by n - 1. One value alone has none.
class Moments {
 public:
  void Add(const Value& value);
  void Merge(const Moments& other);
  void Deviation(v1::AggregateValue& result) const;
  void Save(v1::MomentsState& state) const;
  absl::Status Load(const v1::MomentsState& state);

 private:
  std::int64_t count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

// Any number as a double; 0 for what is none.
double AsDouble(const Value& value);

}  // namespace tocsin::correlation::aggregate
