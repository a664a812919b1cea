// Workloads W3, sessions (Nexmark's query 11), and W4, hot items (Nexmark's query 5).
//
// W3: events of K users, one each two milliseconds, each up to 3 s late. Asked for: the sessions of
// each user with a gap of 10 s: how many events, from when to when.
// W4: bids on 1,000 auctions, one each millisecond; half of them on ten of the auctions. Asked for:
// for each ten seconds, every two seconds, the auctions with the most bids, ties included.
//
// The same seed gives the same events on every machine. oracle_w3.py and oracle_w4.py make the same
// ones again and share no code with this.
//
// Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace tocsin::bench {

struct WindowEvent {
  std::int64_t id = 0;
  // Event time, milliseconds since the epoch.
  std::int64_t time_ms = 0;
  // The user of W3, the auction of W4.
  std::uint32_t key = 0;
};

// In the order in which they come.
std::vector<WindowEvent> MakeW3(std::int64_t events, std::uint32_t users, std::uint64_t seed);
std::vector<WindowEvent> MakeW4(std::int64_t events, std::uint64_t seed);

}  // namespace tocsin::bench
