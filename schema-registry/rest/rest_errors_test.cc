// Every error that clients are told apart by: what provokes it, and its status, code and message.
#include <chrono>
#include <optional>
#include <string>

#include "schema-registry/rest/testing/rest_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::HasSubstr;

class RestErrorsTest : public RestFixture {
 protected:
  http::Response Post(const std::string& text) {
    return Send("POST", "/subjects/s/versions", Body(text));
  }
};

TEST_F(RestErrorsTest, WhatDoesNotExist) {
  Register("s", kAlert);
  ExpectError(Send("GET", "/schemas/ids/9"), 40403, "no schema has the id 9");
  ExpectError(Send("GET", "/schemas/ids/9/schema"), 40403, "id 9");
  ExpectError(Send("GET", "/schemas/ids/9/subjects"), 40403, "id 9");
  ExpectError(Send("GET", "/schemas/guids/00000000-0000-0000-0000-000000000000"), 40403, "GUID");
  ExpectError(Send("GET", "/schemas/guids/x/ids"), 40403, "'x' is not the GUID");
  ExpectError(Send("GET", "/subjects/nobody/versions"), 40401, "subject 'nobody' does not exist");
  ExpectError(Send("GET", "/subjects/nobody/versions/latest"), 40401, "'nobody'");
  ExpectError(Send("GET", "/subjects/nobody/versions/1/referencedby"), 40401, "'nobody'");
  ExpectError(Send("DELETE", "/subjects/nobody"), 40401, "'nobody'");
  ExpectError(Send("POST", "/subjects/nobody", Body(kAlert)), 40401, "'nobody'");
  ExpectError(Send("GET", "/subjects/s/versions/2"), 40402, "subject 's' has no version 2");
  ExpectError(Send("DELETE", "/subjects/s/versions/2"), 40402, "version 2");
  ExpectError(Send("POST", "/compatibility/subjects/s/versions/2", Body(kAlert)), 40402,
              "no version 2");
  ExpectError(Send("POST", "/compatibility/subjects/nobody/versions/1", Body(kAlert)), 40402,
              "no version 1");
  ExpectError(Send("POST", "/subjects/s", Body(kAlertMore)), 40403, "no version with this schema");
  ExpectError(Send("GET", "/config/s"), 40408, "no configuration of its own");
  ExpectError(Send("DELETE", "/config/s"), 40408, "s");
  ExpectError(Send("GET", "/mode/s"), 40409, "no mode of its own");
  ExpectError(Send("DELETE", "/mode/s"), 40409, "s");
  ExpectError(Send("GET", "/schemas/ids/x"), 404, "'x' is not the id of a schema");
  ExpectError(Send("GET", "/schemas/ids/2147483648"), 404, "not the id");
  ExpectError(Send("GET", "/nowhere"), 404, "no such path");
}

TEST_F(RestErrorsTest, DeletionInTheWrongOrder) {
  Register("s", kAlert);
  ExpectError(Send("DELETE", "/subjects/s?permanent=true"), 40405, "s");
  ExpectError(Send("DELETE", "/subjects/s/versions/1?permanent=true"), 40407, "1");
  Send("DELETE", "/subjects/s/versions/1");
  ExpectError(Send("DELETE", "/subjects/s/versions/1"), 40406, "1");
  ExpectError(Send("DELETE", "/subjects/s"), 40404, "s");
  Expect("DELETE", "/subjects/s?permanent=true", "", "[1]");
  ExpectError(Send("GET", "/schemas/ids/1"), 40403, "id 1");
}

TEST_F(RestErrorsTest, StillReferenced) {
  Register("a.proto", "syntax='proto3'; message A {}");
  Json body = {{"schema", "syntax='proto3'; import 'a.proto'; message M { A a = 1; }"},
               {"schemaType", "PROTOBUF"},
               {"references", {{{"name", "a.proto"}, {"subject", "a.proto"}, {"version", 1}}}}};
  Value("POST", "/subjects/m/versions", body.dump());
  ExpectError(Send("DELETE", "/subjects/a.proto"), 42206, "a.proto");
  ExpectError(Send("DELETE", "/subjects/a.proto/versions/1"), 42206, "a.proto");
}

TEST_F(RestErrorsTest, Incompatible) {
  Register("s", kAlert);
  ExpectError(Post(kAlertBroken), 409, "FIELD_SCALAR_KIND_CHANGED at #/Alert/source");
}

TEST_F(RestErrorsTest, InvalidSchemas) {
  ExpectError(Post("syntax='proto3';\nmessage A { B b = 1; }"), 42201,
              "s:2:13: \"B\" is not defined.");
  ExpectError(Post("syntax='proto3'; import 'a.proto'; message M { A a = 1; }"), 42201,
              "\"a.proto\" was not found");
  const std::string target = "/subjects/s/versions";
  ExpectError(Send("POST", target, R"({"schemaType":"PROTOBUF"})"), 42201, "no \"schema\"");
  ExpectError(Send("POST", target, R"({"schema":"","schemaType":"PROTOBUF"})"), 42201,
              "no \"schema\"");
  ExpectError(Send("POST", target, R"({"schema":"\"string\""})"), 42201,
              "takes PROTOBUF schemas only, and this one is AVRO (which is meant where no "
              "schemaType is given)");
  ExpectError(Send("POST", target, R"({"schema":"{}","schemaType":"JSON"})"), 42201,
              "this one is JSON");
  ExpectError(Send("POST", "/subjects/s", R"({"schema":"{}","schemaType":"JSON"})"), 40401, "'s'");
  Json body = Json::parse(Body("syntax='proto3'; import 'a.proto'; message M { A a = 1; }"));
  body["references"] = {{{"name", "a.proto"}, {"subject", "nobody"}, {"version", 1}}};
  ExpectError(Send("POST", target, body.dump()), 42201, "subject 'nobody'");
}

TEST_F(RestErrorsTest, InvalidVersions) {
  Register("s", kAlert);
  for (const std::string version : {"0", "-2", "zero", "2147483648", "1.0", "%00"}) {
    ExpectError(Send("GET", "/subjects/s/versions/" + version), 42202,
                "is not a version: give a number from 1 to 2147483647, or 'latest'");
    ExpectError(Send("DELETE", "/subjects/s/versions/" + version), 42202, "is not a version");
    ExpectError(Send("POST", "/compatibility/subjects/s/versions/" + version, Body(kAlert)), 42202,
                "is not a version");
  }
}

TEST_F(RestErrorsTest, InvalidSettings) {
  ExpectError(Send("PUT", "/config", R"({"compatibility":"SIDEWAYS"})"), 42203,
              "'SIDEWAYS' is not a compatibility level; the levels are NONE, BACKWARD");
  ExpectError(Send("PUT", "/config/s", R"({"compatibility":7})"), 42203, "not a text");
  ExpectError(Send("PUT", "/config", "{}"), 42203, "sets nothing");
  ExpectError(Send("PUT", "/config", R"({"normalize":"yes"})"), 422, "\"normalize\"");
  ExpectError(Send("PUT", "/config", R"({"compatibilityPolicy":"WEIRD"})"), 422,
              "compatibilityPolicy is STRICT or LENIENT, not 'WEIRD'");
  EXPECT_EQ(Send("PUT", "/config", R"({"compatibilityPolicy":"LENIENT"})").status, 200);
  ExpectError(Send("PUT", "/config", R"({"compatibilityPolicy":""})"), 422,
              "compatibilityPolicy is empty");
  ExpectError(Send("PUT", "/config", R"({"compatibilityGroup":""})"), 422,
              "compatibilityGroup is empty");
  ExpectError(Send("PUT", "/mode", R"({"mode":"BOTH"})"), 42204, "'BOTH' is not a mode");
  ExpectError(Send("PUT", "/mode", "{}"), 42204, "no \"mode\"");
}

TEST_F(RestErrorsTest, WhatIsNotPermitted) {
  Json body = Json::parse(Body(kAlert));
  body["id"] = 7;
  ExpectError(Send("POST", "/subjects/s/versions", body.dump()), 42205, "leave \"id\" out");
  body = Json::parse(Body(kAlert));
  body["propagateSchemaTags"] = true;
  ExpectError(Send("POST", "/subjects/s/versions", body.dump()), 42205, "propagateSchemaTags");
  Register("s", kAlert);
  ExpectError(Send("PUT", "/mode/s", R"({"mode":"IMPORT"})"), 42205, "s");
  Send("PUT", "/mode/s", R"({"mode":"READONLY"})");
  ExpectError(Post(kAlertMore), 42205, "READONLY");
}

TEST_F(RestErrorsTest, AnotherIdThanTheOneItHas) {
  Send("PUT", "/mode/s", R"({"mode":"IMPORT"})");
  Json body = Json::parse(Body(kAlert));
  body["id"] = 7;
  body["version"] = 1;
  Value("POST", "/subjects/s/versions", body.dump());
  body["id"] = 8;
  ExpectError(Send("POST", "/subjects/s/versions", body.dump()), 42207, "7");
}

TEST_F(RestErrorsTest, InvalidSubjects) {
  ExpectError(Send("POST", "/subjects/%00/versions", Body(kAlert)), 42208, "control characters");
  ExpectError(Send("POST", "/subjects/a%FF/versions", Body(kAlert)), 42208, "not valid UTF-8");
  ExpectError(Send("POST", "/subjects/:.eu/versions", Body(kAlert)), 42208, "does not end it");
  ExpectError(Send("POST", "/subjects/:.eu:/versions", Body(kAlert)), 42208, "empty");
  ExpectError(Send("GET", "/subjects/" + std::string(600, 's') + "/versions"), 42208, "longer");
  ExpectError(Send("GET", "/contexts/a:b/subjects/s/versions"), 42208, "no ':'");
  ExpectError(Send("GET", "/schemas/ids/1?subject=:.eu"), 42208, "does not end it");
}

// Without its name, a subject's path must not become another one's.
TEST_F(RestErrorsTest, EmptyPartsOfAPathMatchNothing) {
  Register("versions", kAlert);
  Register("s", kAlert);
  for (const std::string path :
       {"//", "//subjects", "/subjects//", "/subjects//versions", "/subjects//versions/1",
        "/subjects//versions//", "/subjects/s//versions", "/subjects/s/versions//1", "/config//",
        "/mode//", "/contexts//subjects/s", "/contexts//subjects", "/contexts/.eu//",
        "/schemas/ids//", "/compatibility/subjects//versions"}) {
    for (const std::string method : {"GET", "POST", "PUT", "DELETE"}) {
      ExpectError(Send(method, path, method == "POST" ? Body(kAlert) : ""), 404,
                  "between two slashes is empty");
    }
  }
  Expect("GET", "/subjects", "", R"(["s","versions"])");
  // One slash at the end says nothing.
  Expect("GET", "/subjects/", "", R"(["s","versions"])");
  Expect("GET", "/subjects/s/versions/", "", "[1]");
}

TEST_F(RestErrorsTest, EscapesThatAreNone) {
  for (const std::string subject : {"%zz", "%", "%2", "100%"}) {
    ExpectError(Send("POST", "/subjects/" + subject + "/versions", Body(kAlert)), 400,
                subject == "100%" ? "the '%' at character 14 of the path begins no escape"
                                  : "the '%' at character 11 of the path begins no escape");
    ExpectError(Send("DELETE", "/subjects/" + subject), 400, "is written %25");
  }
  Expect("GET", "/subjects", "", "[]");
}

TEST_F(RestErrorsTest, TooLarge) {
  ExpectError(Post(std::string(2001, ' ')), 42209, "2001 bytes, more than the limit of 2000");
}

TEST_F(RestErrorsTest, InvalidRuleSets) {
  Json body = Json::parse(Body(kAlert));
  body["ruleSet"] = {{"domainRules", {{{"name", "7 dwarfs"}, {"type", "CEL"}}}}};
  ExpectError(Send("POST", "/subjects/s/versions", body.dump()), 42210, "7 dwarfs");
}

TEST_F(RestErrorsTest, FieldsOfTheWrongKind) {
  const std::string target = "/subjects/s/versions";
  ExpectError(Send("POST", target, R"({"schema":"{}","schemaType":7})"), 422, "not a text");
  Json body = Json::parse(Body(kAlert));
  for (const std::string references :
       {R"({})", R"(["a"])", R"([{"name":"a.proto"}])",
        R"([{"name":"a","subject":"a","version":"1"}])",
        R"([{"name":"a","subject":"a","version":-2}])",
        R"([{"name":"a","subject":"a","version":2147483648}])",
        R"([{"name":"a","subject":"a","version":18446744073709551615}])"}) {
    body["references"] = Json::parse(references);
    EXPECT_EQ(Send("POST", target, body.dump()).status, 422) << references;
  }
  body = Json::parse(Body(kAlert));
  body["metadata"] = "x";
  ExpectError(Send("POST", target, body.dump()), 422, "\"metadata\" is not an object");
  body = Json::parse(Body(kAlert));
  body["id"] = 9007199254740993;
  ExpectError(Send("POST", target, body.dump()), 422, "\"id\"");
}

TEST_F(RestErrorsTest, MethodsAndTypes) {
  const http::Response response = Send("PUT", "/subjects/s");
  ExpectError(response, 405, "PUT is not offered for this path; use POST, DELETE");
  EXPECT_EQ(response.headers.Get("allow"), "POST, DELETE");
  EXPECT_EQ(Send("OPTIONS", "/subjects").headers.Get("allow"), "GET, HEAD");
  ExpectError(Send("GET", "/subjects", "", {{"accept", "text/html"}}), 406, "answers with");
  ExpectError(Send("POST", "/subjects/s/versions", Body(kAlert), {{"content-type", "text/plain"}}),
              415, "'text/plain' is not taken");
}

TEST_F(RestErrorsTest, ContextsThatAreNotEmpty) {
  Register(":.eu:s", kAlert);
  ExpectError(Send("DELETE", "/contexts/.eu"), 42211, "subject");
}

TEST_F(RestErrorsTest, KafkaAway) {
  Register("s", kAlert);
  EXPECT_EQ(Send("GET", "/subjects/s/versions/1").status, 200);
  topic_.SetAway(true);
  const http::Response response = Post(kAlertMore);
  ExpectError(response, 50001, "the broker is away");
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
  EXPECT_EQ(Get("/schemas/ids/1")["schema"], kAlert) << "what is known is answered";
  ExpectError(Send("GET", "/schemas/ids/2"), 50001,
              "Kafka does not answer, so the newest schemas are not known; try again");
}

TEST_F(RestErrorsTest, AWriteThatIsNotConfirmed) {
  log_.FailAppends(1, /*lands=*/false);
  ExpectError(Post(kAlert), 50001, "did not confirm the write, which may still take effect");
  log_.FailAppends(1, /*lands=*/false, DeadlineExceeded("no answer within 10 s"));
  const http::Response response = Post(kAlert);
  ExpectError(response, 50002, "which may still take effect; try again: no answer within 10 s");
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
}

struct OwnTime {
  FakeClock time;
};

// With a clock that stands still but for what a test does.
class RestTimeTest : private OwnTime, public RestFixture {
 protected:
  RestTimeTest() : RestFixture(time, Impatient()) {}
  static RegistryOptions Impatient() {
    RegistryOptions options;
    options.read_timeout = std::chrono::milliseconds(10);
    return options;
  }
  void PassSeconds(int count) { time.Advance(std::chrono::seconds(count)); }
};

TEST_F(RestTimeTest, RecordsThatDoNotComeInTime) {
  Register("s", kAlert);
  topic_.Stall([this] { PassSeconds(1); });
  // There is more than was read.
  topic_.Append("{\"keytype\":\"NOOP\",\"magic\":0}", std::nullopt);
  const http::Response response = Send("GET", "/subjects/nobody/versions");
  ExpectError(response, 50002, "took too long: Kafka does not answer in time. Try again");
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
}

TEST_F(RestTimeTest, OthersThatAreAlwaysFirst) {
  int rounds = 0;
  log_.BeforeEachAppend([&] {
    topic_.Append("{\"keytype\":\"NOOP\",\"magic\":0}", std::nullopt);
    if (++rounds == 3) PassSeconds(11);
  });
  const http::Response response = Send("POST", "/subjects/s/versions", Body(kAlert));
  ExpectError(response, 50301,
              "other registries wrote at the same time again and again; try again");
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
  EXPECT_EQ(rounds, 3) << "each round but the last is tried anew";
  log_.BeforeEachAppend(nullptr);
  EXPECT_EQ(Register("s", kAlert), 1);
}

// --- what no client should send ---------------------------------------------------------------

TEST_F(RestErrorsTest, BodiesThatAreNotJson) {
  const std::string target = "/subjects/s/versions";
  for (const std::string body : {"{", "[]", "\"schema\"", "{\"schema\":\"\xff\"}", "nonsense",
                                 "{\"schema\":1e999999}", "{} {}"}) {
    ExpectError(Send("POST", target, body), 400, "the body is not a JSON object");
  }
  ExpectError(Send("POST", target, ""), 400, "the body is not a JSON object");
}

TEST_F(RestErrorsTest, BodiesThatWouldCostTooMuch) {
  const std::string target = "/subjects/s/versions";
  std::string deep = R"({"schema":"x","metadata":)";
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  ExpectError(Send("POST", target, deep), 400, "nested deeper than 32");
  ExpectError(Send("POST", target, std::string(1'000'000, '[')), 400, "nested deeper than 32");
  std::string wide = R"({"schema":"x")";
  for (int i = 0; i < 100'000; ++i) wide += ",\"f" + std::to_string(i) + "\":1";
  ExpectError(Send("POST", target, wide + "}"), 400, "more than 1000 names");
  ExpectError(Send("POST", target, R"({"schema":"x","schema":"y"})"), 400,
              "the name \"schema\" is twice");
}

TEST_F(RestErrorsTest, SchemasThatWouldCostTooMuch) {
  std::string nested = "syntax='proto3';";
  for (int i = 0; i < 100; ++i) nested += "message M{";
  nested += std::string(100, '}');
  ExpectError(Post(nested), 42201, "nested deeper than 32 levels");
  ExpectError(Post(std::string("syntax='proto3'; message A {\0}", 30)), 42201, "s:1:");
  ExpectError(Post("syntax='proto3'; import 's'; message A {}"), 42201, "s");
}

// With the limits that the process has.
class RestLimitsTest : public RestFixture {
 protected:
  RestLimitsTest() : RestFixture(std::size_t{1} << 20) {}
  static std::string Fields(int count) {
    std::string text = "syntax='proto3'; message A {";
    for (int i = 1; i <= count; ++i) {
      text += "int32 f" + std::to_string(i) + "=" + std::to_string(i < 19000 ? i : i + 1000) + ";";
    }
    return text + "}";
  }
};

TEST_F(RestLimitsTest, TenThousandFields) {
  EXPECT_EQ(Register("s", Fields(10'000)), 1);
  ExpectError(Send("POST", "/subjects/s/versions", Body(Fields(10'001))), 42201, "10000");
}

TEST_F(RestLimitsTest, FiveThousandBreaks) {
  Send("PUT", "/config/s", R"({"compatibility":"STRICT"})");
  Register("s", Fields(5'000));
  std::string broken = Fields(5'000);
  for (std::size_t at = 0; (at = broken.find("int32", at)) != std::string::npos; at += 14) {
    broken.insert(at, "repeated ");
  }
  const http::Response refused = Send("POST", "/subjects/s/versions", Body(broken));
  ExpectError(refused, 409, "\nand 9980 more; a compatibility check tells the first 1,000");
  EXPECT_LT(refused.body.size(), 20'000U);
  const Json verdict =
      Value("POST", "/compatibility/subjects/s/versions?verbose=true", Body(broken));
  EXPECT_EQ(verdict["findings"].size(), 1'000U);
  EXPECT_EQ(verdict["findingsLeftOut"], 9'000);
  EXPECT_EQ(verdict["messages"].size(), 1'003U);
  EXPECT_THAT(verdict["messages"][999].get<std::string>(),
              ::testing::Not(::testing::HasSubstr("more finding")));
  EXPECT_THAT(verdict["messages"][1'000].get<std::string>(),
              ::testing::StartsWith("{description:\"and 9000 more findings, "));
}

TEST_F(RestLimitsTest, ATextOfTenMegabytes) {
  ExpectError(Send("POST", "/subjects/s/versions", Body(std::string(10'000'000, ' '))), 42209,
              "10000000 bytes");
}

TEST_F(RestLimitsTest, AThousandLevels) {
  std::string messages = "syntax='proto3';";
  for (int i = 0; i < 1000; ++i) messages += "message M{";
  messages += std::string(1000, '}');
  ExpectError(Send("POST", "/subjects/s/versions", Body(messages)), 42201, "32 levels");
  std::string option = "syntax='proto3'; option (o) = ";
  for (int i = 0; i < 1000; ++i) option += "{a:";
  option += "1" + std::string(1000, '}') + ";";
  ExpectError(Send("POST", "/subjects/s/versions", Body(option)), 42201, "32 levels");
}

TEST_F(RestLimitsTest, AFileThatImportsItself) {
  Register("a.proto", "syntax='proto3'; message A {}");
  const auto body = [](const std::string& text, const std::string& import, int version) {
    Json json = {{"schema", text}, {"schemaType", "PROTOBUF"}};
    json["references"] = {{{"name", import}, {"subject", import}, {"version", version}}};
    return json.dump();
  };
  Value("POST", "/subjects/b.proto/versions",
        body("syntax='proto3'; import 'a.proto'; message B { A a = 1; }", "a.proto", 1));
  const http::Response response =
      Send("POST", "/subjects/a.proto/versions",
           body("syntax='proto3'; import 'b.proto'; message A { B b = 1; }", "b.proto", 1));
  ExpectError(response, 42201, "a.proto");
}

}  // namespace
}  // namespace tocsin::registry
