#include "lib/events/event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "tocsin/event/v1/event.pb.h"

namespace tocsin::events {
namespace {
using io::cloudevents::v1::CloudEvent;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr WallTime kReceived{std::chrono::seconds(1'704'067'200)};
constexpr WallTime kHappened{std::chrono::microseconds(1'452'864'240'123'456)};
constexpr std::string_view kTraceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr std::string_view kOrigin = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

Event Full() {
  Event event;
  event.id = "calls#17";
  event.source = "calls";
  event.type = "tocsin.packs.publicsafety.v1.Alert";
  event.time = kHappened;
  event.subject = "x1";
  event.partition_key = "LOWER MERION";
  event.sequence = "000000000017";
  event.severity = event::v1::SEVERITY_HIGH;
  event.recorded_time = kReceived;
  event.origin_traceparent = kOrigin;
  event.traceparent = kTraceparent;
  event.tracestate = "vendor=1";
  event.extensions = {{"correlationid", "c-1"}, {"dataschema", "urn:x"}};
  event.schema_id = schema::SchemaId(7);
  event.message_indexes = {0};
  event.data = std::string("\x0a\x01z\0", 4);
  return event;
}

CloudEvent Minimal() {
  CloudEvent event;
  event.set_id("1");
  event.set_source("calls");
  event.set_spec_version("1.0");
  event.set_type("a.B");
  event.set_binary_data("x");
  return event;
}

kafka::Record AsRead(const kafka::OutgoingRecord& sent) {
  kafka::Record record;
  record.topic = sent.topic;
  record.key = sent.key;
  record.value = sent.value;
  record.headers = sent.headers;
  return record;
}

void ExpectSame(const Event& left, const Event& right) {
  EXPECT_EQ(left.id, right.id);
  EXPECT_EQ(left.source, right.source);
  EXPECT_EQ(left.type, right.type);
  EXPECT_EQ(left.time, right.time);
  EXPECT_EQ(left.subject, right.subject);
  EXPECT_EQ(left.partition_key, right.partition_key);
  EXPECT_EQ(left.sequence, right.sequence);
  EXPECT_EQ(left.severity, right.severity);
  EXPECT_EQ(left.recorded_time, right.recorded_time);
  EXPECT_EQ(left.origin_traceparent, right.origin_traceparent);
  EXPECT_EQ(left.extensions, right.extensions);
  EXPECT_EQ(left.data, right.data);
}

TEST(EventTest, TheKafkaFormIsWrittenExactlyAsDescribed) {
  const kafka::OutgoingRecord record = ToRecord(Full(), "alerts.raw");
  EXPECT_EQ(record.topic, "alerts.raw");
  EXPECT_EQ(record.partition, kafka::kPartitionByKey);
  EXPECT_EQ(record.key, "LOWER MERION");
  EXPECT_THAT(
      record.headers.entries(),
      ElementsAre(Pair("ce_specversion", "1.0"), Pair("ce_id", "calls#17"),
                  Pair("ce_source", "calls"), Pair("ce_type", "tocsin.packs.publicsafety.v1.Alert"),
                  Pair("ce_time", "2016-01-15T13:24:00.123456Z"), Pair("ce_subject", "x1"),
                  Pair("ce_partitionkey", "LOWER MERION"), Pair("ce_sequence", "000000000017"),
                  Pair("ce_severitytext", "HIGH"), Pair("ce_recordedtime", "2024-01-01T00:00:00Z"),
                  Pair("ce_traceparent", std::string(kOrigin)), Pair("ce_correlationid", "c-1"),
                  Pair("ce_dataschema", "urn:x"), Pair("content-type", "application/protobuf"),
                  Pair("traceparent", std::string(kTraceparent)), Pair("tracestate", "vendor=1")));
  EXPECT_EQ(record.value, std::string("\0\0\0\0\x07\0\x0a\x01z\0", 10));
}

TEST(EventTest, KafkaAndBackIsTheSameEvent) {
  const auto event = FromRecord(AsRead(ToRecord(Full(), "t")));
  ASSERT_THAT(event, IsOk());
  ExpectSame(*event, Full());
  EXPECT_EQ(event->traceparent, kTraceparent);
  EXPECT_EQ(event->tracestate, "vendor=1");
  EXPECT_EQ(event->schema_id, schema::SchemaId(7));
  EXPECT_THAT(event->message_indexes, ElementsAre(0));
}

TEST(EventTest, GrpcAndBackIsTheSameEvent) {
  const auto event = FromCloudEvent(ToCloudEvent(Full()), kReceived);
  ASSERT_THAT(event, IsOk());
  ExpectSame(*event, Full());
  EXPECT_EQ(event->traceparent, "");  // that of the hop, which is not part of the CloudEvent
}

TEST(EventTest, TheLeastThatIsAnEvent) {
  const auto event = FromCloudEvent(Minimal(), kReceived);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->time, kReceived);
  EXPECT_EQ(event->severity, event::v1::SEVERITY_UNSPECIFIED);
  const kafka::OutgoingRecord record = ToRecord(*event, "t");
  EXPECT_EQ(record.key, std::nullopt);
  EXPECT_EQ(record.headers.size(), 6U);
}

TEST(EventTest, AttributesOfEveryTypeAreTakenInTheirCanonicalText) {
  CloudEvent input = Minimal();
  auto& attributes = *input.mutable_attributes();
  attributes["flag"].set_ce_boolean(true);
  attributes["count"].set_ce_integer(-5);
  attributes["bytes"].set_ce_bytes(std::string("\0\xff\x10\x80", 4));
  attributes["uri"].set_ce_uri("https://x");
  attributes["ref"].set_ce_uri_ref("/x");
  attributes["when"].mutable_ce_timestamp()->set_seconds(1'452'864'240);
  attributes["time"].set_ce_string("2016-01-15T08:24:00-05:00");
  attributes["severitytext"].set_ce_string("critical");
  attributes["empty"].set_ce_string("");
  const auto event = FromCloudEvent(input, kReceived);
  ASSERT_THAT(event, IsOk());
  EXPECT_THAT(event->extensions,
              ElementsAre(Pair("bytes", "AP8QgA=="), Pair("count", "-5"), Pair("flag", "true"),
                          Pair("ref", "/x"), Pair("uri", "https://x"),
                          Pair("when", "2016-01-15T13:24:00Z")));
  EXPECT_EQ(event->time, WallTime(std::chrono::seconds(1'452'864'240)));
  EXPECT_EQ(event->severity, event::v1::SEVERITY_CRITICAL);
}

TEST(EventTest, ProtoDataIsTakenWhenItsTypeIsTheEvents) {
  CloudEvent input = Minimal();
  input.mutable_proto_data()->set_type_url("type.googleapis.com/a.B");
  input.mutable_proto_data()->set_value("bytes");
  const auto event = FromCloudEvent(input, kReceived);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->data, "bytes");
}

TEST(EventTest, ABrokenTraceContextIsIgnored) {
  CloudEvent input = Minimal();
  (*input.mutable_attributes())["traceparent"].set_ce_string("nonsense");
  const auto event = FromCloudEvent(input, kReceived);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->origin_traceparent, "");
}

struct BadCloudEvent {
  std::string name;
  std::function<void(CloudEvent&)> spoil;
  std::string message;
};

std::function<void(CloudEvent&)> Attribute(const std::string& name, const std::string& value) {
  return [name, value](CloudEvent& event) {
    (*event.mutable_attributes())[name].set_ce_string(value);
  };
}

TEST(EventTest, ABadCloudEventIsRefusedWithTheFieldAndTheReason) {
  const std::vector<BadCloudEvent> cases = {
      {"no id", [](auto& event) { event.clear_id(); }, "id: missing"},
      {"no source", [](auto& event) { event.clear_source(); }, "source: missing"},
      {"no type", [](auto& event) { event.clear_type(); }, "type: missing"},
      {"no version", [](auto& event) { event.clear_spec_version(); }, "spec_version: missing"},
      {"other version", [](auto& event) { event.set_spec_version("0.3"); },
       "spec_version: '0.3' is not known here"},
      {"no data", [](auto& event) { event.clear_binary_data(); }, "data: missing"},
      {"text data", [](auto& event) { event.set_text_data("x"); }, "text_data: "},
      {"large data", [](auto& event) { event.set_binary_data(std::string((1 << 20) + 1, 'x')); },
       "data: 1048577 bytes are over the limit of 1048576 bytes"},
      {"other proto data",
       [](auto& event) { event.mutable_proto_data()->set_type_url("type.googleapis.com/a.C"); },
       "proto_data: holds 'a.C', but type says 'a.B'"},
      {"bad time", Attribute("time", "yesterday"), "time: 'yesterday' is not a time"},
      {"bad date", Attribute("time", "2016-13-01T00:00:00Z"), "time: "},
      {"time out of range",
       [](auto& event) {
         (*event.mutable_attributes())["time"].mutable_ce_timestamp()->set_seconds(INT64_MAX);
       },
       "time: outside the years 1 to 9999"},
      {"bad nanos",
       [](auto& event) {
         (*event.mutable_attributes())["time"].mutable_ce_timestamp()->set_nanos(-1);
       },
       "time: -1 is not a number of nanoseconds"},
      {"severity", Attribute("severitytext", "URGENT"),
       "severitytext: 'URGENT' is not on the scale INFO, LOW, MEDIUM, HIGH, CRITICAL"},
      {"content type", Attribute("datacontenttype", "application/json"),
       "datacontenttype: 'application/json' is not known here"},
      {"name", Attribute("Correlation-Id", "x"), "attributes: 'Correlation-Id' is not a name"},
      {"forged name", Attribute("a\nb", "x"), "attributes: 'a?b' is not a name"},
      {"envelope", Attribute("id", "x"), "attributes: 'id' belongs into the field"},
      {"no value", [](auto& event) { (*event.mutable_attributes())["x"]; }, "x: has no value"},
      {"control character", Attribute("subject", "a\nb"), "subject: control character at byte 1"},
      {"c1 control character", Attribute("subject", "a\xC2\x85"), "subject: control character"},
      {"utf-8", [](auto& event) { event.set_source("a\xff"); }, "source: not valid UTF-8"},
      {"long value", Attribute("subject", std::string(5'000, 'x')), "subject: 5000 bytes are over"},
      {"all values",
       [](auto& event) {
         for (char name = 'a'; name <= 'f'; ++name) {
           Attribute(std::string(1, name), std::string(4'000, 'x'))(event);
         }
       },
       "attributes: over the limit of 16384 bytes"},
      {"many",
       [](auto& event) {
         for (int i = 0; i < 65; ++i) Attribute(Concat("a", i), "x")(event);
       },
       "attributes: more than the limit of 64"},
  };
  for (const BadCloudEvent& bad : cases) {
    CloudEvent event = Minimal();
    bad.spoil(event);
    EXPECT_THAT(FromCloudEvent(event, kReceived),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)))
        << bad.name;
  }
}

struct BadRecord {
  std::string name;
  std::function<void(kafka::Record&)> spoil;
  std::string message;
};

TEST(EventTest, ABadRecordIsRefusedWithTheHeaderAndTheReason) {
  const auto without = [](const std::string& header) {
    return [header](kafka::Record& record) { record.headers.Remove(header); };
  };
  const auto with = [](const std::string& header, const std::string& value) {
    return [header, value](kafka::Record& record) { record.headers.Set(header, value); };
  };
  const std::vector<BadRecord> cases = {
      {"id", without("ce_id"), "header ce_: id: missing"},
      {"source", without("ce_source"), "source: missing"},
      {"type", without("ce_type"), "type: missing"},
      {"time", without("ce_time"), "header ce_time: missing"},
      {"bad time", with("ce_time", "x"), "time: 'x' is not a time"},
      {"version", without("ce_specversion"), "ce_specversion: missing"},
      {"other version", with("ce_specversion", "2"), "ce_specversion: '2'"},
      {"structured", with("content-type", "application/cloudevents+json; charset=utf-8"),
       "structured mode"},
      {"name", with("ce_X", "y"), "header 'ce_X'"},
      {"control", with("ce_id", "a\tb"), "'ce_id': control character at byte 1"},
      {"tombstone", [](kafka::Record& record) { record.value = std::nullopt; }, "value: null"},
      {"unframed", [](kafka::Record& record) { record.value = "\x0a\x01z"; }, "value: "},
      {"empty", [](kafka::Record& record) { record.value = ""; }, "value: "},
  };
  for (const BadRecord& bad : cases) {
    kafka::Record record = AsRead(ToRecord(Full(), "t"));
    bad.spoil(record);
    EXPECT_THAT(FromRecord(record),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)))
        << bad.name;
  }
}

TEST(EventTest, ARecordOfAnotherProgramIsRead) {
  kafka::Record record = AsRead(ToRecord(Full(), "t"));
  record.headers.Remove("content-type");
  record.headers.Remove("ce_partitionkey");
  record.headers.Append("x-other", std::string(100'000, '\n'));
  record.headers.Append("ce_id", "the last one counts");
  record.headers.Set("traceparent", "broken");
  const auto event = FromRecord(record);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->partition_key, "LOWER MERION");  // from the key
  EXPECT_EQ(event->id, "the last one counts");
  EXPECT_EQ(event->traceparent, "");
}

TEST(EventTest, TheContextOfANewHopTakesTheOldOnesPlace) {
  kafka::Headers headers{{"traceparent", "old"}, {"traceparent", "older"}, {"tracestate", "s"}};
  SetTraceContext(headers, kTraceparent, "");
  EXPECT_THAT(headers.entries(), ElementsAre(Pair("traceparent", std::string(kTraceparent))));
  SetTraceContext(headers, "", "x");
  EXPECT_TRUE(headers.empty());
}

TEST(EventTest, Traceparent) {
  EXPECT_TRUE(IsTraceparent(kTraceparent));
  for (const std::string_view bad : {"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                                     "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                     "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                     "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                     "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
                                     "00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01"}) {
    EXPECT_FALSE(IsTraceparent(bad)) << bad;
  }
}

}  // namespace
}  // namespace tocsin::events
