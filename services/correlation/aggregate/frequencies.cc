#include "services/correlation/aggregate/frequencies.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/aggregate/hash64.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace tocsin::correlation::aggregate {
namespace {

std::string Shortened(std::string_view value) {
  constexpr std::size_t kBeginning = 96;
  std::size_t end = kBeginning;
  // Not within a character of UTF-8.
  while (end > kBeginning - 4 && (static_cast<unsigned char>(value[end]) & 0xc0U) == 0x80U) --end;
  std::string hash(8, '\0');
  std::uint64_t bits = Hash64(value);
  for (auto place = hash.rbegin(); place != hash.rend(); ++place, bits >>= 8) {
    *place = static_cast<char>(bits & 0xffU);
  }
  return Concat(value.substr(0, end), "…#", HexEncode(hash));
}

}  // namespace

std::string BoundedText(std::string text) {
  return text.size() <= kLongestFrequentValue ? std::move(text) : Shortened(text);
}

void Frequencies::Add(const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return;
  if (text->size() <= kLongestFrequentValue) {
    Count(*text, {1, 0});
  } else {
    Count(Shortened(*text), {1, 0});
  }
}

void Frequencies::Count(const std::string& value, Counter by) {
  const auto found = counters_.find(value);
  if (found != counters_.end()) {
    Counter& counter = found->second;
    if (approximate_) {
      auto node = by_count_.extract({counter.count, value});
      node.value().first += by.count;
      by_count_.insert(std::move(node));
    }
    counter.count += by.count;
    counter.overcount += by.overcount;
    return;
  }
  if (counters_.size() < kExactFrequencies) {
    counters_.emplace(value, by);
    if (approximate_) by_count_.emplace(by.count, value);
    return;
  }
  if (!approximate_) BecomeApproximate();
  // The place of the rarest: the new value may have come as often before.
  const auto rarest = by_count_.begin();
  const std::int64_t count = rarest->first;
  counters_.erase(rarest->second);
  by_count_.erase(rarest);
  counters_.emplace(value, Counter{count + by.count, count + by.overcount});
  by_count_.emplace(count + by.count, value);
}

void Frequencies::BecomeApproximate() {
  approximate_ = true;
  for (const auto& [value, counter] : counters_) by_count_.emplace(counter.count, value);
}

void Frequencies::Merge(const Frequencies& other) {
  if (other.counters_.empty()) return;
  // What either does not hold may have come to it as often as its rarest.
  const std::int64_t unseen_here = Unseen();
  const std::int64_t unseen_there = other.Unseen();
  absl::flat_hash_map<std::string, Counter> merged = counters_;
  for (auto& [value, counter] : merged) {
    const auto there = other.counters_.find(value);
    const Counter add =
        there != other.counters_.end() ? there->second : Counter{unseen_there, unseen_there};
    counter.count += add.count;
    counter.overcount += add.overcount;
  }
  for (const auto& [value, counter] : other.counters_) {
    if (counters_.contains(value)) continue;
    merged.emplace(value, Counter{counter.count + unseen_here, counter.overcount + unseen_here});
  }
  const bool was_approximate = approximate_ || other.approximate_;
  counters_ = std::move(merged);
  by_count_.clear();
  approximate_ = was_approximate || counters_.size() > kExactFrequencies;
  if (!approximate_) return;
  BecomeApproximate();
  while (counters_.size() > kExactFrequencies) {
    counters_.erase(by_count_.begin()->second);
    by_count_.erase(by_count_.begin());
  }
}

void Frequencies::Top(std::int64_t k, v1::AggregateValue& result) const {
  if (counters_.empty()) return;
  std::vector<std::pair<std::string_view, Counter>> sorted(counters_.begin(), counters_.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.count != b.second.count ? a.second.count > b.second.count : a.first < b.first;
  });
  const std::size_t last =
      std::min(sorted.size(), static_cast<std::size_t>(std::max<std::int64_t>(k, 1)));
  const std::int64_t least = sorted[last - 1].second.count;
  v1::TopK& top = *result.mutable_top();
  for (const auto& [value, counter] : sorted) {
    if (counter.count < least) break;
    if (static_cast<std::size_t>(top.entries_size()) >= kMostTopEntries) {
      top.set_ties_left_out(top.ties_left_out() + 1);
      continue;
    }
    v1::TopEntry& entry = *top.add_entries();
    entry.set_value(std::string(value));
    entry.set_count(counter.count);
    entry.set_overcount_at_most(counter.overcount);
  }
  top.set_others_at_most(Unseen());
}

void Frequencies::Save(v1::FrequencyState& state) const {
  // In one order, so that equal contents are equal bytes.
  std::vector<std::pair<std::string_view, Counter>> sorted(counters_.begin(), counters_.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [value, counter] : sorted) {
    v1::FrequencyEntry& entry = *state.add_entries();
    entry.set_value(std::string(value));
    entry.set_count(counter.count);
    entry.set_overcount(counter.overcount);
  }
  state.set_approximate(approximate_);
}

absl::Status Frequencies::Load(const v1::FrequencyState& state) {
  const auto wrong = [] {
    return InvalidArgument("a summary of frequencies with impossible entries");
  };
  const auto size = static_cast<std::size_t>(state.entries_size());
  if (size > kExactFrequencies || (state.approximate() && size != kExactFrequencies))
    return wrong();
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 4;
  for (const v1::FrequencyEntry& entry : state.entries()) {
    if (entry.value().size() > kLongestFrequentValue || entry.count() <= 0 ||
        entry.count() > kMost || entry.overcount() < 0 || entry.overcount() > entry.count()) {
      return wrong();
    }
    if (!counters_.emplace(entry.value(), Counter{entry.count(), entry.overcount()}).second) {
      return wrong();
    }
  }
  if (state.approximate()) BecomeApproximate();
  return absl::OkStatus();
}

}  // namespace tocsin::correlation::aggregate
