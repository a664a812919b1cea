// A registry over a topic in memory, and its REST interface. Every answer is held against the
// OpenAPI document.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "schema-registry/rest/rest_api.h"
#include "schema-registry/rest/routes.h"
#include "schema-registry/rest/testing/openapi_check.h"
#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {

inline constexpr char kAlert[] = "syntax = 'proto3'; message Alert { string source = 1; }";
inline constexpr char kAlertMore[] =
    "syntax = 'proto3'; message Alert { string source = 1; int32 severity = 2; }";
inline constexpr char kAlertBroken[] = "syntax = 'proto3'; message Alert { int64 source = 1; }";

inline std::string Body(std::string_view text) {
  return nlohmann::ordered_json{{"schema", text}, {"schemaType", "PROTOBUF"}}.dump();
}

class RestFixture : public ::testing::Test {
 protected:
  using Json = ::nlohmann::ordered_json;
  using Headers = std::vector<std::pair<std::string, std::string>>;

  explicit RestFixture(std::size_t max_text_bytes = 2000)
      : RestFixture(Clock::Real(), Limited(max_text_bytes)) {}
  RestFixture(const Clock& clock, const RegistryOptions& options)
      : log_(topic_), registry_(log_, audit_, clock, options) {
    registry_.Start();
    Serve({});
  }
  ~RestFixture() override { registry_.Stop(); }

  static RegistryOptions Limited(std::size_t max_text_bytes) {
    RegistryOptions options;
    options.limits.max_text_bytes = max_text_bytes;
    return options;
  }

  // Serves with other options from now on.
  void Serve(RestOptions options) {
    options.verify = [](std::string_view token) -> absl::StatusOr<auth::Principal> {
      if (token == "reads") return auth::Principal{"ann", {auth::Role::ROLE_SCHEMA_READ}};
      if (token == "writes") return auth::Principal{"wim", {auth::Role::ROLE_SCHEMA_WRITE}};
      if (token == "rules") return auth::Principal{"ada", {auth::Role::ROLE_SCHEMA_ADMIN}};
      if (token == "views") return auth::Principal{"vic", {auth::Role::ROLE_VIEWER}};
      return Unauthenticated("the token's signature is not valid");
    };
    rest_ = std::make_unique<RestApi>(registry_, std::move(options));
  }

  // As ada, who may do everything, unless a header says otherwise. A header without a value is left
  // out.
  http::Response Send(const std::string& method, const std::string& target, std::string body = "",
                      const Headers& headers = {}) {
    http::Request request;
    request.method = method;
    request.path = target.substr(0, target.find('?'));
    if (target.find('?') != std::string::npos) {
      auto query = http::ParseQuery(std::string_view(target).substr(target.find('?') + 1));
      EXPECT_TRUE(query.ok()) << query.status();
      if (query.ok()) request.query = *std::move(query);
    }
    request.body = std::move(body);
    request.peer = "192.0.2.7:5000";
    request.headers.Set("authorization", "Bearer rules");
    if (!request.body.empty()) {
      request.headers.Set("content-type", "application/vnd.schemaregistry.v1+json");
    }
    for (const auto& [name, value] : headers) {
      if (value.empty()) {
        request.headers.Remove(name);
      } else {
        request.headers.Set(name, value);
      }
    }
    http::Response response = rest_->Handle(request);
    auto path = http::ParsePath(request.path);
    // No path of the document where it cannot be decoded.
    const auto segments =
        path.ok() ? RoutePath(*std::move(path)).segments : std::vector<std::string>{"%"};
    EXPECT_EQ(openapi_.Fault(method, segments, response.status, response.body), "")
        << method << " " << target << ": " << response.body;
    std::vector<std::string> parameters;
    for (const auto& [name, value] : request.query) {
      if (name != "reference_format") parameters.push_back(name);
    }
    EXPECT_THAT(openapi_.Undocumented(method, segments, parameters), ::testing::IsEmpty())
        << method << " " << target;
    return response;
  }

  // What 200 brings.
  Json Get(const std::string& target) { return Value("GET", target); }
  Json Value(const std::string& method, const std::string& target, const std::string& body = "") {
    const http::Response response = Send(method, target, body);
    EXPECT_EQ(response.status, 200) << method << " " << target << ": " << response.body;
    return Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  }
  // Sends and expects 200 with exactly this body.
  void Expect(const std::string& method, const std::string& target, const std::string& body,
              const std::string& answer) {
    const http::Response response = Send(method, target, body);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.body, answer) << method << " " << target;
  }
  // Registers and gives the id.
  int Register(const std::string& subject, std::string_view text) {
    return Value("POST", "/subjects/" + subject + "/versions", Body(text)).value("id", 0);
  }

  static void ExpectError(const http::Response& response, int code, std::string_view message) {
    const Json json = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object()) << response.body;
    EXPECT_EQ(json["error_code"], code) << response.body;
    EXPECT_EQ(response.status, code >= 1000 ? code / 100 : code);
    EXPECT_THAT(json["message"].get<std::string>(), ::testing::HasSubstr(std::string(message)));
  }

  FakeTopic topic_;
  FakeLog log_;
  FakeAudit audit_;
  Registry registry_;
  std::unique_ptr<RestApi> rest_;
  const OpenApiCheck openapi_;
};

}  // namespace tocsin::registry
