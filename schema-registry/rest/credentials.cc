#include "schema-registry/rest/credentials.h"

#include <optional>
#include <string>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "schema-registry/model.h"

namespace tocsin::registry {
namespace {

absl::Status Unknown(std::string_view message) {
  return MakeError(ErrorCode::kUnauthorized, message);
}

}  // namespace

absl::StatusOr<auth::Principal> WhoCalls(const http::Headers& headers, const VerifyToken& verify,
                                         bool anonymous_read) {
  const std::optional<std::string_view> header = headers.Get("authorization");
  if (!header) {
    if (anonymous_read) {
      return auth::Principal{std::string(kAnonymous), {auth::Role::ROLE_SCHEMA_READ}};
    }
    return Unknown(
        "no token: send it as 'authorization: Bearer <token>', or as the password of HTTP Basic "
        "(`tocsin token --role schema.read` prints one)");
  }
  const std::size_t blank = header->find(' ');
  const std::string scheme = AsciiLower(header->substr(0, blank));
  const std::string_view rest =
      blank == std::string_view::npos ? std::string_view() : Trim(header->substr(blank + 1));
  std::string pair;
  std::string_view token = rest;
  if (scheme == "basic") {
    auto decoded = Base64Decode(rest);
    const std::size_t colon = decoded.ok() ? decoded->find(':') : std::string::npos;
    if (colon == std::string::npos) {
      return Unknown("the HTTP Basic credentials are not base64 of user:token");
    }
    pair = *std::move(decoded);
    token = std::string_view(pair).substr(colon + 1);
  } else if (scheme != "bearer") {
    return Unknown("only the schemes Bearer and Basic are taken");
  }
  auto principal = verify(token);
  if (!principal.ok()) return Unknown(Message(principal.status()));
  return principal;
}

}  // namespace tocsin::registry
