#include "services/correlation/engine/identity_set.h"

#include <utility>

namespace tocsin::correlation {

void IdentitySet::Clear() {
  places_.clear();
  places_.shrink_to_fit();
  first_chunk_ = 1;
  size_ = 0;
  taken_ = 0;
}

void IdentitySet::Put(const Place& place) {
  std::size_t at = Home(place.low);
  while (places_[at].chunk != 0) at = Next(at);
  places_[at] = place;
}

void IdentitySet::MakeRoom() {
  constexpr std::size_t kSmallest = 1024;
  taken_ = size_;
  if (2 * (size_ + 1) > places_.size()) {
    std::vector<Place> old(places_.empty() ? kSmallest : 2 * places_.size());
    std::swap(old, places_);
    for (const Place& place : old) {
      if (place.chunk >= first_chunk_) Put(place);
    }
    return;
  }
  // In place. Behind a free place a run of taken ones begins, each of which stands at its home or
  // behind it: taken out and put back in this order, none passes one that still waits.
  std::size_t begin = 0;
  while (places_[begin].chunk != 0) begin = Next(begin);
  for (std::size_t i = 1; i < places_.size(); ++i) {
    Place& place = places_[(begin + i) & (places_.size() - 1)];
    if (place.chunk == 0) continue;
    const Place taken = std::exchange(place, {});
    if (taken.chunk >= first_chunk_) Put(taken);
  }
}

}  // namespace tocsin::correlation
