#include "services/ingest/ingest_core.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/time.h"
#include "services/ingest/testing/alerts.h"
#include "tocsin/event/v1/event.pb.h"

namespace tocsin::ingest {
namespace {
using io::cloudevents::v1::CloudEvent;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

const WallTime kNow = *ParseTime("2026-11-21T08:00:00.000001Z");

Stream AlertStream() {
  return {.topic = "alerts.raw",
          .message_type = "test.v1.Alert",
          .partition_key_field = "township",
          .severity_field = "severity"};
}

void SetText(CloudEvent& event, const std::string& name, const std::string& value) {
  (*event.mutable_attributes())[name].set_ce_string(value);
}

CloudEvent Good() { return AlertEvent("e1", Field(1, "NORRISTOWN")); }

absl::StatusOr<events::Event> Decide(const CloudEvent& event, const Stream& stream = AlertStream(),
                                     const Limits& limits = {}) {
  const auto bound = BoundStream::Bind(stream, AlertSubject());
  if (!bound.ok()) return bound.status();
  if (const absl::Status required = CheckRequired(event, limits); !required.ok()) return required;
  return Accept(event, *bound, limits, kNow);
}

TEST(IngestCoreTest, EnrichesAGoodEvent) {
  CloudEvent event = Good();
  SetText(event, "time", "2016-01-15T12:01:00Z");
  SetText(event, "sequence", "000000000007");
  SetText(event, "subject", "s");
  SetText(event, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  SetText(event, "shift", "night");
  const auto accepted = Decide(event);
  ASSERT_THAT(accepted, IsOk());
  EXPECT_EQ(accepted->id, "e1");
  EXPECT_EQ(accepted->source, "/test");
  EXPECT_EQ(accepted->type, "test.v1.Alert");
  EXPECT_EQ(FormatTime(accepted->time), "2016-01-15T12:01:00Z");
  EXPECT_EQ(accepted->sequence, "000000000007");
  EXPECT_EQ(accepted->subject, "s");
  EXPECT_EQ(accepted->partition_key, "NORRISTOWN");
  EXPECT_EQ(accepted->severity, event::v1::SEVERITY_INFO);
  EXPECT_THAT(accepted->recorded_time, Optional(kNow));
  EXPECT_EQ(accepted->origin_traceparent,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  EXPECT_EQ(accepted->extensions.at("shift"), "night");
  EXPECT_EQ(accepted->schema_id, schema::SchemaId(7));
  EXPECT_THAT(accepted->message_indexes, ElementsAre(1));
  EXPECT_EQ(accepted->data, Field(1, "NORRISTOWN"));
}

TEST(IngestCoreTest, AnEventWithoutTimeHappenedNow) {
  const auto accepted = Decide(Good());
  ASSERT_THAT(accepted, IsOk());
  EXPECT_EQ(accepted->time, kNow);
}

TEST(IngestCoreTest, TheKeyIsTheAttributeOrElseTheField) {
  CloudEvent event = Good();
  SetText(event, "partitionkey", "mine");
  EXPECT_EQ(Decide(event)->partition_key, "mine");
  EXPECT_EQ(Decide(Good())->partition_key, "NORRISTOWN");
  Stream keyless = AlertStream();
  keyless.partition_key_field.clear();
  EXPECT_EQ(Decide(Good(), keyless)->partition_key, "");
}

TEST(IngestCoreTest, Severity) {
  struct Case {
    const char* name;
    std::string field;      // of the stream
    std::string data;       // beside the township
    std::string attribute;  // severitytext
    event::v1::Severity expected;
  };
  for (const Case& c : {
           Case{"none", "severity", "", "", event::v1::SEVERITY_INFO},
           Case{"attribute", "severity", "", "high", event::v1::SEVERITY_HIGH},
           Case{"field", "severity", Field(2, "medium"), "", event::v1::SEVERITY_MEDIUM},
           Case{"attribute goes before field", "severity", Field(2, "medium"), "LOW",
                event::v1::SEVERITY_LOW},
           Case{"enum of the pack", "level", Field(3, 2), "", event::v1::SEVERITY_HIGH},
           Case{"enum unspecified", "level", Field(3, 0), "", event::v1::SEVERITY_INFO},
           Case{"number", "rank", Field(4, 5), "", event::v1::SEVERITY_CRITICAL},
           Case{"no field named", "", Field(2, "medium"), "", event::v1::SEVERITY_INFO},
       }) {
    Stream stream = AlertStream();
    stream.severity_field = c.field;
    CloudEvent event = AlertEvent("e", Field(1, "X") + c.data);
    if (!c.attribute.empty()) SetText(event, "severitytext", c.attribute);
    const auto accepted = Decide(event, stream);
    ASSERT_THAT(accepted, IsOk()) << c.name;
    EXPECT_EQ(accepted->severity, c.expected) << c.name;
  }
}

TEST(IngestCoreTest, RefusalsNameTheFieldAndTheReason) {
  struct Case {
    const char* name;
    std::function<void(CloudEvent&)> spoil;
    const char* message;
  };
  for (const Case& c : {
           Case{"id", [](auto& e) { e.clear_id(); }, "id: is missing"},
           Case{"source", [](auto& e) { e.clear_source(); }, "source: is missing"},
           Case{"type", [](auto& e) { e.clear_type(); }, "type: is missing"},
           Case{"long id", [](auto& e) { e.set_id(std::string(1025, 'x')); },
                "id: has 1025 bytes, at most 1024"},
           Case{"version", [](auto& e) { e.set_spec_version("0.3"); }, "0.3"},
           Case{"no version", [](auto& e) { e.clear_spec_version(); }, "spec"},
           Case{"time", [](auto& e) { SetText(e, "time", "yesterday"); }, "time"},
           Case{"future", [](auto& e) { SetText(e, "time", "2026-11-22T08:00:01Z"); },
                "time: 2026-11-22T08:00:01Z is more than 1d ahead of now"},
           Case{"text", [](auto& e) { e.set_text_data("{}"); }, "text_data"},
           Case{"nothing", [](auto& e) { e.clear_data(); }, "data"},
           Case{"another message",
                [](auto& e) {
                  e.mutable_proto_data()->set_type_url("type.googleapis.com/test.v1.Other");
                },
                "test.v1.Other"},
           Case{"not a message", [](auto& e) { e.set_binary_data("\x0a\xff\xff"); },
                "data: not a test.v1.Alert: township"},
           Case{"wrong type of field", [](auto& e) { e.set_binary_data(Field(1, 5)); }, "township"},
           Case{"not UTF-8", [](auto& e) { e.set_binary_data(Field(1, "\xff")); }, "UTF-8"},
           Case{"severity", [](auto& e) { e.set_binary_data(Field(1, "X") + Field(2, "loud")); },
                "severity: "},
           Case{"severitytext", [](auto& e) { SetText(e, "severitytext", "loud"); }, "severity"},
           Case{"no key", [](auto& e) { e.set_binary_data(Field(2, "low")); },
                "township: is empty. It is the partition key of alerts.raw"},
           Case{"long key", [](auto& e) { SetText(e, "partitionkey", std::string(1025, 'x')); },
                "partitionkey: has 1025 bytes"},
           Case{"attribute name", [](auto& e) { SetText(e, "Shift-1", "x"); }, "Shift-1"},
       }) {
    CloudEvent event = Good();
    c.spoil(event);
    EXPECT_THAT(Decide(event), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.name;
  }
}

TEST(IngestCoreTest, TheLimitCountsDataAndAttributes) {
  CloudEvent event = Good();
  Limits limits;
  limits.max_event_bytes = event.ByteSizeLong();
  EXPECT_THAT(Decide(event, AlertStream(), limits), IsOk());
  SetText(event, "more", "x");
  EXPECT_THAT(Decide(event, AlertStream(), limits),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("raise max_event_bytes")));
}

TEST(IngestCoreTest, ASchemaThatDoesNotFitThePackIsNotTheEventsFault) {
  struct Case {
    std::function<void(Stream&)> change;
    const char* message;
  };
  for (const Case& c : {
           Case{[](Stream& s) { s.message_type = "test.v1.Alrt"; }, "has no message test.v1.Alrt"},
           Case{[](Stream& s) { s.partition_key_field = "townshp"; },
                "partition_key of alerts.raw is 'townshp', which is no field of test.v1.Alert; did "
                "you mean 'township'?"},
           Case{[](Stream& s) { s.severity_field = "tags"; }, "not one single value"},
           Case{[](Stream& s) { s.partition_key_field = "other"; }, "not one single value"},
       }) {
    Stream stream = AlertStream();
    c.change(stream);
    EXPECT_THAT(BoundStream::Bind(stream, AlertSubject()),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(c.message)));
  }
}

TEST(IngestCoreTest, ADeadLetterKeepsWhatCame) {
  CloudEvent event = AlertEvent("e1", "\x0a\xff\xff");
  SetText(event, "partitionkey", "k");
  (*event.mutable_attributes())["urgent"].set_ce_boolean(true);
  const kafka::OutgoingRecord record =
      DeadLetter(event, AlertStream(), InvalidArgument("data: broken"), kNow);
  EXPECT_EQ(record.topic, "alerts.raw.dlq");
  EXPECT_THAT(record.key, Optional(std::string("k")));
  EXPECT_THAT(record.value, Optional(std::string("\x0a\xff\xff")));
  EXPECT_THAT(record.headers.Find("ce_id"), Optional(std::string_view("e1")));
  EXPECT_THAT(record.headers.Find("ce_urgent"), Optional(std::string_view("true")));
  EXPECT_THAT(record.headers.Find("dlq.topic"), Optional(std::string_view("alerts.raw")));
  EXPECT_THAT(record.headers.Find("dlq.error.class"),
              Optional(std::string_view("INVALID_ARGUMENT")));
  EXPECT_THAT(record.headers.Find("dlq.error.message"), Optional(std::string_view("data: broken")));
  EXPECT_THAT(record.headers.Find("dlq.first_failed_at"),
              Optional(std::string_view("2026-11-21T08:00:00.000001Z")));
}

}  // namespace
}  // namespace tocsin::ingest
