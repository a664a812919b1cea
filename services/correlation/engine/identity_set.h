// A set of hashes that come in chunks and are forgotten by chunk, the oldest first; laid out for
// one look at memory per question, and none for what is forgotten.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "lib/base/hash.h"

namespace tocsin::correlation {

// Open addressing with linear probing. A hash that is forgotten keeps its place until another needs
// it or all are put in order.
//
// Of the 128 bits 96 are compared: that two of a million are equal by chance would take 10^17
// millions.
class IdentitySet {
 public:
  // Chunks have numbers, from 1 on; they never go down.
  bool Insert(const Hash128& hash, std::uint32_t chunk) {
    if (4 * (taken_ + 1) > 3 * places_.size()) MakeRoom();
    const auto high = static_cast<std::uint32_t>(hash.high);
    std::optional<std::size_t> over;
    std::size_t at = Home(hash.low);
    for (; places_[at].chunk != 0; at = Next(at)) {
      Place& place = places_[at];
      const bool forgotten = place.chunk < first_chunk_;
      if (place.low == hash.low && place.high == high) {
        if (!forgotten) return false;
        place.chunk = chunk;
        ++size_;
        return true;
      }
      if (forgotten && !over.has_value()) over = at;
    }
    if (!over.has_value()) ++taken_;
    places_[over.value_or(at)] = {hash.low, high, chunk};
    ++size_;
    return true;
  }
  // Chunks with numbers below `chunk` are no more; they had `hashes` in all that were not forgotten
  // before.
  void ForgetBefore(std::uint32_t chunk, std::size_t hashes) {
    first_chunk_ = chunk;
    size_ -= hashes;
  }
  void Clear();
  std::size_t size() const { return size_; }

  // Insert will look here soon.
  void Prefetch(const Hash128& hash) const {
    if (!places_.empty()) __builtin_prefetch(&places_[Home(hash.low)], 1);
  }

 private:
  struct Place {
    std::uint64_t low = 0;
    std::uint32_t high = 0;
    // 0: free.
    std::uint32_t chunk = 0;
  };

  // The number of places is a power of two.
  std::size_t Home(std::uint64_t low) const { return low & (places_.size() - 1); }
  std::size_t Next(std::size_t at) const { return (at + 1) & (places_.size() - 1); }
  // Into the first free place from its home on.
  void Put(const Place& place);
  void MakeRoom();

  std::vector<Place> places_;
  std::uint32_t first_chunk_ = 1;
  // Not forgotten.
  std::size_t size_ = 0;
  // Not free.
  std::size_t taken_ = 0;
};

}  // namespace tocsin::correlation
