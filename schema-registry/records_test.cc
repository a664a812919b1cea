#include "schema-registry/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::registry {
namespace {

TEST(Records, KeyBytesAreStable) {
  RecordKey key;
  key.type = KeyType::kSchema;
  key.subject = "a\"b";
  key.version = 3;
  EXPECT_EQ(EncodeKey(key), R"({"keytype":"SCHEMA","subject":"a\"b","version":3,"magic":1})");
  key.sequence = Sequence{42, 7, 9};
  EXPECT_EQ(EncodeKey(key),
            R"({"keytype":"SCHEMA","subject":"a\"b","version":3,"magic":1,"seq":42,"node":7,)"
            R"("attempt":9})");
  key.sequence->follows = true;
  EXPECT_THAT(EncodeKey(key), ::testing::HasSubstr(R"("attempt":9,"follows":true})"));
  RecordKey config;
  config.type = KeyType::kConfig;
  EXPECT_EQ(EncodeKey(config), R"({"keytype":"CONFIG","subject":null,"magic":0})");
  RecordKey context;
  context.type = KeyType::kContext;
  context.context = ".eu";
  EXPECT_EQ(EncodeKey(context),
            R"({"keytype":"CONTEXT","tenant":"default","context":".eu","magic":0})");
  for (const RecordKey& each : {key, config, context}) {
    EXPECT_THAT(DecodeKey(EncodeKey(each)), IsOkAndHolds(each));
  }
}

TEST(Records, ValuesRoundTrip) {
  SchemaValue value;
  value.subject = "s";
  value.version = 2;
  value.id = SchemaId(5);
  value.guid[15] = 1;
  value.type = kProtobuf;
  value.references = {{"a.proto", "a", 1}};
  value.metadata = R"({"properties":{"owner":"ann"}})";
  value.rule_set = R"({"domainRules":[]})";
  value.text = "text";
  const std::string json = EncodeSchemaValue(value);
  EXPECT_EQ(json, R"({"subject":"s","version":2,"id":5,"md5":"AAAAAAAAAAAAAAAAAAAAAQ==",)"
                  R"("schemaType":"PROTOBUF","references":)"
                  R"([{"name":"a.proto","subject":"a","version":1}],)"
                  R"("metadata":{"properties":{"owner":"ann"}},"ruleSet":{"domainRules":[]},)"
                  R"("schema":"text","deleted":false})");
  const auto again = DecodeSchemaValue(json);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->metadata, value.metadata);
  EXPECT_EQ(again->rule_set, value.rule_set);
  EXPECT_EQ(again->references, value.references);
  EXPECT_FALSE(again->gone());
}

TEST(Records, WhatIsGoneForGoodKeepsItsNumbers) {
  SchemaValue value;
  value.subject = "s";
  value.version = 2;
  value.id = SchemaId(5);
  value.type = kAvro;
  value.deleted = true;
  const std::string json = EncodeSchemaValue(value);
  EXPECT_EQ(json, R"({"subject":"s","version":2,"id":5,"schema":"","deleted":true})");
  const auto again = DecodeSchemaValue(json);
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->gone());
}

TEST(Records, SettingsRoundTrip) {
  SubjectConfig config;
  config.level = schema::CompatibilityLevel::kFull;
  config.normalize = true;
  config.alias = "other";
  config.compatibility_group = "major";
  config.default_metadata = R"({"properties":{"a":"b"}})";
  const std::string json = EncodeConfigValue("s", config);
  EXPECT_EQ(json, R"({"subject":"s","alias":"other","normalize":true,"compatibilityLevel":"FULL",)"
                  R"("compatibilityGroup":"major","defaultMetadata":{"properties":{"a":"b"}}})");
  EXPECT_THAT(DecodeConfigValue(json), IsOkAndHolds(config));
  EXPECT_EQ(EncodeConfigValue(std::nullopt, {}), "{}");
  EXPECT_THAT(DecodeConfigValue("{}"), IsOkAndHolds(SubjectConfig()));
  EXPECT_EQ(EncodeModeValue("s", Mode::kImport), R"({"subject":"s","mode":"IMPORT"})");
  EXPECT_THAT(DecodeModeValue(R"({"mode":"READONLY"})"),
              IsOkAndHolds(std::optional<Mode>(Mode::kReadOnly)));
  EXPECT_THAT(DecodeModeValue(R"({"subject":"s"})"), IsOkAndHolds(std::optional<Mode>()));
  EXPECT_EQ(EncodeContextValue(".eu"), R"({"tenant":"default","context":".eu"})");
  EXPECT_THAT(DecodeContextValue(R"({"tenant":"default"})"), IsOkAndHolds(""));
}

TEST(Records, Malformed) {
  for (const char* text : {"", "[]", "{}", "{\"keytype\":1}", "{\"keytype\":\"SCHEMA\"}",
                           "{\"keytype\":\"SCHEMA\",\"subject\":\"s\",\"version\":0}",
                           "{\"keytype\":\"SCHEMA\",\"subject\":\"s\",\"version\":99999999999}",
                           "{\"keytype\":\"NOOP\",\"seq\":\"x\"}",
                           "{\"keytype\":\"NOOP\",\"seq\":18446744073709551615}"}) {
    EXPECT_THAT(DecodeKey(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
  EXPECT_THAT(DecodeSchemaValue("{\"subject\":\"s\"}"),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tocsin::registry
