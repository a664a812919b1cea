#include "lib/auth/caching_verifier.h"

#include <openssl/sha.h>

#include <iterator>
#include <utility>

#include "lib/auth/openssl.h"

namespace tocsin::auth {
namespace {

// Of the whole token, signature included: nothing else finds an entry.
std::string Digest(std::string_view token) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(Unsigned(token), token.size(), reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

}  // namespace

absl::StatusOr<Principal> CachingVerifier::Verify(std::string_view token, WallTime now) const {
  if (token.size() > kLongestToken) return verifier_->Verify(token, now);
  std::string digest = Digest(token);
  {
    MutexLock lock(mutex_);
    const auto found = by_digest_.find(digest);
    if (found != by_digest_.end()) {
      if (now < found->second->principal.expires) {
        known_.splice(known_.begin(), known_, found->second);
        return found->second->principal;
      }
      // Within the skew of clocks it may still be good: that is for the verifier to say.
      const auto expired = found->second;
      by_digest_.erase(found);
      known_.erase(expired);
    }
  }
  auto principal = verifier_->Verify(token, now);
  if (!principal.ok() || now >= principal->expires) return principal;
  MutexLock lock(mutex_);
  if (by_digest_.contains(digest)) return principal;
  known_.push_front({std::move(digest), *principal});
  by_digest_.emplace(known_.front().digest, known_.begin());
  if (known_.size() > most_) {
    by_digest_.erase(known_.back().digest);
    known_.pop_back();
  }
  return principal;
}

}  // namespace tocsin::auth
