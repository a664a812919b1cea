#include "lib/events/own_topic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/schema_cache.h"
#include "lib/events/testing/fake_registry.h"
#include "lib/schema/wire_validator.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/event/v1/event.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::events {
namespace {
using correlation::v1::Detection;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr WallTime kTime{std::chrono::seconds(1'452'864'240)};

TEST(EmbeddedProtosTest, EveryContractIsThereAndCompilesWithTheOthers) {
  const auto& protos = EmbeddedProtos();
  EXPECT_GE(protos.size(), 15U);
  for (const schema::SourceFile& proto : protos) {
    std::vector<schema::SourceFile> others;
    std::copy_if(protos.begin(), protos.end(), std::back_inserter(others),
                 [&](const auto& other) { return other.name != proto.name; });
    EXPECT_THAT(schema::CompiledSchema::Compile(proto, others), IsOk()) << proto.name;
  }
}

TEST(OwnTopicTest, TheSchemaIsRegisteredAfterItsImportsAndReadsWhatIsWritten) {
  testing::FakeRegistry registry;
  const auto topic =
      OwnTopic::Register(registry, "detections", Detection::descriptor(), "/tocsin/correlation");
  ASSERT_THAT(topic, IsOk());
  EXPECT_THAT(registry.subjects(), ElementsAre("tocsin/event/v1/event.proto", "detections-value"));

  Detection detection;
  detection.set_id("d1");
  detection.add_evidence()->set_id("e1");
  const kafka::OutgoingRecord record = topic->Encode(
      detection,
      {.id = "d1", .key = "rule|place", .time = kTime, .severity = event::v1::SEVERITY_HIGH});
  EXPECT_EQ(record.topic, "detections");
  EXPECT_EQ(record.key, "rule|place");
  EXPECT_EQ(record.headers.Find("ce_type"), "tocsin.correlation.v1.Detection");
  EXPECT_EQ(record.headers.Find("ce_source"), "/tocsin/correlation");
  EXPECT_EQ(record.headers.Find("ce_severitytext"), "HIGH");

  // A stranger finds the schema by the id in the value, and it fits.
  kafka::Record read;
  read.headers = record.headers;
  read.value = record.value;
  const auto event = FromRecord(read);
  ASSERT_THAT(event, IsOk());
  FakeClock clock;
  const auto cache = MakeSchemaCache(registry, clock);
  const auto schema = cache->ById(event->schema_id);
  ASSERT_THAT(schema, IsOk());
  const auto message = (*schema)->MessageAt(event->message_indexes);
  ASSERT_THAT(message, IsOk());
  EXPECT_THAT(schema::Validate(**message, event->data), IsOk());
  Detection parsed;
  ASSERT_THAT(ParseOwn(*event, parsed), IsOk());
  EXPECT_EQ(parsed.SerializeAsString(), detection.SerializeAsString());
}

TEST(OwnTopicTest, RegisteringAgainChangesNothing) {
  testing::FakeRegistry registry;
  const auto first = RegisterOwnSchema(registry, "detections", Detection::descriptor());
  const auto second = RegisterOwnSchema(registry, "detections", Detection::descriptor());
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(first->id, second->id);
}

TEST(OwnTopicTest, AMessageThatIsNotTheFirstOfItsFileIsNamedByItsIndexes) {
  testing::FakeRegistry registry;
  const auto schema =
      RegisterOwnSchema(registry, "events", event::v1::EventReference::descriptor());
  ASSERT_THAT(schema, IsOk());
  const int index = event::v1::EventReference::descriptor()->index();
  EXPECT_THAT(schema->message_indexes, ElementsAre(index));
}

TEST(OwnTopicTest, ARegistryThatIsAwaySaysWhatWasTried) {
  testing::FakeRegistry registry;
  registry.FailWith(Unavailable("connection refused"));
  EXPECT_THAT(RegisterOwnSchema(registry, "detections", Detection::descriptor()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("registering the schema of")));
}

TEST(OwnTopicTest, AnotherTypeOrBrokenBytesAreRefused) {
  Event event;
  event.type = "tocsin.incident.v1.Incident";
  event.data = "\xff";
  Detection detection;
  EXPECT_THAT(ParseOwn(event, detection),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tocsin.incident.v1")));
  incident::v1::Incident incident;
  EXPECT_THAT(ParseOwn(event, incident),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("data: not a")));
}

}  // namespace
}  // namespace tocsin::events
