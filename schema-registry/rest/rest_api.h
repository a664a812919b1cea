// The REST interface of the registry, compatible with Confluent's. One function of a request; the
// server around it is lib/http, and rest_handler.h is between the two.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/http/buffered.h"
#include "lib/http/message.h"
#include "schema-registry/registry.h"
#include "schema-registry/rest/credentials.h"
#include "schema-registry/rest/schema_answers.h"
#include "schema-registry/subject_access.h"

namespace tocsin::registry {

struct RestOptions {
  VerifyToken verify;
  // Whoever brings no credentials may read.
  bool anonymous_read = false;
  // Beyond the roles.
  SubjectAccess access;
  // For the answers to GET /schemas/ids/{id}.
  std::size_t answer_cache_bytes = std::size_t{16} << 20;
};

// Thread-safe.
class RestApi {
 public:
  // `registry` must outlive this.
  RestApi(Registry& registry, RestOptions options)
      : registry_(registry), options_(std::move(options)), answers_(options_.answer_cache_bytes) {}

  // Answers every request, an error as {"error_code": …, "message": …}. The token comes as
  // `authorization: Bearer <token>` or as the password of HTTP Basic with any user name. Blocks as
  // Registry's methods do.
  http::Response Handle(const http::Request& request) const;

  // The answer where it lies ready in memory: a schema that was asked for by its id before, by
  // somebody who may. nullopt: ask Handle. Never blocks.
  struct Ready {
    std::string_view content_type;
    std::shared_ptr<const std::string> body;
  };
  std::optional<Ready> FromMemory(const http::RequestHead& request) const;

  // For what is wrong before there is a whole request, in the form of all other errors.
  static http::Response Refuse(ErrorCode code, std::string_view message);

 private:
  http::Response Serve(const http::Request& request, std::string_view type) const;

  Registry& registry_;
  const RestOptions options_;
  mutable SchemaAnswers answers_;
};

}  // namespace tocsin::registry
