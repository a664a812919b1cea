// The most frequent values: exact up to kExactFrequencies different ones, then the summary of
// A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent and top-k elements in
// data streams", 2005 (SpaceSaving), merged as by P. K. Agarwal et al., "Mergeable summaries",
// 2012.
//
// While exact, neither the order of values nor the division into parts matters. Beyond, counts are
// never too low and at most `others_at_most` too high, which itself is at most the number of values
// over kExactFrequencies; which of the rare values are listed depends on the order.
//
// A plain value; threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "services/correlation/aggregate/value.h"

namespace tocsin::correlation::v1 {
class AggregateValue;
class FrequencyState;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation::aggregate {

inline constexpr std::size_t kExactFrequencies = 2048;
// A longer value is known by its beginning and its hash.
inline constexpr std::size_t kLongestFrequentValue = 128;
// Ties beyond so many entries are counted, not listed.
inline constexpr std::size_t kMostTopEntries = 1000;

// The text itself, or where it is longer than kLongestFrequentValue its beginning and its hash.
std::string BoundedText(std::string text);

class Frequencies {
 public:
  void Add(const Value& value);
  void Merge(const Frequencies& other);
  // The `k` most frequent, and all that tie with the last of them.
  void Top(std::int64_t k, v1::AggregateValue& result) const;
  void Save(v1::FrequencyState& state) const;
  absl::Status Load(const v1::FrequencyState& state);
  bool exact() const { return !approximate_; }

 private:
  struct Counter {
    std::int64_t count = 0;
    std::int64_t overcount = 0;
  };
  // Rare first; of equal counts the last value by its bytes goes first.
  struct RareFirst {
    bool operator()(const std::pair<std::int64_t, std::string>& a,
                    const std::pair<std::int64_t, std::string>& b) const {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    }
  };

  void Count(const std::string& value, Counter by);
  void BecomeApproximate();
  // Of any value that is not held.
  std::int64_t Unseen() const { return approximate_ ? by_count_.begin()->first : 0; }

  absl::flat_hash_map<std::string, Counter> counters_;
  bool approximate_ = false;
  // While approximate.
  std::set<std::pair<std::int64_t, std::string>, RareFirst> by_count_;
};

}  // namespace tocsin::correlation::aggregate
