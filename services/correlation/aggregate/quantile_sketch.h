// Percentiles with a bounded relative error: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and
// fully-mergeable quantile sketch with relative-error guarantees", 2019.
//
// The buckets are 64 to each power of two (the mapping that the paper calls linearly interpolated:
// exponent and first bits of the mantissa are the bucket's number), so that no logarithm is taken
// and every machine sorts alike. A value is told at most kQuantileRelativeError off. Per sign the
// buckets span 64 powers of two below the largest magnitude; what is smaller falls into the lowest
// of them, and a percentile that lies there is not told. Whole numbers never get there. Neither the
// order of values nor the division into parts matters.
//
// A plain value; threads: one at a time.
#pragma once

#include <cstdint>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "services/correlation/aggregate/value.h"

namespace tocsin::correlation::v1 {
class AggregateValue;
class SketchState;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation::aggregate {

inline constexpr double kQuantileRelativeError = 1.0 / 129;
inline constexpr std::int32_t kMostBuckets = 64 * 64;

class QuantileSketch {
 public:
  void Add(const Value& value);
  void Merge(const QuantileSketch& other);
  // The smallest value that at least `percentile` percent of the values do not exceed.
  void Percentile(double percentile, v1::AggregateValue& result) const;
  void Save(v1::SketchState& state) const;
  absl::Status Load(const v1::SketchState& state);

 private:
  void AddTo(std::int32_t bucket, std::int64_t count);
  void Collapse();

  // Negative numbers below 0, zero at 0, positive ones above.
  absl::btree_map<std::int32_t, std::int64_t> buckets_;
  std::int64_t count_ = 0;
  double least_ = 0;
  double most_ = 0;
  bool collapsed_positive_ = false;
  bool collapsed_negative_ = false;
};

}  // namespace tocsin::correlation::aggregate
