// Holds answers against the OpenAPI document: as much of its schemas as the document uses.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace tocsin::registry {

// Thread-safe.
class OpenApiCheck {
 public:
  using Json = ::nlohmann::ordered_json;

  // The document that is served.
  OpenApiCheck();

  const Json& document() const { return document_; }

  // "/subjects/{subject}" for decoded segments without a context's prefix; empty: not in it.
  std::string PathOf(const std::vector<std::string>& segments) const;

  // What is wrong with an answer; empty: nothing. A path that is not in the document must be
  // answered with an error. `method` is not HEAD.
  std::string Fault(const std::string& method, const std::vector<std::string>& segments, int status,
                    const std::string& body) const;
  // Query parameters of a request that the document does not name.
  std::vector<std::string> Undocumented(const std::string& method,
                                        const std::vector<std::string>& segments,
                                        const std::vector<std::string>& parameters) const;

 private:
  const Json* Operation(const std::string& method, const std::vector<std::string>& segments) const;
  std::string Invalid(const Json& value, const Json& schema, const std::string& place) const;

  Json document_;
};

}  // namespace tocsin::registry
