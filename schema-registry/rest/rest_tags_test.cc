// Tags of messages and fields: POST …/versions/{v}/tags, and in what is registered.
#include <string>

#include "schema-registry/rest/testing/rest_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RestTagsTest : public RestFixture {
 protected:
  static Json Tags(const std::string& path, const std::string& tag,
                   const std::string& type = "sr_field") {
    return Json::array({{{"schemaEntity", {{"entityPath", path}, {"entityType", type}}},
                         {"tags", Json::array({tag})}}});
  }
  http::Response Change(const Json& body, const std::string& version = "latest") {
    return Send("POST", "/subjects/s/versions/" + version + "/tags", body.dump());
  }
  std::string Latest() { return Get("/subjects/s/versions/latest")["schema"]; }
};

TEST_F(RestTagsTest, AreAddedAndTakenOffInNewVersions) {
  Register("s", kAlert);
  const http::Response added = Change({{"tagsToAdd", Tags("Alert.source", "PII")}});
  EXPECT_EQ(added.status, 200) << added.body;
  const Json answer = Json::parse(added.body);
  EXPECT_EQ(answer["id"], 2);
  EXPECT_EQ(answer["version"], 2);
  EXPECT_EQ(answer["schema"], Latest());
  EXPECT_THAT(Latest(),
              HasSubstr("string source = 1 [(.confluent.field_meta) = { tags: \"PII\" }]"));
  EXPECT_EQ(Change({{"tagsToAdd", Tags("Alert", "INCIDENT", "SR_RECORD")},
                    {"tagsToRemove", Tags(".Alert.source", "PII")}})
                .status,
            200);
  EXPECT_THAT(Latest(), HasSubstr("(.confluent.message_meta) = { tags: \"INCIDENT\" }"));
  EXPECT_THAT(Latest(), Not(HasSubstr("PII")));
  EXPECT_EQ(Get("/subjects/s/versions/1")["schema"], kAlert) << "what was registered stays";
  Expect("GET", "/subjects/s/versions", "", "[1,2,3]");
  EXPECT_EQ(Json::parse(Change({{"tagsToAdd", Tags("Alert", "INCIDENT", "sr_record")}}).body)["id"],
            3)
      << "what is there is found";
  EXPECT_EQ(audit_.entries().back().actor.name, "ada");
}

TEST_F(RestTagsTest, OfAnEarlierVersion) {
  Register("s", kAlert);
  Register("s", kAlertMore);
  EXPECT_EQ(Change({{"tagsToAdd", Tags("Alert.source", "PII")}}, "1").status, 200);
  EXPECT_THAT(Latest(), Not(HasSubstr("severity")));
}

TEST_F(RestTagsTest, KeepMetadataAndRulesUnlessTold) {
  const Json rules =
      Json::array({{{"name", "one"}, {"type", "CEL"}}, {{"name", "two"}, {"type", "CEL"}}});
  Json body = Json::parse(Body(kAlert));
  body["metadata"] = {{"properties", {{"owner", "ann"}}}};
  body["ruleSet"] = {{"domainRules", rules}};
  Value("POST", "/subjects/s/versions", body.dump());
  EXPECT_EQ(Change({{"newVersion", 2}, {"tagsToAdd", Tags("Alert.source", "PII")}}).status, 200);
  Json latest = Get("/subjects/s/versions/latest");
  EXPECT_EQ(latest["metadata"]["properties"], Json({{"owner", "ann"}, {"confluent:version", "2"}}));
  EXPECT_EQ(latest["ruleSet"]["domainRules"], rules);
  const Json more = {{"migrationRules", {{{"name", "three"}, {"type", "JSONATA"}}}}};
  EXPECT_EQ(Change({{"metadata", {{"properties", {{"owner", "bob"}}}}},
                    {"rulesToMerge", more},
                    {"rulesToRemove", {"one"}}})
                .status,
            200);
  latest = Get("/subjects/s/versions/latest");
  EXPECT_EQ(latest["metadata"]["properties"], Json({{"owner", "bob"}}));
  EXPECT_EQ(latest["ruleSet"]["domainRules"].size(), 1U);
  EXPECT_EQ(latest["ruleSet"]["domainRules"][0]["name"], "two");
  EXPECT_EQ(latest["ruleSet"]["migrationRules"][0]["name"], "three");
  EXPECT_EQ(Change({{"rulesToRemove", {"two", "three"}}}).status, 200);
  EXPECT_EQ(Get("/subjects/s/versions/latest").value("ruleSet", Json::object()), Json::object());
}

TEST_F(RestTagsTest, TheVersionInMetadataIsOfThatVersionAlone) {
  Register("s", kAlert);
  EXPECT_EQ(Change({{"newVersion", 2}, {"tagsToAdd", Tags("Alert.source", "PII")}}).status, 200);
  EXPECT_EQ(Get("/subjects/s/versions/2")["metadata"]["properties"],
            Json({{"confluent:version", "2"}}));
  EXPECT_EQ(Change({{"tagsToAdd", Tags("Alert.source", "SECRET")}}, "2").status, 200);
  EXPECT_FALSE(Get("/subjects/s/versions/3")
                   .value("metadata", Json::object())
                   .value("properties", Json::object())
                   .contains("confluent:version"));
}

TEST_F(RestTagsTest, InWhatIsRegistered) {
  Json body = Json::parse(Body(kAlert));
  body["schemaTagsToAdd"] = Tags("Alert.source", "PII");
  const Json answer = Value("POST", "/subjects/s/versions", body.dump());
  EXPECT_THAT(answer["schema"].get<std::string>(), HasSubstr("tags: \"PII\""));
  body["schema"] = answer["schema"];
  body.erase("schemaTagsToAdd");
  body["schemaTagsToRemove"] = Tags("Alert.source", "PII");
  EXPECT_THAT(Value("POST", "/subjects/s/versions", body.dump())["schema"].get<std::string>(),
              Not(HasSubstr("PII")));
}

TEST_F(RestTagsTest, WhatIsRefused) {
  ExpectError(Change({{"tagsToAdd", Tags("Alert.source", "PII")}}), 40401, "'s'");
  Register("s", kAlert);
  ExpectError(Change({{"tagsToAdd", Tags("Alert.source", "PII")}}, "7"), 40402, "no version 7");
  ExpectError(Change({{"tagsToAdd", Tags("Alert.source", "PII")}}, "0"), 42202, "not a version");
  ExpectError(Change({{"tagsToAdd", Tags("Alert.place", "PII")}}), 42201,
              "there is no field 'Alert.place' to tag");
  ExpectError(Change({{"newVersion", 7}, {"tagsToAdd", Tags("Alert.source", "PII")}}), 42201,
              "the next version of subject 's' is 2, not 7");
  ExpectError(Change({{"newVersion", 7}, {"tagsToAdd", Tags("Alert.source", "PII")}}), 42201,
              "leave \"newVersion\" out");
  ExpectError(Change({{"newVersion", "2"}}), 42202, "\"newVersion\"");
  ExpectError(Change({{"ruleSet", Json::object()}, {"rulesToRemove", {"one"}}}), 42210, "either");
  ExpectError(
      Change({{"rulesToMerge", {{"domainRules", {{{"name", "7 dwarfs"}, {"type", "CEL"}}}}}}}),
      42210, "7 dwarfs");
  for (const Json& wrong :
       {Json(7), Json::array({7}), Json::array({Json::object()}),
        Tags("Alert.source", "PII", "sr_enum"),
        Json::array({{{"schemaEntity", {{"entityPath", 7}}}, {"tags", Json::array()}}})}) {
    ExpectError(Change({{"tagsToAdd", wrong}}), 422, "\"");
  }
  Json many = Tags("Alert.source", "PII");
  for (int i = 0; i < 1'000; ++i) many.push_back(many[0]);
  ExpectError(Change({{"tagsToAdd", many}}), 422, "\"tagsToAdd\" has more than 1000 tags");
  for (Json& each : many) each["tags"] = Json::array();
  ExpectError(Change({{"tagsToAdd", many}}), 422, "\"tagsToAdd\" has more than 1000 tags");
  ExpectError(Change({{"rulesToRemove", {7}}}), 422, "\"rulesToRemove\" is not a list of names");
  Send("PUT", "/mode/s", R"({"mode":"READONLY"})");
  ExpectError(Change({{"tagsToAdd", Tags("Alert.source", "PII")}}), 42205, "READONLY");
}

TEST_F(RestTagsTest, NobodySeesWhatTheyMayNotRead) {
  Register("s", kAlert);
  SubjectAccess::Rules rules;
  auto* rule = rules.Add();
  rule->set_subject_prefix("s");
  rule->add_writers("wim");
  rule->add_readers("bob");
  RestOptions options;
  options.access = SubjectAccess::Create(rules).value();
  Serve(std::move(options));
  ExpectError(Change({{"tagsToAdd", Tags("Alert.source", "PII")}}), 403, "ada");
}

}  // namespace
}  // namespace tocsin::registry
