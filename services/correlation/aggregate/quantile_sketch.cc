#include "services/correlation/aggregate/quantile_sketch.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "lib/base/status.h"
#include "services/correlation/aggregate/numbers.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace tocsin::correlation::aggregate {
namespace {

constexpr int kMantissaBits = 52;
constexpr int kSubdivisionBits = 6;
constexpr int kShift = kMantissaBits - kSubdivisionBits;
// Below the highest finite number's.
constexpr std::int32_t kHighestBucket = (0x7fe << kSubdivisionBits) + (1 << kSubdivisionBits);

std::int32_t BucketOf(double number) {
  const double magnitude = std::abs(number);
  if (magnitude < std::numeric_limits<double>::min()) return 0;
  const auto bucket = static_cast<std::int32_t>(std::bit_cast<std::uint64_t>(magnitude) >> kShift);
  return number < 0 ? -bucket : bucket;
}

// The number that is relatively as far from the one end of its bucket as from the other.
double NumberOf(std::int32_t bucket) {
  if (bucket == 0) return 0;
  const auto place = static_cast<std::uint64_t>(std::abs(bucket));
  const auto low = std::bit_cast<double>(place << kShift);
  const auto steps = static_cast<double>(place & ((1U << kSubdivisionBits) - 1));
  const double middle = low * (2 * (65 + steps) / (129 + 2 * steps));
  return bucket < 0 ? -middle : middle;
}

}  // namespace

void QuantileSketch::Add(const Value& value) {
  if (std::holds_alternative<std::monostate>(value) || std::holds_alternative<std::string>(value)) {
    return;
  }
  const double number = AsDouble(value) + 0.0;
  if (!std::isfinite(number)) return;
  least_ = count_ == 0 ? number : std::min(least_, number);
  most_ = count_ == 0 ? number : std::max(most_, number);
  AddTo(BucketOf(number), 1);
  Collapse();
}

void QuantileSketch::AddTo(std::int32_t bucket, std::int64_t count) {
  buckets_[bucket] += count;
  count_ += count;
}

void QuantileSketch::Merge(const QuantileSketch& other) {
  if (other.count_ == 0) return;
  least_ = count_ == 0 ? other.least_ : std::min(least_, other.least_);
  most_ = count_ == 0 ? other.most_ : std::max(most_, other.most_);
  for (const auto& [bucket, count] : other.buckets_) AddTo(bucket, count);
  collapsed_positive_ = collapsed_positive_ || other.collapsed_positive_;
  collapsed_negative_ = collapsed_negative_ || other.collapsed_negative_;
  Collapse();
}

void QuantileSketch::Collapse() {
  if (buckets_.empty()) return;
  const auto fold = [&](std::int32_t from, std::int32_t into, bool& collapsed) {
    // From `from` (the bucket next to zero) towards `into`, which is further out.
    const bool up = into > 0;
    auto it = buckets_.lower_bound(up ? from : into + 1);
    std::int64_t moved = 0;
    while (it != buckets_.end() && it->first < (up ? into : from + 1)) {
      moved += it->second;
      it = buckets_.erase(it);
    }
    if (moved == 0) return;
    buckets_[into] += moved;
    collapsed = true;
  };
  const std::int32_t highest = buckets_.rbegin()->first;
  if (highest - kMostBuckets >= 1) fold(1, highest - kMostBuckets + 1, collapsed_positive_);
  const std::int32_t lowest = buckets_.begin()->first;
  if (-lowest - kMostBuckets >= 1) fold(-1, lowest + kMostBuckets - 1, collapsed_negative_);
}

void QuantileSketch::Percentile(double percentile, v1::AggregateValue& result) const {
  if (count_ == 0) return;
  const double share = std::ceil(percentile / 100 * static_cast<double>(count_));
  const auto rank = std::clamp<std::int64_t>(static_cast<std::int64_t>(share), 1, count_);
  std::int64_t below = 0;
  for (const auto& [bucket, count] : buckets_) {
    below += count;
    if (below < rank) continue;
    const bool merged =
        (collapsed_positive_ && bucket == buckets_.rbegin()->first - kMostBuckets + 1) ||
        (collapsed_negative_ && bucket == buckets_.begin()->first + kMostBuckets - 1);
    if (merged) {
      result.set_error(
          "the values span more than 64 powers of two, and this percentile lies among the smallest "
          "magnitudes, which were merged");
      return;
    }
    result.set_number(std::clamp(NumberOf(bucket), least_, most_));
    result.set_relative_error(kQuantileRelativeError);
    return;
  }
}

void QuantileSketch::Save(v1::SketchState& state) const {
  std::int32_t before = 0;
  for (const auto& [bucket, count] : buckets_) {
    state.add_bucket_steps(bucket - before);
    state.add_counts(count);
    before = bucket;
  }
  state.set_least(least_);
  state.set_most(most_);
  state.set_collapsed_positive(collapsed_positive_);
  state.set_collapsed_negative(collapsed_negative_);
}

absl::Status QuantileSketch::Load(const v1::SketchState& state) {
  const auto wrong = [] { return InvalidArgument("a sketch with impossible buckets"); };
  if (state.bucket_steps_size() != state.counts_size()) return wrong();
  if (state.counts_size() > 2 * kMostBuckets + 1) return wrong();
  if (!std::isfinite(state.least()) || !std::isfinite(state.most()) ||
      state.least() > state.most()) {
    return wrong();
  }
  std::int64_t bucket = 0;
  for (int i = 0; i < state.counts_size(); ++i) {
    bucket += state.bucket_steps(i);
    if ((i > 0 && state.bucket_steps(i) <= 0) || bucket < -kHighestBucket ||
        bucket > kHighestBucket || state.counts(i) <= 0 ||
        state.counts(i) > std::numeric_limits<std::int64_t>::max() - count_) {
      return wrong();
    }
    AddTo(static_cast<std::int32_t>(bucket), state.counts(i));
  }
  least_ = state.least();
  most_ = state.most();
  collapsed_positive_ = state.collapsed_positive();
  collapsed_negative_ = state.collapsed_negative();
  Collapse();
  return absl::OkStatus();
}

}  // namespace tocsin::correlation::aggregate
