// Requests to the registry's REST interface, one after the other, with a zero byte between them:
// "METHOD target", lines "name: value" up to an empty line, and the body. Each gets an answer that
// a client can read, and none is the registry's own fault.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/rest/rest_api.h"
#include "schema-registry/testing/fake_log.h"

namespace {

using namespace tocsin::registry;  // NOLINT(google-build-using-namespace): a program of one file

void Require(bool holds) {
  if (!holds) std::abort();
}

std::string_view Cut(std::string_view& text, std::string_view separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + separator.size());
  return part;
}

tocsin::http::Request ReadRequest(std::string_view text) {
  tocsin::http::Request request;
  request.headers.Set("authorization", "Bearer rules");
  std::string_view line = Cut(text, "\n");
  request.method = std::string(Cut(line, " "));
  request.path = std::string(Cut(line, "?"));
  // Where it cannot be decoded, lib/http refuses before the interface sees the request.
  if (auto query = tocsin::http::ParseQuery(line); query.ok()) request.query = *std::move(query);
  for (line = Cut(text, "\n"); !line.empty(); line = Cut(text, "\n")) {
    const std::string_view name = Cut(line, ": ");
    request.headers.Set(name, line);
  }
  request.body = std::string(text);
  return request;
}

void CheckAnswer(const tocsin::http::Response& response) {
  Require(response.status >= 200 && response.status < 500);
  if (response.status == 204) return Require(response.body.empty());
  Require(response.headers.Get("content-type").has_value());
  if (response.status < 400) return;
  const auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  Require(body.is_object() && body.contains("error_code") && body["error_code"].is_number() &&
          body.contains("message") && !body["message"].get<std::string>().empty());
}

// What comes from memory is what Handle says.
void CheckMemory(const RestApi& rest, const tocsin::http::Request& request) {
  tocsin::http::RequestHead head;
  head.method = "GET";
  head.target = request.path;
  head.headers = request.headers;
  const auto ready = rest.FromMemory(head);
  if (!ready) return;
  tocsin::http::Request plain;
  plain.method = "GET";
  plain.path = request.path;
  plain.headers = request.headers;
  const tocsin::http::Response response = rest.Handle(plain);
  Require(response.status == 200 && response.body == *ready->body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  FakeTopic topic;
  FakeLog log(topic);
  FakeAudit audit;
  RegistryOptions options;
  options.limits.max_text_bytes = 4096;
  Registry registry(log, audit, tocsin::Clock::Real(), options);
  RestOptions rest_options;
  rest_options.verify = [](std::string_view token) -> absl::StatusOr<tocsin::auth::Principal> {
    if (token == "writes") {
      return tocsin::auth::Principal{"w", {tocsin::auth::Role::ROLE_SCHEMA_WRITE}};
    }
    if (token != "rules") return tocsin::Unauthenticated("not a token");
    return tocsin::auth::Principal{"a", {tocsin::auth::Role::ROLE_SCHEMA_ADMIN}};
  };
  const RestApi rest(registry, std::move(rest_options));
  registry.Start();
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (int requests = 0; !input.empty() && requests < 16; ++requests) {
    const tocsin::http::Request request = ReadRequest(Cut(input, std::string_view("\0", 1)));
    CheckAnswer(rest.Handle(request));
    CheckMemory(rest, request);
  }
  registry.Stop();
  return 0;
}
