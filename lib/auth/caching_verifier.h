// Remembers which tokens were good. A client sends one token with every request, and its signature
// costs more to check than most requests to answer.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "lib/auth/token.h"
#include "lib/base/mutex.h"

namespace tocsin::auth {

// Thread-safe; Verify costs about a microsecond for a token that was seen before. Tokens that are
// not good are checked anew each time.
class CachingVerifier final : public TokenVerifier {
 public:
  // Remembers `most` tokens by their SHA-256, the least recently used go first.
  explicit CachingVerifier(std::unique_ptr<TokenVerifier> verifier, std::size_t most = 4096)
      : verifier_(std::move(verifier)), most_(most) {}

  // As the verifier behind it says, if need be from memory until the token expires.
  absl::StatusOr<Principal> Verify(std::string_view token, WallTime now) const override;

 private:
  struct Known {
    std::string digest;
    Principal principal;
  };

  const std::unique_ptr<TokenVerifier> verifier_;
  const std::size_t most_;
  mutable Mutex mutex_;
  mutable std::list<Known> known_ ABSL_GUARDED_BY(mutex_);
  mutable std::unordered_map<std::string_view, std::list<Known>::iterator> by_digest_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::auth
