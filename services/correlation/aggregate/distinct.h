// How many distinct values: exact up to kExactDistinct of them, HyperLogLog beyond.
//
// Values are known by their 64-bit hash: up to the bound the count is exact but for two values with
// the same hash (a chance of about 10^-14). Beyond, the hashes go into a HyperLogLog of 2^12
// registers (S. Heule, M. Nunkesser, A. Hall, "HyperLogLog in Practice", 2013: 64-bit hashes,
// sparse while small). In place of that paper's tables of empirical corrections stands the
// estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017,
// algorithm 6, which needs none. Neither the order of values nor the division into parts matters.
//
// A plain value; threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "services/correlation/aggregate/value.h"

namespace tocsin::correlation::v1 {
class AggregateValue;
class DistinctState;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation::aggregate {

inline constexpr std::size_t kExactDistinct = 512;
inline constexpr int kDistinctPrecision = 12;
inline constexpr std::size_t kDistinctRegisters = std::size_t{1} << kDistinctPrecision;
// 1.04 / sqrt(registers).
inline constexpr double kDistinctStandardError = 0.01625;

class Distinct {
 public:
  void Add(const Value& value);
  void Merge(const Distinct& other);
  void Result(v1::AggregateValue& result) const;
  void Save(v1::DistinctState& state) const;
  absl::Status Load(const v1::DistinctState& state);
  bool exact() const { return registers_.empty(); }

 private:
  void AddHash(std::uint64_t hash);
  void Rise(std::uint64_t hash);
  double Estimate() const;

  // While exact.
  absl::btree_set<std::uint64_t> hashes_;
  // Afterwards; else empty.
  std::string registers_;
};

}  // namespace tocsin::correlation::aggregate
