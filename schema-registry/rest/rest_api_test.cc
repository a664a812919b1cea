// What clients do, in the requests that they send.
#include "schema-registry/rest/rest_api.h"

#include <chrono>

#include "lib/base/hex.h"
#include "schema-registry/rest/testing/rest_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class RestTest : public RestFixture {};

std::vector<std::string> NamesOf(const nlohmann::ordered_json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  return names;
}

TEST_F(RestTest, TheWayOfASerializer) {
  const Json registered = Value("POST", "/subjects/alerts.raw-value/versions", Body(kAlert));
  EXPECT_THAT(NamesOf(registered), ElementsAre("id", "version", "subject", "guid", "schemaType",
                                               "schema", "ts", "registeredBy", "deleted"));
  EXPECT_EQ(registered["id"], 1);
  EXPECT_EQ(registered["schema"], kAlert);
  EXPECT_EQ(Value("POST", "/subjects/alerts.raw-value/versions?normalize=true", Body(kAlert))["id"],
            1);
  EXPECT_EQ(Register("alerts.raw-value", kAlertMore), 2);
  const Json by_id = Get("/schemas/ids/1?fetchMaxId=false&subject=alerts.raw-value");
  EXPECT_THAT(NamesOf(by_id), ElementsAre("guid", "schemaType", "schema"));
  EXPECT_EQ(by_id["schema"], kAlert);
  EXPECT_EQ(Get("/schemas/ids/1?fetchMaxId=true")["maxId"], 2);
  const Json version = Get("/subjects/alerts.raw-value/versions/1");
  EXPECT_THAT(NamesOf(version), ElementsAre("subject", "version", "id", "guid", "schemaType",
                                            "schema", "ts", "registeredBy", "deleted"));
  EXPECT_EQ(version["registeredBy"], "ada");
  EXPECT_EQ(version["deleted"], false);
  EXPECT_EQ(Value("POST", "/subjects/alerts.raw-value", Body(kAlert)), version);
  Expect("GET", "/subjects/alerts.raw-value/versions/1/schema", "", kAlert);
  Expect("GET", "/schemas/ids/1/schema", "", kAlert);
  EXPECT_EQ(Get("/subjects/alerts.raw-value/versions/latest")["version"], 2);
  EXPECT_EQ(Get("/subjects/alerts.raw-value/versions/-1")["version"], 2);
}

TEST_F(RestTest, WhoAndWhenIsToldAndAudited) {
  Value("POST", "/subjects/s/versions", Body(kAlert));
  const auto entries = audit_.entries();
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].actor.name, "ada");
  EXPECT_EQ(entries[0].actor.origin, "192.0.2.7:5000");
  // The time is that of the record, which the fake topic leaves at the epoch.
  EXPECT_EQ(Get("/subjects/s/versions/1")["ts"], 0);
}

class LongTextsTest : public RestFixture {
 protected:
  static constexpr std::size_t kTextBytes = std::size_t{1} << 20;
  LongTextsTest() : RestFixture(kTextBytes) {}
};

TEST_F(LongTextsTest, AListOfSchemasIsBounded) {
  for (const std::string name : {"a", "b", "c", "d", "e", "f"}) {
    std::string text = Concat("syntax = 'proto3'; message ", name, " {} //");
    text.resize(kTextBytes, 'x');
    Register(name, text);
  }
  EXPECT_EQ(Get("/schemas").size(), 4U);
  const Json rest = Get("/schemas?offset=4");
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_EQ(rest[0]["subject"], "e");
  EXPECT_EQ(rest[0]["schema"].get_ref<const std::string&>().size(), kTextBytes);
}

TEST_F(RestTest, Lists) {
  Register("b", kAlert);
  Register("a", kAlert);
  Register("a", kAlertMore);
  Expect("GET", "/subjects", "", R"(["a","b"])");
  Expect("GET", "/subjects?subjectPrefix=b", "", R"(["b"])");
  Expect("GET", "/subjects?subjectPrefix=%3A%2A%3A", "", R"(["a","b"])");
  Expect("GET", "/subjects?offset=1&limit=5", "", R"(["b"])");
  Expect("GET", "/subjects?limit=1", "", R"(["a"])");
  Expect("GET", "/subjects/a/versions", "", "[1,2]");
  Expect("GET", "/subjects/a/versions?offset=1&limit=-1", "", "[2]");
  Expect("GET", "/schemas/ids/1/subjects", "", R"(["a","b"])");
  Expect("GET", "/schemas/ids/1/subjects?offset=1", "", R"(["b"])");
  Expect("GET", "/schemas/ids/1/versions", "",
         R"([{"subject":"a","version":1},{"subject":"b","version":1}])");
  Expect("GET", "/schemas/ids/1/versions?subject=b", "", R"([{"subject":"b","version":1}])");
  Expect("GET", "/schemas/types", "", R"(["PROTOBUF"])");
  Expect("GET", "/", "", "{}");
  Expect("POST", "/", "", "{}");
  EXPECT_EQ(Get("/schemas").size(), 3U);
  const Json latest = Get("/schemas?latestOnly=true&subjectPrefix=a");
  ASSERT_EQ(latest.size(), 1U);
  EXPECT_EQ(latest[0]["version"], 2);
  EXPECT_EQ(Get("/schemas?offset=1&limit=1")[0]["version"], 2);
  ExpectError(Send("GET", "/subjects?limit=x"), 422, "the parameter limit is not a number: 'x'");
}

TEST_F(RestTest, SoftDeletedOnesAreShownToWhoAsks) {
  Register("s", kAlert);
  Register("s", kAlertMore);
  Register("gone", kAlert);
  Expect("DELETE", "/subjects/s/versions/1", "", "1");
  Expect("DELETE", "/subjects/gone", "", "[1]");
  Expect("GET", "/subjects", "", R"(["s"])");
  Expect("GET", "/subjects?deleted=true", "", R"(["gone","s"])");
  Expect("GET", "/subjects?deletedOnly=true", "", R"(["gone"])");
  Expect("GET", "/subjects/s/versions", "", "[2]");
  Expect("GET", "/subjects/s/versions?deleted=true", "", "[1,2]");
  Expect("GET", "/subjects/s/versions?deletedOnly=true", "", "[1]");
  Expect("GET", "/subjects/s/versions?deleted=true&deletedAsNegative=true", "", "[-1,2]");
  Expect("GET", "/schemas/ids/1/subjects", "", "[]");
  Expect("GET", "/schemas/ids/1/subjects?deleted=true", "", R"(["gone","s"])");
  ExpectError(Send("GET", "/subjects/s/versions/1"), 40402, "no version 1");
  EXPECT_EQ(Get("/subjects/s/versions/1?deleted=true")["deleted"], true);
  Expect("GET", "/subjects/s/versions/1/schema?deleted=true", "", kAlert);
  EXPECT_EQ(Value("POST", "/subjects/gone?deleted=true", Body(kAlert))["deleted"], true);
  EXPECT_EQ(Get("/schemas/ids/1")["schema"], kAlert) << "messages that were sent are still read";
  Expect("DELETE", "/subjects/s/versions/1?permanent=true", "", "1");
  Expect("DELETE", "/subjects/s/versions/latest", "", "2");
}

TEST_F(RestTest, SubjectsAreDecodedAfterTheSplit) {
  EXPECT_EQ(Register("google%2Ftype%2Fa.proto", kAlert), 1);
  EXPECT_EQ(Register("a%3Ab", kAlert), 1);
  EXPECT_EQ(Register("100%25", kAlert), 1);
  Expect("GET", "/subjects", "", R"(["100%","a:b","google/type/a.proto"])");
  Expect("GET", "/subjects/google%2Ftype%2Fa.proto/versions", "", "[1]");
  ExpectError(Send("GET", "/subjects/google/type/a.proto/versions"), 404, "no such path");
}

TEST_F(RestTest, References) {
  Register("a.proto", "syntax='proto3'; message A {}");
  const std::string text = "syntax='proto3'; import 'a.proto'; message M { A a = 1; }";
  Json body = {{"schema", text}, {"schemaType", "PROTOBUF"}};
  body["references"] = {{{"name", "a.proto"}, {"subject", "a.proto"}, {"version", -1}}};
  EXPECT_EQ(Value("POST", "/subjects/m/versions", body.dump())["id"], 2);
  EXPECT_EQ(Get("/schemas/ids/2")["references"].dump(),
            R"([{"name":"a.proto","subject":"a.proto","version":1}])");
  Expect("GET", "/subjects/a.proto/versions/latest/referencedby", "", "[2]");
  Expect("GET", "/subjects/a.proto/versions/1/referencedby?offset=1", "", "[]");
  EXPECT_EQ(Value("POST", "/subjects/m", body.dump())["id"], 2);
}

TEST_F(RestTest, SerializedForm) {
  Register("s", kAlert);
  const Json answer = Get("/schemas/ids/1?format=serialized");
  const std::string bytes = answer["schema"].get<std::string>();
  EXPECT_THAT(Base64Decode(bytes).value_or(""), HasSubstr("Alert"));
  const Json registered = Value("POST", "/subjects/s/versions", Body(bytes));
  EXPECT_EQ(registered["id"], 1);
  EXPECT_EQ(registered["schema"], bytes)
      << "a client that sends this form keeps the answer as what it can read";
  EXPECT_EQ(Value("POST", "/subjects/s?format=serialized", Body(bytes))["schema"], bytes);
  EXPECT_EQ(Get("/subjects/s/versions/1?format=serialized")["schema"], bytes);
  Expect("GET", "/subjects/s/versions/1/schema?format=serialized", "", bytes);
  Expect("GET", "/schemas/ids/1/schema?format=serialized", "", bytes);
  const std::string guid = answer["guid"].get<std::string>();
  EXPECT_EQ(Get("/schemas/guids/" + guid + "?format=serialized")["schema"], bytes);
  EXPECT_EQ(Get("/schemas?format=serialized")[0]["schema"], bytes);
  EXPECT_EQ(Get("/schemas/ids/1?format=resolved")["schema"], kAlert) << "not known: the text";
}

TEST_F(RestTest, SerializedFormWithReferences) {
  Register("a.proto", "syntax='proto3'; package p; message A {}");
  Json body = {{"schema", "syntax='proto3'; import 'a.proto'; message M { p.A a = 1; }"},
               {"schemaType", "PROTOBUF"}};
  body["references"] = {{{"name", "a.proto"}, {"subject", "a.proto"}, {"version", 1}}};
  Value("POST", "/subjects/m/versions", body.dump());
  const Json answer = Get("/subjects/m/versions/1?format=serialized");
  EXPECT_THAT(Base64Decode(answer["schema"].get<std::string>()).value_or(""), HasSubstr("a.proto"));
  body["schema"] = answer["schema"];
  EXPECT_EQ(Value("POST", "/subjects/m/versions", body.dump())["version"], 1);
}

TEST_F(RestTest, WithoutExtensions) {
  const std::string text =
      "syntax = \"proto3\"; import \"google/protobuf/descriptor.proto\"; "
      "extend google.protobuf.MessageOptions { string owner = 50001; } "
      "message M { option (owner) = \"ann\"; option deprecated = true; string a = 1; }";
  Register("s", text);
  const std::string plain = Get("/schemas/ids/1?format=ignore_extensions")["schema"];
  EXPECT_THAT(plain, HasSubstr("message M"));
  EXPECT_THAT(plain, HasSubstr("deprecated"));
  EXPECT_THAT(plain, ::testing::Not(HasSubstr("ann")));
}

TEST_F(RestTest, Guids) {
  const Json registered = Value("POST", "/subjects/s/versions", Body(kAlert));
  Value("POST", "/subjects/:.eu:s/versions", Body(kAlert));
  const std::string guid = registered["guid"].get<std::string>();
  EXPECT_THAT(guid, MatchesRegex("[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"));
  EXPECT_EQ(Get("/schemas/guids/" + guid)["schema"], kAlert);
  Expect("GET", "/schemas/guids/" + guid + "/ids", "",
         R"([{"context":".","id":1},{"context":".eu","id":1}])");
}

TEST_F(RestTest, MetadataAndRulesComeBackAsTheyCame) {
  Json body = Json::parse(Body(kAlert));
  body["metadata"] = Json::parse(
      R"({"tags":{"z.a":["PII"]},"properties":{"owner":"ann","app":"x"},"sensitive":["owner"]})");
  body["ruleSet"] = Json::parse(
      R"({"domainRules":[{"name":"z","kind":"CONDITION","type":"CEL","mode":"WRITE","expr":"true"},)"
      R"({"name":"a","kind":"TRANSFORM","type":"ENCRYPT","mode":"WRITEREAD","tags":["PII"]}]})");
  Value("POST", "/subjects/s/versions", body.dump());
  const Json version = Get("/subjects/s/versions/1");
  EXPECT_EQ(version["metadata"].dump(), body["metadata"].dump());
  EXPECT_EQ(version["ruleSet"].dump(), body["ruleSet"].dump());
  EXPECT_EQ(Get("/schemas/ids/1")["ruleSet"].dump(), body["ruleSet"].dump());
  EXPECT_EQ(Get("/schemas?ruleType=ENCRYPT").size(), 1U);
  EXPECT_EQ(Get("/schemas?ruleType=JSONATA").size(), 0U);
  EXPECT_EQ(Get("/subjects/s/metadata?key=owner&value=ann&key=app&value=x")["version"], 1);
  ExpectError(Send("GET", "/subjects/s/metadata?key=owner&value=bob"), 40403, "metadata");
  ExpectError(Send("GET", "/subjects/s/metadata?key=owner"), 422, "1 and 0");
}

TEST_F(RestTest, Compatibility) {
  const std::string latest = "/compatibility/subjects/s/versions/latest";
  Expect("POST", latest, Body(kAlert), R"({"is_compatible":true})");
  Register("s", kAlert);
  Expect("POST", latest, Body(kAlertMore), R"({"is_compatible":true})");
  Expect("POST", latest, Body(kAlertBroken), R"({"is_compatible":false})");
  Expect("POST", "/compatibility/subjects/s/versions/1", Body(kAlertBroken),
         R"({"is_compatible":false})");
  Expect("POST", "/compatibility/subjects/s/versions", Body(kAlertBroken),
         R"({"is_compatible":false})");
  Expect("POST", "/compatibility/subjects/s/versions?normalize=true", Body(kAlertMore),
         R"({"is_compatible":true})");
  const Json verbose = Value("POST", latest + "?verbose=true", Body(kAlertBroken));
  EXPECT_EQ(verbose["is_compatible"], false);
  EXPECT_THAT(
      verbose["messages"][0].get<std::string>(),
      MatchesRegex("\\{errorType:\"FIELD_SCALAR_KIND_CHANGED\", "
                   "description:\"#/Alert/source: .*\", additionalInfo:\"at 1:.*earlier at 1:.*"));
  EXPECT_EQ(verbose["messages"][1], "{oldSchemaVersion: 1}");
  EXPECT_EQ(verbose["messages"][2], "{compatibility: 'BACKWARD'}");
  const Json& finding = verbose["findings"][0];
  EXPECT_EQ(finding["errorType"], "FIELD_SCALAR_KIND_CHANGED");
  EXPECT_EQ(finding["path"], "#/Alert/source");
  EXPECT_EQ(finding["newer"]["line"], 1);
  EXPECT_NE(finding["consequence"], "");
  EXPECT_NE(finding["repair"], "");
  EXPECT_EQ(Value("POST", latest + "?verbose=true", Body(kAlertMore)).dump(),
            R"({"is_compatible":true})");
}

TEST_F(RestTest, AnUnreadableSchemaIsAMessageWhereVerboseIsAskedFor) {
  Register("s", kAlert);
  const std::string latest = "/compatibility/subjects/s/versions/latest";
  ExpectError(Send("POST", latest, Body("message {")), 42201, "s:1:9: ");
  const Json unparsed = Value("POST", latest + "?verbose=true", Body("message {"));
  EXPECT_EQ(unparsed["is_compatible"], false);
  EXPECT_THAT(unparsed["messages"][0].get<std::string>(), HasSubstr("s:1:9: "));
  EXPECT_EQ(Value("POST", latest + "?verbose=true", R"({"schema":""})")["is_compatible"], false);
}

TEST_F(RestTest, ForceRegistersWhatIsNotCompatible) {
  Register("s", kAlert);
  EXPECT_EQ(Value("POST", "/subjects/s/versions?force=true", Body(kAlertBroken))["version"], 2);
}

TEST_F(RestTest, Config) {
  Expect("GET", "/config", "", R"({"compatibilityLevel":"BACKWARD"})");
  Expect("GET", "/config/s?defaultToGlobal=true", "", R"({"compatibilityLevel":"BACKWARD"})");
  Expect("PUT", "/config/s", R"({"compatibility":"NONE"})", R"({"compatibility":"NONE"})");
  Expect("GET", "/config/s", "", R"({"compatibilityLevel":"NONE"})");
  Expect("PUT", "/config", R"({"compatibility":"full"})", R"({"compatibility":"FULL"})");
  Expect("GET", "/config", "", R"({"compatibilityLevel":"FULL"})");
  Expect("PUT", "/config/s", R"({"compatibility":"STRICT_TRANSITIVE"})",
         R"({"compatibility":"STRICT_TRANSITIVE"})");
  Expect("DELETE", "/config/s", "", R"({"compatibilityLevel":"STRICT_TRANSITIVE"})");
  Expect("DELETE", "/config", "", R"({"compatibilityLevel":"FULL"})");
  Expect("GET", "/config", "", R"({"compatibilityLevel":"BACKWARD"})");
}

TEST_F(RestTest, ConfigKeepsWhatComesWithTheLevel) {
  const std::string rest =
      R"("compatibilityGroup":"major","defaultMetadata":{"properties":{"a":"b"}}})";
  const std::string set = R"({"normalize":true,"compatibility":"FULL",)" + rest;
  Expect("PUT", "/config/s", set, set);
  Expect("GET", "/config/s", "", R"({"normalize":true,"compatibilityLevel":"FULL",)" + rest);
  Expect("PUT", "/config/s", R"({"normalize":false,"compatibility":null})",
         R"({"normalize":false})");
  Expect("GET", "/config/s", "", R"({"normalize":false,"compatibilityLevel":"FULL",)" + rest);
}

TEST_F(RestTest, Modes) {
  Expect("GET", "/mode", "", R"({"mode":"READWRITE"})");
  Expect("GET", "/mode/s?defaultToGlobal=true", "", R"({"mode":"READWRITE"})");
  Expect("PUT", "/mode/s", R"({"mode":"IMPORT"})", R"({"mode":"IMPORT"})");
  Json body = Json::parse(Body(kAlert));
  body["id"] = 77;
  body["version"] = 5;
  const Json imported = Value("POST", "/subjects/s/versions", body.dump());
  EXPECT_EQ(imported["id"], 77);
  EXPECT_EQ(imported["version"], 5);
  Expect("PUT", "/mode/s?force=true", R"({"mode":"readonly"})", R"({"mode":"READONLY"})");
  Expect("GET", "/mode/s", "", R"({"mode":"READONLY"})");
  Expect("DELETE", "/mode/s", "", R"({"mode":"READONLY"})");
  Expect("PUT", "/mode", R"({"mode":"READONLY"})", R"({"mode":"READONLY"})");
  Expect("DELETE", "/mode?recursive=true", "", R"({"mode":"READONLY"})");
  Expect("GET", "/mode", "", R"({"mode":"READWRITE"})");
}

TEST_F(RestTest, ContextsInSubjectsAndInPaths) {
  EXPECT_EQ(Register(":.eu:s", kAlert), 1);
  EXPECT_EQ(Value("POST", "/contexts/.eu/subjects/t/versions", Body(kAlertMore))["subject"],
            ":.eu:t");
  EXPECT_EQ(Register("s", kAlertMore), 1) << "ids are of the context";
  Expect("GET", "/subjects", "", R"(["s"])");
  Expect("GET", "/subjects?subjectPrefix=%3A.eu%3A", "", R"([":.eu:s",":.eu:t"])");
  Expect("GET", "/subjects?subjectPrefix=%3A%2A%3A", "", R"(["s",":.eu:s",":.eu:t"])");
  for (const std::string prefix : {"/contexts/.eu", "/contexts/eu", "/contexts/%3A.eu%3A"}) {
    Expect("GET", prefix + "/subjects", "", R"([":.eu:s",":.eu:t"])");
    Expect("GET", prefix + "/subjects?subjectPrefix=t", "", R"([":.eu:t"])");
    EXPECT_EQ(Get(prefix + "/schemas/ids/1")["schema"], kAlert);
    EXPECT_EQ(Get(prefix + "/schemas/ids/2?fetchMaxId=true")["maxId"], 2);
    Expect("GET", prefix + "/schemas/ids/1/subjects", "", R"([":.eu:s"])");
    Expect("GET", prefix + "/subjects/s/versions", "", "[1]");
    EXPECT_EQ(Get(prefix + "/subjects/:.eu:t/versions/latest")["id"], 2);
    EXPECT_EQ(Get(prefix + "/schemas").size(), 2U);
    Expect("POST", prefix + "/compatibility/subjects/s/versions/latest", Body(kAlertBroken),
           R"({"is_compatible":false})");
    Expect("GET", prefix + "/contexts", "", R"([".",".eu"])");
  }
  EXPECT_EQ(Get("/schemas/ids/1")["schema"], kAlertMore);
  EXPECT_EQ(Get("/schemas/ids/1?subject=:.eu:")["schema"], kAlert);
  Expect("GET", "/contexts/./subjects", "", R"(["s"])");
  Expect("PUT", "/contexts/.eu/config", R"({"compatibility":"NONE"})",
         R"({"compatibility":"NONE"})");
  Expect("GET", "/config/:.eu:s?defaultToGlobal=true", "", R"({"compatibilityLevel":"NONE"})");
  Expect("GET", "/config/s?defaultToGlobal=true", "", R"({"compatibilityLevel":"BACKWARD"})");
  Expect("GET", "/contexts?contextPrefix=.e", "", R"([".eu"])");
  Expect("GET", "/contexts?offset=1", "", R"([".eu"])");
}

TEST_F(RestTest, AContextThatIsEmptyGoes) {
  Register(":.eu:s", kAlert);
  ExpectError(Send("DELETE", "/contexts/.eu"), 42211, ".eu");
  Send("DELETE", "/subjects/:.eu:s");
  Send("DELETE", "/subjects/:.eu:s?permanent=true");
  const http::Response gone = Send("DELETE", "/contexts/.eu");
  EXPECT_EQ(gone.status, 204) << gone.body;
  EXPECT_EQ(gone.body, "");
}

TEST_F(RestTest, ReferencesWithTheirContext) {
  Register(":.eu:a.proto", "syntax='proto3'; message A {}");
  Json body = {{"schema", "syntax='proto3'; import 'a.proto'; message M { A a = 1; }"},
               {"schemaType", "PROTOBUF"}};
  body["references"] = {{{"name", "a.proto"}, {"subject", "a.proto"}, {"version", 1}}};
  Value("POST", "/subjects/:.eu:m/versions", body.dump());
  const auto subject_of = [&](const std::string& target) {
    return Get(target)["references"][0]["subject"].get<std::string>();
  };
  const std::string plain = subject_of("/schemas/ids/2?subject=:.eu:m");
  for (const std::string name : {"referenceFormat", "reference_format"}) {
    EXPECT_EQ(subject_of("/schemas/ids/2?subject=:.eu:m&" + name + "=qualified"), ":.eu:a.proto");
  }
  EXPECT_EQ(subject_of("/schemas/ids/2?subject=:.eu:m"), plain);
}

TEST_F(RestTest, WhatTheServerSaysOfItself) {
  Expect("GET", "/v1/metadata/id", "",
         R"({"scope":{"path":[],"clusters":{"kafka-cluster":"fake",)"
         R"("schema-registry-cluster":"schema-registry"}},"id":""})");
  Expect("GET", "/v1/metadata/deployment", "", R"({"attributes":[]})");
  EXPECT_THAT(Get("/v1/metadata/version")["version"].get<std::string>(),
              MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_EQ(Get("/openapi.json")["openapi"], "3.0.3");
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
  EXPECT_EQ(Send("POST", "/subjects/s/versions", Body(kAlert),
                 {{"content-type", "application/octet-stream"}})
                .status,
            200);
  EXPECT_EQ(Send("POST", "/subjects/s/versions", Body(kAlert),
                 {{"content-type", "application/json; charset=utf-8"}})
                .status,
            200);
}

}  // namespace
}  // namespace tocsin::registry
