#include "lib/events/deserializer.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/serializer.h"
#include "lib/events/testing/fake_registry.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/event/v1/event.pb.h"

namespace tocsin::events {
namespace {
using correlation::v1::Detection;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::string_view kOrders = R"(
syntax = "proto3";
package acme;
message Order { string id = 1; }
message Outer { message Inner { int32 n = 1; } }
)";

std::string Bytes(std::string_view hex) { return HexDecode(hex).value(); }

class DeserializerTest : public ::testing::Test {
 protected:
  DeserializerTest() { EXPECT_THAT(registry_.Register("t-value", kOrders, {}), IsOk()); }
  Deserializer Make(DeserializerOptions options = {}) {
    return Deserializer(*schemas_, clock_, std::move(options));
  }
  // What the header must hold for schema 1.
  std::string Header(std::string_view indexes_hex) {
    const auto guid = registry_.ById(schema::SchemaId(1))->guid;
    return "\x01" + std::string(guid->begin(), guid->end()) + Bytes(indexes_hex);
  }
  FakeClock clock_;
  testing::FakeRegistry registry_;
  std::unique_ptr<SchemaCache> schemas_ = MakeSchemaCache(registry_, clock_);
};

TEST_F(DeserializerTest, ThePrefixNamesTheSchemaAndTheMessage) {
  auto deserializer = Make();
  const auto order = deserializer.Read(Bytes("0000000001000a0141"));
  ASSERT_THAT(order, IsOk());
  EXPECT_EQ(order->message->GetDescriptor()->full_name(), "acme.Order");
  EXPECT_EQ(order->message->ShortDebugString(), "id: \"A\"");
  const auto inner = deserializer.Read(Bytes("00000000010402000805"));
  ASSERT_THAT(inner, IsOk());
  EXPECT_EQ(inner->message->GetDescriptor()->full_name(), "acme.Outer.Inner");
  EXPECT_EQ(inner->message->ShortDebugString(), "n: 5");
  // The long form of {0}.
  EXPECT_THAT(deserializer.Read(Bytes("00000000010200")), IsOk());
}

TEST_F(DeserializerTest, TheHeaderCountsBeforeThePrefix) {
  auto deserializer = Make();
  // Read by the header, these bytes are a bare message, whatever a prefix would say.
  const kafka::Headers headers{{"__value_schema_id", Header("040200")}};
  const auto inner = deserializer.Read(Bytes("0805"), headers);
  ASSERT_THAT(inner, IsOk());
  EXPECT_EQ(inner->message->ShortDebugString(), "n: 5");
  // An empty message has no bytes at all.
  EXPECT_THAT(deserializer.Read("", headers), IsOk());
  EXPECT_THAT(deserializer.Read(Bytes("0000000001000a0141"), headers),
              StatusIs(absl::StatusCode::kInvalidArgument));
  // Without indexes: the first message.
  EXPECT_EQ(deserializer.Read("", {{"__value_schema_id", Header("")}})
                ->message->GetDescriptor()
                ->full_name(),
            "acme.Order");
  // That of the key is not that of the value.
  EXPECT_THAT(
      deserializer.Read(Bytes("0000000001000a0141"), {{"__key_schema_id", Header("040200")}}),
      IsOk());
  auto keys = Make({.part = RecordPart::kKey});
  EXPECT_THAT(keys.Read(Bytes("0805"), {{"__key_schema_id", Header("040200")}}), IsOk());
}

TEST_F(DeserializerTest, WhatIsNotOfTheFormIsRefusedWithAReason) {
  auto deserializer = Make();
  const auto refused = [&](std::string_view hex, const kafka::Headers& headers = {}) {
    const auto read = deserializer.Read(Bytes(hex), headers);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << read.status();
    return std::string(Message(read.status()));
  };
  EXPECT_THAT(refused(""), HasSubstr("no bytes"));
  EXPECT_THAT(refused("0a0141"), HasSubstr("0x0a"));
  EXPECT_THAT(refused("000000"), HasSubstr("cut off"));
  EXPECT_THAT(refused("00000000000041"), HasSubstr("schema id 0"));
  EXPECT_THAT(refused("0000000001"), HasSubstr("cut off"));
  EXPECT_THAT(refused("000000000101"), HasSubstr("zig-zag"));
  EXPECT_THAT(refused("0000000001020a"), AllOf(HasSubstr("schema 1"), HasSubstr("index 5")));
  EXPECT_THAT(refused("00000000010402020805"), HasSubstr("1 nested messages"));
  EXPECT_THAT(refused("0000000001000a05"), HasSubstr("not a acme.Order"));
  EXPECT_THAT(refused("0000000001000a01ff"), HasSubstr("UTF-8"));
  EXPECT_THAT(refused("", {{"__value_schema_id", "\x01short"}}),
              AllOf(HasSubstr("__value_schema_id"), HasSubstr("cut off")));
  EXPECT_THAT(refused("", {{"__value_schema_id", std::string(21, '\0')}}), HasSubstr("0x01"));
  EXPECT_THAT(refused("", {{"__value_schema_id", Header("0a")}}), HasSubstr("cut off"));
}

TEST_F(DeserializerTest, AnUnknownSchemaIsNotFoundAndAskedForOnce) {
  auto deserializer = Make();
  const int before = registry_.calls();
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(deserializer.Read(Bytes("000000000900")),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("schema 9")));
    EXPECT_THAT(deserializer.Read("", {{"__value_schema_id", "\x01" + std::string(16, 'g')}}),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("67676767-6767")));
  }
  EXPECT_EQ(registry_.calls(), before + 2);
}

TEST_F(DeserializerTest, TooLongIsRefusedBeforeTheRegistryIsAsked) {
  auto deserializer = Make({.max_bytes = 5});
  const int before = registry_.calls();
  EXPECT_THAT(deserializer.Read(Bytes("000000000100")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("limit of 5")));
  EXPECT_EQ(registry_.calls(), before);
}

TEST_F(DeserializerTest, WhatIsKnownGoesOnWhileTheRegistryIsAway) {
  auto deserializer = Make();
  const kafka::Headers headers{{"__value_schema_id", Header("00")}};
  ASSERT_THAT(deserializer.Read(Bytes("000000000100")), IsOk());
  ASSERT_THAT(deserializer.Read("", headers), IsOk());
  registry_.FailWith(Unavailable("gone"));
  clock_.Advance(std::chrono::hours(10));
  EXPECT_THAT(deserializer.Read(Bytes("000000000100")), IsOk());
  EXPECT_THAT(deserializer.Read("", headers), IsOk());
  EXPECT_THAT(deserializer.Read(Bytes("000000000200")), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(DeserializerTest, WaitsForARegistryThatComesBack) {
  int pauses = 0;
  registry_.FailWith(Unavailable("gone"));
  auto deserializer = Make({.away = {.max_wait = seconds(10), .pause = [&](milliseconds pause) {
                                       clock_.Advance(pause);
                                       if (++pauses == 3) registry_.FailWith(absl::OkStatus());
                                       return false;
                                     }}});
  EXPECT_THAT(deserializer.Read(Bytes("000000000100")), IsOk());
  EXPECT_EQ(pauses, 3);
}

TEST_F(DeserializerTest, StopEndsTheWaiting) {
  registry_.FailWith(Unavailable("gone"));
  auto deserializer = Make({.away = {.max_wait = std::chrono::hours(1)}});
  deserializer.Stop();
  EXPECT_THAT(deserializer.Read(Bytes("000000000100")), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(DeserializerTest, ADynamicMessageOutlivesEverything) {
  DynamicMessage kept;
  {
    auto deserializer = Make({.max_schemas = 1});
    kept = deserializer.Read(Bytes("0000000001000a0141")).value();
    // Its types are no longer kept here.
    ASSERT_THAT(registry_.Register("u-value", "syntax = \"proto3\"; message U {}", {}), IsOk());
    ASSERT_THAT(deserializer.Read(Bytes("000000000200")), IsOk());
    // Assigned over: the old message goes with its own factory.
    kept = deserializer.Read(Bytes("0000000001000a0142")).value();
  }
  schemas_.reset();
  EXPECT_EQ(kept.message->ShortDebugString(), "id: \"B\"");
}

TEST_F(DeserializerTest, ATypedMessageReadsWhatAnotherVersionWrote) {
  Serializer serializer(registry_, *schemas_, clock_, {});
  auto deserializer = Make();
  Detection detection;
  detection.set_id("d1");
  detection.add_evidence()->set_id("e1");
  const auto written = serializer.Serialize("detections", detection);
  ASSERT_THAT(written, IsOk());
  const auto read = deserializer.ReadAs<Detection>(written->bytes);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->SerializeAsString(), detection.SerializeAsString());
  // A younger writer's, with a field that this program does not know.
  const auto younger =
      registry_.Register("younger",
                         "syntax = \"proto3\"; package tocsin.correlation.v1;\n"
                         "message Detection { string id = 1; string invented = 9999; }",
                         {});
  EXPECT_EQ(deserializer
                .ReadAs<Detection>(schema::EncodeFrame(younger->id, std::vector<std::int32_t>{0},
                                                       Bytes("0a0278") + std::string("y")))
                ->id(),
            "xy");
  EXPECT_THAT(deserializer.ReadAs<event::v1::EventReference>(written->bytes),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("tocsin.correlation.v1.Detection"),
                             HasSubstr("tocsin.event.v1.EventReference"))));
}

TEST_F(DeserializerTest, RoundTripThroughTheHeader) {
  Serializer serializer(registry_, *schemas_, clock_, {.place = SchemaPlace::kHeader});
  auto deserializer = Make();
  Detection detection;
  detection.set_id("d1");
  kafka::OutgoingRecord record{.topic = "detections"};
  ASSERT_THAT(serializer.Write(detection, record), IsOk());
  EXPECT_EQ(*record.value, detection.SerializeAsString());
  EXPECT_EQ(deserializer.ReadAs<Detection>(*record.value, record.headers)->id(), "d1");
  // And what was read is written again without knowing its type.
  const auto read = deserializer.Read(*record.value, record.headers);
  ASSERT_THAT(read, IsOk());
  kafka::OutgoingRecord again{.topic = "detections"};
  ASSERT_THAT(serializer.Write(*read->message, again, read->schema), IsOk());
  EXPECT_EQ(again.value, record.value);
}

TEST_F(DeserializerTest, MissingRequiredFieldsAreNamed) {
  ASSERT_THAT(
      registry_.Register("r", "syntax = \"proto2\"; message R { required string id = 1; }", {}),
      IsOk());
  EXPECT_THAT(Make().Read(Bytes("000000000200")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("id")));
}

}  // namespace
}  // namespace tocsin::events
