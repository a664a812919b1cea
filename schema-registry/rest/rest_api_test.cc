#include "schema-registry/rest/rest_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {
namespace {

using ::testing::HasSubstr;
using Json = ::nlohmann::ordered_json;

constexpr char kAlert[] = "syntax = 'proto3'; message Alert { string source = 1; }";
constexpr char kAlertMore[] =
    "syntax = 'proto3'; message Alert { string source = 1; int32 severity = 2; }";
constexpr char kAlertBroken[] = "syntax = 'proto3'; message Alert { int64 source = 1; }";

std::string Body(std::string_view text) {
  return Json{{"schema", text}, {"schemaType", "PROTOBUF"}}.dump();
}

class RestTest : public ::testing::Test {
 protected:
  RestTest()
      : log_(topic_),
        registry_(log_, audit_, Clock::Real(), Options()),
        rest_(registry_, [](std::string_view token) -> absl::StatusOr<auth::Principal> {
          if (token == "reads") return auth::Principal{"ann", {auth::Role::ROLE_SCHEMA_READ}};
          if (token == "writes") return auth::Principal{"wim", {auth::Role::ROLE_SCHEMA_WRITE}};
          if (token == "views") return auth::Principal{"vic", {auth::Role::ROLE_VIEWER}};
          return Unauthenticated("the token's signature is not valid");
        }) {
    registry_.Start();
  }
  ~RestTest() override { registry_.Stop(); }

  static RegistryOptions Options() {
    RegistryOptions options;
    options.limits.max_text_bytes = 2000;
    return options;
  }

  http::Response Send(std::string method, std::string target, std::string body = "",
                      std::vector<std::pair<std::string, std::string>> headers = {}) {
    http::Request request;
    request.method = std::move(method);
    request.path = target.substr(0, target.find('?'));
    if (target.find('?') != std::string::npos) {
      request.query = http::ParseQuery(std::string_view(target).substr(target.find('?') + 1));
    }
    request.body = std::move(body);
    request.headers.Set("authorization", "Bearer writes");
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
    return rest_.Handle(request);
  }

  // Sends and expects 200 with exactly this body.
  void Expect(const std::string& method, const std::string& target, const std::string& body,
              const std::string& answer) {
    const http::Response response = Send(method, target, body);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.body, answer) << method << " " << target;
  }

  void ExpectError(const http::Response& response, int code, std::string_view message) {
    const Json json = Json::parse(response.body);
    EXPECT_EQ(json["error_code"], code) << response.body;
    EXPECT_EQ(response.status, code >= 1000 ? code / 100 : code);
    EXPECT_THAT(json["message"].get<std::string>(), HasSubstr(std::string(message)));
  }

  FakeTopic topic_;
  FakeLog log_;
  FakeAudit audit_;
  Registry registry_;
  RestApi rest_;
};

TEST_F(RestTest, TheWayOfASerializer) {
  Expect("POST", "/subjects/alerts.raw-value/versions", Body(kAlert), R"({"id":1})");
  Expect("POST", "/subjects/alerts.raw-value/versions?normalize=true", Body(kAlert), R"({"id":1})");
  Expect("POST", "/subjects/alerts.raw-value/versions", Body(kAlertMore), R"({"id":2})");
  Expect("GET", "/schemas/ids/1?fetchMaxId=false&subject=alerts.raw-value", "",
         Json{{"schemaType", "PROTOBUF"}, {"schema", kAlert}}.dump());
  const std::string first = Json{
      {"subject", "alerts.raw-value"},
      {"version", 1},
      {"id", 1},
      {"schemaType", "PROTOBUF"},
      {"schema", kAlert}}.dump();
  Expect("POST", "/subjects/alerts.raw-value", Body(kAlert), first);
  Expect("GET", "/subjects/alerts.raw-value/versions/1", "", first);
  Expect("GET", "/subjects/alerts.raw-value/versions/1/schema", "", kAlert);
  EXPECT_EQ(Send("GET", "/subjects/alerts.raw-value/versions/latest").body,
            Send("GET", "/subjects/alerts.raw-value/versions/2").body);
  EXPECT_EQ(Send("GET", "/subjects/alerts.raw-value/versions/-1").body,
            Send("GET", "/subjects/alerts.raw-value/versions/2").body);
}

TEST_F(RestTest, Lists) {
  Send("POST", "/subjects/b/versions", Body(kAlert));
  Send("POST", "/subjects/a/versions", Body(kAlert));
  Send("POST", "/subjects/a/versions", Body(kAlertMore));
  Expect("GET", "/subjects", "", R"(["a","b"])");
  Expect("GET", "/subjects?subjectPrefix=b", "", R"(["b"])");
  Expect("GET", "/subjects?subjectPrefix=%3A%2A%3A", "", R"(["a","b"])");
  Expect("GET", "/subjects?offset=1&limit=5", "", R"(["b"])");
  Expect("GET", "/subjects?limit=1", "", R"(["a"])");
  Expect("GET", "/subjects/a/versions", "", "[1,2]");
  Expect("GET", "/schemas/ids/1/subjects", "", R"(["a","b"])");
  Expect("GET", "/schemas/ids/1/versions", "",
         R"([{"subject":"a","version":1},{"subject":"b","version":1}])");
  Expect("GET", "/schemas/ids/1/versions?subject=b", "", R"([{"subject":"b","version":1}])");
  Expect("GET", "/schemas/ids/1/schema", "", kAlert);
  Expect("GET", "/schemas/types", "", R"(["PROTOBUF"])");
  Expect("GET", "/", "", "{}");
  Expect("POST", "/", "", "{}");
  Expect("GET", "/mode", "", R"({"mode":"READWRITE"})");
  Expect("GET", "/mode/a?defaultToGlobal=true", "", R"({"mode":"READWRITE"})");
  ExpectError(Send("GET", "/mode/a"), 40409, "no mode of its own");
}

TEST_F(RestTest, SubjectsAreDecodedAfterTheSplit) {
  Expect("POST", "/subjects/google%2Ftype%2Fa.proto/versions", Body(kAlert), R"({"id":1})");
  Expect("POST", "/subjects/a%3Ab/versions", Body(kAlert), R"({"id":1})");
  Expect("POST", "/subjects/100%25/versions", Body(kAlert), R"({"id":1})");
  Expect("GET", "/subjects", "", R"(["100%","a:b","google/type/a.proto"])");
  Expect("GET", "/subjects/google%2Ftype%2Fa.proto/versions", "", "[1]");
  ExpectError(Send("GET", "/subjects/google/type/a.proto/versions"), 404, "no such path");
}

TEST_F(RestTest, References) {
  Send("POST", "/subjects/a.proto/versions", Body("syntax='proto3'; message A {}"));
  const std::string text = "syntax='proto3'; import 'a.proto'; message M { A a = 1; }";
  Json body = {{"schema", text}, {"schemaType", "PROTOBUF"}};
  ExpectError(Send("POST", "/subjects/m/versions", body.dump()), 42201,
              "\"a.proto\" was not found");
  body["references"] = {{{"name", "a.proto"}, {"subject", "a.proto"}, {"version", -1}}};
  Expect("POST", "/subjects/m/versions", body.dump(), R"({"id":2})");
  Expect("GET", "/schemas/ids/2", "",
         R"({"schemaType":"PROTOBUF","references":[{"name":"a.proto","subject":"a.proto",)"
         R"("version":1}],"schema":)" +
             Json(text).dump() + "}");
  body["references"] = {{{"name", "a.proto"}, {"subject", "nobody"}, {"version", 1}}};
  ExpectError(Send("POST", "/subjects/m/versions", body.dump()), 42201, "subject 'nobody'");
  body["references"] = {{{"name", "a.proto"}}};
  ExpectError(Send("POST", "/subjects/m/versions", body.dump()), 422, "a reference needs");
}

TEST_F(RestTest, SerializedForm) {
  Send("POST", "/subjects/s/versions", Body(kAlert));
  const Json answer = Json::parse(Send("GET", "/schemas/ids/1?format=serialized").body);
  const std::string bytes = answer["schema"].get<std::string>();
  EXPECT_THAT(Base64Decode(bytes).value_or(""), HasSubstr("Alert"));
  Expect("POST", "/subjects/s/versions", Body(bytes), R"({"id":1})");
}

TEST_F(RestTest, Compatibility) {
  const std::string latest = "/compatibility/subjects/s/versions/latest";
  Expect("POST", latest, Body(kAlert), R"({"is_compatible":true})");
  Send("POST", "/subjects/s/versions", Body(kAlert));
  Expect("POST", latest, Body(kAlertMore), R"({"is_compatible":true})");
  Expect("POST", latest, Body(kAlertBroken), R"({"is_compatible":false})");
  Expect("POST", "/compatibility/subjects/s/versions/1", Body(kAlertBroken),
         R"({"is_compatible":false})");
  Expect("POST", "/compatibility/subjects/s/versions", Body(kAlertBroken),
         R"({"is_compatible":false})");
  ExpectError(Send("POST", "/compatibility/subjects/s/versions/2", Body(kAlert)), 40402,
              "no version 2");
  const Json verbose = Json::parse(Send("POST", latest + "?verbose=true", Body(kAlertBroken)).body);
  EXPECT_EQ(verbose["is_compatible"], false);
  EXPECT_THAT(
      verbose["messages"][0].get<std::string>(),
      HasSubstr("{errorType:\"FIELD_SCALAR_KIND_CHANGED\", description:\"#/Alert/source: "));
  EXPECT_EQ(verbose["messages"][1], "{oldSchemaVersion: 1}");
  EXPECT_EQ(verbose["messages"][2], "{compatibility: 'BACKWARD'}");
  ExpectError(Send("POST", latest, Body("message {")), 42201, "s:1:9: ");
  const Json unparsed = Json::parse(Send("POST", latest + "?verbose=true", Body("message {")).body);
  EXPECT_EQ(unparsed["is_compatible"], false);
  EXPECT_THAT(unparsed["messages"][0].get<std::string>(), HasSubstr("s:1:9: "));
  ExpectError(Send("POST", "/subjects/s/versions", Body(kAlertBroken)), 409,
              "FIELD_SCALAR_KIND_CHANGED at #/Alert/source");
}

TEST_F(RestTest, Config) {
  Expect("GET", "/config", "", R"({"compatibilityLevel":"BACKWARD"})");
  ExpectError(Send("GET", "/config/s"), 40408, "no configuration of its own");
  Expect("GET", "/config/s?defaultToGlobal=true", "", R"({"compatibilityLevel":"BACKWARD"})");
  Expect("PUT", "/config/s", R"({"compatibility":"NONE"})", R"({"compatibility":"NONE"})");
  Expect("GET", "/config/s", "", R"({"compatibilityLevel":"NONE"})");
  Expect("PUT", "/config", R"({"compatibility":"FULL"})", R"({"compatibility":"FULL"})");
  Expect("GET", "/config", "", R"({"compatibilityLevel":"FULL"})");
  ExpectError(Send("PUT", "/config", R"({"compatibility":"backward"})"), 42203,
              "'backward' is not a compatibility level; the levels are NONE, BACKWARD");
  ExpectError(Send("PUT", "/config", "{}"), 42203, "no \"compatibility\"");
}

TEST_F(RestTest, WhatDoesNotExist) {
  Send("POST", "/subjects/s/versions", Body(kAlert));
  ExpectError(Send("GET", "/schemas/ids/9"), 40403, "no schema has the id 9");
  ExpectError(Send("GET", "/subjects/nobody/versions"), 40401, "subject 'nobody' does not exist");
  ExpectError(Send("GET", "/subjects/nobody/versions/latest"), 40401, "'nobody'");
  ExpectError(Send("GET", "/subjects/s/versions/2"), 40402, "subject 's' has no version 2");
  ExpectError(Send("GET", "/subjects/s/versions/zero"), 42202, "'zero' is not a version");
  ExpectError(Send("GET", "/subjects/s/versions/0"), 42202, "'0' is not a version");
  ExpectError(Send("GET", "/subjects/s/versions/2147483648"), 42202, "not a version");
  ExpectError(Send("POST", "/subjects/nobody", Body(kAlert)), 40401, "'nobody'");
  ExpectError(Send("POST", "/subjects/s", Body(kAlertMore)), 40403, "no version with this schema");
  ExpectError(Send("GET", "/schemas/ids/x"), 404, "'x' is not the id of a schema");
  ExpectError(Send("GET", "/nowhere"), 404, "no such path");
  ExpectError(Send("DELETE", "/subjects/s"), 405, "DELETE is not offered");
}

TEST_F(RestTest, BadBodies) {
  const std::string target = "/subjects/s/versions";
  ExpectError(Send("POST", target, "{"), 400, "not a JSON object");
  ExpectError(Send("POST", target, "[]"), 400, "not a JSON object");
  ExpectError(Send("POST", target, R"({"schemaType":"PROTOBUF"})"), 42201, "no \"schema\"");
  ExpectError(Send("POST", target, R"({"schema":"\"string\""})"), 42201,
              "takes PROTOBUF schemas only, and this one is AVRO (which is meant where no "
              "schemaType is given)");
  ExpectError(Send("POST", target, R"({"schema":"{}","schemaType":"JSON"})"), 42201,
              "this one is JSON");
  ExpectError(Send("POST", target, R"({"schema":"{}","schemaType":7})"), 422, "not a text");
  ExpectError(Send("POST", target, R"({"schema":"x","schemaType":"PROTOBUF","id":7})"), 42205,
              "leave \"id\" out");
  ExpectError(Send("POST", target, R"({"schema":"x","ruleSet":{}})"), 42205, "\"ruleSet\"");
  ExpectError(Send("POST", target, Body(std::string(2001, ' '))), 42209,
              "2001 bytes, more than the limit of 2000");
  ExpectError(Send("POST", target, Body("syntax='proto3';\nmessage A { B b = 1; }")), 42201,
              "s:2:13: \"B\" is not defined.");
  ExpectError(Send("POST", "/subjects/%00/versions", Body(kAlert)), 42208, "control characters");
  ExpectError(Send("POST", "/subjects/a%FF/versions", Body(kAlert)), 42208, "not valid UTF-8");
  ExpectError(Send("POST", "/subjects/:.ctx:s/versions", Body(kAlert)), 42208, "names a context");
  ExpectError(Send("POST", target, Body(kAlert), {{"content-type", "text/plain"}}), 415,
              "'text/plain' is not taken");
}

TEST_F(RestTest, ContentTypes) {
  const auto type_for = [&](std::string accept) {
    const http::Response response = Send("GET", "/subjects", "", {{"accept", std::move(accept)}});
    return std::string(response.headers.Get("content-type").value_or(""));
  };
  EXPECT_EQ(type_for(""), "application/vnd.schemaregistry.v1+json");
  EXPECT_EQ(type_for("*/*"), "application/vnd.schemaregistry.v1+json");
  EXPECT_EQ(type_for("text/html, application/json;q=0.5"), "application/json");
  EXPECT_EQ(type_for("application/vnd.schemaregistry+json"), "application/vnd.schemaregistry+json");
  ExpectError(Send("GET", "/subjects", "", {{"accept", "text/html"}}), 406, "answers with");
  EXPECT_EQ(Send("POST", "/subjects/s/versions", Body(kAlert),
                 {{"content-type", "application/octet-stream"}})
                .status,
            200);
}

TEST_F(RestTest, Tokens) {
  const auto with = [&](std::string method, std::string target, std::string authorization) {
    return Send(std::move(method), std::move(target), Body(kAlert),
                {{"authorization", std::move(authorization)}});
  };
  const http::Response none = with("GET", "/subjects", "");
  ExpectError(none, 401, "no token: send it as 'authorization: Bearer <token>'");
  EXPECT_THAT(none.headers.Get("www-authenticate").value_or(""), HasSubstr("Basic"));
  ExpectError(with("GET", "/subjects", "Bearer forged"), 401, "signature is not valid");
  ExpectError(with("GET", "/subjects", "Digest x"), 401, "only the schemes");
  ExpectError(with("GET", "/subjects", "Basic !!!"), 401, "not base64 of user:token");
  ExpectError(with("GET", "/nowhere", ""), 401, "no token");
  // ann:reads
  EXPECT_EQ(with("GET", "/subjects", "Basic YW5uOnJlYWRz").status, 200);
  EXPECT_EQ(with("GET", "/subjects", "bearer reads").status, 200);
  EXPECT_EQ(with("GET", "/", "").status, 200) << "clients probe it without a token";
  ExpectError(with("POST", "/subjects/s/versions", "Bearer reads"), 403,
              "needs the role schema.write");
  ExpectError(with("PUT", "/config", "Bearer reads"), 403, "needs the role schema.write");
  ExpectError(with("GET", "/subjects", "Bearer views"), 403, "needs the role schema.read");
  EXPECT_EQ(with("POST", "/subjects/s/versions", "Bearer writes").status, 200);
}

TEST_F(RestTest, KafkaAway) {
  topic_.SetAway(true);
  const http::Response response = Send("POST", "/subjects/s/versions", Body(kAlert));
  ExpectError(response, 50001, "Kafka does not answer");
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
}

}  // namespace
}  // namespace tocsin::registry
