// A set of 128-bit hashes, laid out for one look at memory per question.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <vector>

#include "lib/base/hash.h"

namespace tocsin::correlation {

// Open addressing with linear probing; no place is ever left behind by a removal.
class IdentitySet {
 public:
  // False: it was there.
  bool Insert(Hash128 hash) {
    if (4 * (size_ + 1) > 3 * places_.size()) Grow();
    hash = Usable(hash);
    std::size_t at = Home(hash);
    while (!IsFree(places_[at])) {
      if (places_[at] == hash) return false;
      at = Next(at);
    }
    places_[at] = hash;
    ++size_;
    return true;
  }
  void Remove(Hash128 hash);
  void Clear();
  std::size_t size() const { return size_; }

  // Insert will look here soon.
  void Prefetch(const Hash128& hash) const {
    if (!places_.empty()) __builtin_prefetch(&places_[Home(Usable(hash))], 1);
  }

 private:
  static bool IsFree(const Hash128& place) { return place.low == 0 && place.high == 0; }
  // A hash of nothing but zeros would look like a free place.
  static Hash128 Usable(Hash128 hash) {
    if (IsFree(hash)) hash.high = 1;
    return hash;
  }
  // The number of places is a power of two.
  std::size_t Home(const Hash128& hash) const { return hash.low & (places_.size() - 1); }
  std::size_t Next(std::size_t at) const { return (at + 1) & (places_.size() - 1); }
  void Grow();

  std::vector<Hash128> places_;
  std::size_t size_ = 0;
};

}  // namespace tocsin::correlation
