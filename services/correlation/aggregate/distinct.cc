#include "services/correlation/aggregate/distinct.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "lib/base/status.h"
#include "services/correlation/aggregate/hash64.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace tocsin::correlation::aggregate {
namespace {

constexpr int kHashBits = 64 - kDistinctPrecision;
// A register holds the place of the first one among the hash bits that do not choose it.
constexpr int kHighestPlace = kHashBits + 1;
// 1 / (2 ln 2).
constexpr double kAlpha = 0.7213475204444817;

// Ertl's sigma and tau: series that converge within some dozen steps.
double Sigma(double x) {
  if (x == 1.0) return std::numeric_limits<double>::infinity();
  double weight = 1;
  double sum = x;
  double before = 0;
  do {
    x *= x;
    before = sum;
    sum += x * weight;
    weight += weight;
  } while (sum != before);
  return sum;
}

double Tau(double x) {
  if (x == 0.0 || x == 1.0) return 0;
  double weight = 1;
  double sum = 1 - x;
  double before = 0;
  do {
    x = std::sqrt(x);
    before = sum;
    weight *= 0.5;
    sum -= (1 - x) * (1 - x) * weight;
  } while (sum != before);
  return sum / 3;
}

}  // namespace

void Distinct::Add(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) AddHash(Hash64(*text));
}

void Distinct::AddHash(std::uint64_t hash) {
  if (!exact()) {
    Rise(hash);
    return;
  }
  hashes_.insert(hash);
  if (hashes_.size() <= kExactDistinct) return;
  registers_.assign(kDistinctRegisters, '\0');
  for (const std::uint64_t known : hashes_) Rise(known);
  hashes_.clear();
}

void Distinct::Rise(std::uint64_t hash) {
  char& place = registers_[hash >> kHashBits];
  const std::uint64_t rest = hash << kDistinctPrecision;
  const int first_one = rest == 0 ? kHighestPlace : std::countl_zero(rest) + 1;
  place = std::max(place, static_cast<char>(first_one));
}

void Distinct::Merge(const Distinct& other) {
  for (const std::uint64_t hash : other.hashes_) AddHash(hash);
  if (other.exact()) return;
  if (exact()) {
    registers_.assign(kDistinctRegisters, '\0');
    for (const std::uint64_t known : hashes_) Rise(known);
    hashes_.clear();
  }
  for (std::size_t i = 0; i < kDistinctRegisters; ++i) {
    registers_[i] = std::max(registers_[i], other.registers_[i]);
  }
}

double Distinct::Estimate() const {
  constexpr auto kRegisters = static_cast<double>(kDistinctRegisters);
  std::array<double, kHighestPlace + 1> times{};
  for (const char place : registers_) times.at(static_cast<unsigned char>(place)) += 1;
  double sum = kRegisters * Tau(1 - times[kHighestPlace] / kRegisters);
  for (int place = kHashBits; place >= 1; --place) {
    sum = 0.5 * (sum + times.at(static_cast<std::size_t>(place)));
  }
  sum += kRegisters * Sigma(times[0] / kRegisters);
  return kAlpha * kRegisters * (kRegisters / sum);
}

void Distinct::Result(v1::AggregateValue& result) const {
  if (exact()) {
    result.set_integer(static_cast<std::int64_t>(hashes_.size()));
    return;
  }
  constexpr double kMost = 9e18;
  result.set_integer(static_cast<std::int64_t>(std::min(Estimate() + 0.5, kMost)));
  result.set_relative_error(kDistinctStandardError);
}

void Distinct::Save(v1::DistinctState& state) const {
  if (exact()) {
    state.mutable_hashes()->Add(hashes_.begin(), hashes_.end());
  } else {
    state.set_registers(registers_);
  }
}

absl::Status Distinct::Load(const v1::DistinctState& state) {
  if (!state.registers().empty()) {
    const bool fits = state.registers().size() == kDistinctRegisters && state.hashes().empty() &&
                      std::all_of(state.registers().begin(), state.registers().end(),
                                  [](char place) { return place >= 0 && place <= kHighestPlace; });
    if (!fits) return InvalidArgument("a count of distinct values with impossible registers");
    registers_ = state.registers();
    return absl::OkStatus();
  }
  if (static_cast<std::size_t>(state.hashes_size()) > kExactDistinct) {
    return InvalidArgument("a count of distinct values with too many hashes");
  }
  hashes_.insert(state.hashes().begin(), state.hashes().end());
  return absl::OkStatus();
}

}  // namespace tocsin::correlation::aggregate
