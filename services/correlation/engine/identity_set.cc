#include "services/correlation/engine/identity_set.h"

#include <utility>

namespace tocsin::correlation {

void IdentitySet::Remove(Hash128 hash) {
  if (places_.empty()) return;
  hash = Usable(hash);
  std::size_t hole = Home(hash);
  while (places_[hole] != hash) {
    if (IsFree(places_[hole])) return;
    hole = Next(hole);
  }
  // Whoever stands behind the hole and could not stand nearer to its home moves up.
  for (std::size_t at = Next(hole); !IsFree(places_[at]); at = Next(at)) {
    const std::size_t mask = places_.size() - 1;
    const std::size_t from_home = (at - Home(places_[at])) & mask;
    if (from_home >= ((at - hole) & mask)) {
      places_[hole] = places_[at];
      hole = at;
    }
  }
  places_[hole] = {};
  --size_;
}

void IdentitySet::Clear() {
  places_.clear();
  places_.shrink_to_fit();
  size_ = 0;
}

void IdentitySet::Grow() {
  constexpr std::size_t kSmallest = 1024;
  std::vector<Hash128> old(places_.empty() ? kSmallest : 2 * places_.size());
  std::swap(old, places_);
  for (const Hash128& hash : old) {
    if (IsFree(hash)) continue;
    std::size_t at = Home(hash);
    while (!IsFree(places_[at])) at = Next(at);
    places_[at] = hash;
  }
}

}  // namespace tocsin::correlation
