// Who asks: bearer tokens, HTTP Basic with a token as the password, or nobody. Internal to rest/.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "lib/http/message.h"

namespace tocsin::registry {

// Who holds this token; UNAUTHENTICATED says why nobody does.
using VerifyToken = std::function<absl::StatusOr<auth::Principal>(std::string_view token)>;

// How the anonymous are named, in the audit log and in messages.
inline constexpr std::string_view kAnonymous = "anonymous";

// Thread-safe if `verify` is. kUnauthorized, also for credentials that are wrong where none are
// needed: whoever brings some means to be somebody. `anonymous_read`: nobody may read.
absl::StatusOr<auth::Principal> WhoCalls(const http::Headers& headers, const VerifyToken& verify,
                                         bool anonymous_read);

}  // namespace tocsin::registry
