// Exponential back-off with full jitter: the n-th delay is drawn evenly from [0, min(maximum,
// initial·2ⁿ)], so that clients that failed together do not return together (the "full jitter" of
// Marc Brooker's 2015 article).
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace tocsin {

struct BackoffOptions {
  std::chrono::milliseconds initial{100};
  std::chrono::milliseconds maximum{10'000};
};

// Not thread-safe.
class Backoff {
 public:
  Backoff(BackoffOptions options, std::uint64_t seed) : options_(options), random_(seed) {}

  std::chrono::milliseconds Next();
  // After a success.
  void Reset() { attempt_ = 0; }
  int attempt() const { return attempt_; }

 private:
  BackoffOptions options_;
  std::mt19937_64 random_;
  int attempt_ = 0;
};

}  // namespace tocsin
