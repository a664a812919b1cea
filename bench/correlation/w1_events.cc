#include "bench/correlation/w1_events.h"

#include <algorithm>
#include <tuple>

namespace tocsin::bench {
namespace {

constexpr std::int64_t kBeginMs = 1'700'000'000'000;
constexpr std::int64_t kBurstPeriodMs = 50'000;
constexpr std::uint32_t kBurstKeys = 100;
// From the first burst of one key to that of the next.
constexpr std::int64_t kBurstShiftMs = 5'000;
constexpr int kBurstEvents = 12;
constexpr std::int64_t kBurstStepMs = 100;
constexpr std::int64_t kValues = 10'000;

// Sebastiano Vigna's splitmix64.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31);
  }

 private:
  std::uint64_t state_;
};

}  // namespace

std::vector<W1Event> MakeW1(const W1Options& options) {
  const std::int64_t bursts = options.background / kBurstPeriodMs;
  std::vector<W1Event> events;
  events.reserve(static_cast<std::size_t>(options.background + bursts * kBurstKeys * kBurstEvents));
  SplitMix64 random(options.seed);
  for (std::int64_t i = 0; i < options.background; ++i) {
    W1Event event;
    event.id = i;
    event.time_ms = kBeginMs + i;
    event.key = static_cast<std::uint32_t>(random.Next() % options.keys);
    event.type = static_cast<std::uint32_t>(random.Next() % 100);
    event.value = static_cast<std::int64_t>(random.Next() % kValues);
    events.push_back(event);
  }
  const auto by_time = [](const W1Event& a, const W1Event& b) {
    return std::tie(a.time_ms, a.id) < std::tie(b.time_ms, b.id);
  };
  const auto background_end = static_cast<std::ptrdiff_t>(events.size());
  std::int64_t id = options.background;
  for (std::int64_t burst = 0; burst < bursts; ++burst) {
    for (std::uint32_t number = 0; number < kBurstKeys; ++number) {
      for (int step = 0; step < kBurstEvents; ++step) {
        W1Event event;
        event.id = id++;
        event.time_ms =
            kBeginMs + number * kBurstShiftMs + burst * kBurstPeriodMs + step * kBurstStepMs;
        event.key = number * (options.keys / kBurstKeys);
        event.value = event.id % kValues;
        events.push_back(event);
      }
    }
  }
  std::sort(events.begin() + background_end, events.end(), by_time);
  std::inplace_merge(events.begin(), events.begin() + background_end, events.end(), by_time);
  return events;
}

}  // namespace tocsin::bench
