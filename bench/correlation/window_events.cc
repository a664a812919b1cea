#include "bench/correlation/window_events.h"

namespace tocsin::bench {
namespace {

constexpr std::int64_t kBeginMs = 1'700'000'000'000;
constexpr std::int64_t kW3StepMs = 2;
constexpr std::uint64_t kW3DisorderMs = 3'000;
constexpr std::uint64_t kAuctions = 1'000;
constexpr std::uint64_t kHotAuctions = 10;

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

std::vector<WindowEvent> MakeW3(std::int64_t events, std::uint32_t users, std::uint64_t seed) {
  SplitMix64 random(seed);
  std::vector<WindowEvent> made;
  made.reserve(static_cast<std::size_t>(events));
  for (std::int64_t i = 0; i < events; ++i) {
    const auto late = static_cast<std::int64_t>(random.Next() % kW3DisorderMs);
    made.push_back(
        {i, kBeginMs + i * kW3StepMs + late, static_cast<std::uint32_t>(random.Next() % users)});
  }
  return made;
}

std::vector<WindowEvent> MakeW4(std::int64_t events, std::uint64_t seed) {
  SplitMix64 random(seed);
  std::vector<WindowEvent> made;
  made.reserve(static_cast<std::size_t>(events));
  for (std::int64_t i = 0; i < events; ++i) {
    const bool hot = random.Next() % 2 == 0;
    made.push_back({i, kBeginMs + i,
                    static_cast<std::uint32_t>(random.Next() % (hot ? kHotAuctions : kAuctions))});
  }
  return made;
}

}  // namespace tocsin::bench
