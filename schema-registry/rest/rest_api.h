// The REST interface of the registry, compatible with Confluent's. One function of a request; the
// server around it is lib/http.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "lib/http/buffered.h"
#include "schema-registry/registry.h"

namespace tocsin::registry {

// Who holds this token; UNAUTHENTICATED says why nobody does.
using VerifyToken = std::function<absl::StatusOr<auth::Principal>(std::string_view token)>;

// Thread-safe. Blocks as Registry's methods do.
class RestApi {
 public:
  // `registry` must outlive this.
  RestApi(Registry& registry, VerifyToken verify)
      : registry_(registry), verify_(std::move(verify)) {}

  // Answers every request, an error as {"error_code": …, "message": …}. The token comes as
  // `authorization: Bearer <token>` or as the password of HTTP Basic with any user name.
  http::Response Handle(const http::Request& request) const;

 private:
  Registry& registry_;
  const VerifyToken verify_;
};

}  // namespace tocsin::registry
