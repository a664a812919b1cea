#include "lib/events/serializer.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include <thread>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/testing/fake_registry.h"
#include "lib/schema/compiled_schema.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace tocsin::events {
namespace {
using correlation::v1::Detection;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kOrders = R"(
syntax = "proto3";
package acme;
message Order { string id = 1; }
message Outer { string first = 1; message Inner { int32 n = 1; } message Other { int32 n = 1; } }
)";

// A message of a type that this program was not built with.
struct Dynamic {
  Dynamic(std::string_view text, std::string_view type)
      : schema(schema::CompiledSchema::Compile({"orders.proto", std::string(text)}).value()),
        factory(std::make_unique<google::protobuf::DynamicMessageFactory>()),
        message(factory->GetPrototype(schema->FindMessage(type))->New()) {}
  void Set(const char* field, std::string value) const {
    message->GetReflection()->SetString(message.get(),
                                        message->GetDescriptor()->FindFieldByName(field), value);
  }
  std::shared_ptr<const schema::CompiledSchema> schema;
  std::unique_ptr<google::protobuf::DynamicMessageFactory> factory;
  std::unique_ptr<google::protobuf::Message> message;
};

class SerializerTest : public ::testing::Test {
 protected:
  Serializer Make(SerializerOptions options = {}) {
    return Serializer(registry_, *schemas_, clock_, std::move(options));
  }
  FakeClock clock_;
  testing::FakeRegistry registry_;
  std::unique_ptr<SchemaCache> schemas_ = MakeSchemaCache(registry_, clock_);
};

std::string Hex(const absl::StatusOr<SerializedMessage>& serialized) {
  return serialized.ok() ? HexEncode(serialized->bytes) : Describe(serialized.status());
}

TEST_F(SerializerTest, TheFirstMessageOfAFileHasTheShortIndexes) {
  auto serializer = Make();
  const Dynamic order(kOrders, "acme.Order");
  order.Set("id", "A");
  EXPECT_EQ(Hex(serializer.Serialize("orders", *order.message, order.schema)),
            "00"        // version 0
            "00000001"  // id
            "00"        // {0}
            "0a0141");
  EXPECT_THAT(registry_.subjects(), ElementsAre("orders-value"));
}

TEST_F(SerializerTest, ANestedMessageHasItsPathInZigZag) {
  auto serializer = Make();
  const Dynamic outer(kOrders, "acme.Outer");
  EXPECT_EQ(Hex(serializer.Serialize("t", *outer.message, outer.schema)), "00000000010202");
  const Dynamic inner(kOrders, "acme.Outer.Inner");
  EXPECT_EQ(Hex(serializer.Serialize("t", *inner.message, inner.schema)), "0000000001040200");
  const Dynamic other(kOrders, "acme.Outer.Other");
  EXPECT_EQ(Hex(serializer.Serialize("t", *other.message, other.schema)), "0000000001040202");
}

TEST_F(SerializerTest, AGuidGoesIntoTheHeaderAndTheBytesStayBare) {
  auto serializer = Make({.place = SchemaPlace::kHeader});
  const Dynamic inner(kOrders, "acme.Outer.Inner");
  kafka::OutgoingRecord record{.topic = "t"};
  ASSERT_THAT(serializer.Write(*inner.message, record, inner.schema), IsOk());
  EXPECT_EQ(record.value, "");
  const auto guid = registry_.ById(schema::SchemaId(1))->guid;
  ASSERT_TRUE(guid.has_value());
  const auto header = record.headers.Find("__value_schema_id");
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(HexEncode(*header),
            "01" + HexEncode(std::string(guid->begin(), guid->end())) + "040200");
}

TEST_F(SerializerTest, KeysHaveTheirOwnSubjectAndHeader) {
  auto serializer = Make({.part = RecordPart::kKey, .place = SchemaPlace::kHeader});
  kafka::OutgoingRecord record{.topic = "t", .value = "kept"};
  ASSERT_THAT(serializer.Write(Detection(), record), IsOk());
  EXPECT_TRUE(record.key.has_value());
  EXPECT_EQ(record.value, "kept");
  EXPECT_TRUE(record.headers.Find("__key_schema_id").has_value());
  EXPECT_THAT(registry_.subjects(), ElementsAre("tocsin/event/v1/event.proto", "t-key"));
}

TEST_F(SerializerTest, AHeaderFromElsewhereDoesNotOutvoteThePrefix) {
  auto serializer = Make();
  kafka::OutgoingRecord record{.topic = "t", .headers = {{"__value_schema_id", "old"}}};
  ASSERT_THAT(serializer.Write(Detection(), record), IsOk());
  EXPECT_TRUE(record.headers.empty());
}

TEST_F(SerializerTest, ARegistryWithoutGuidsIsSaid) {
  registry_.HideGuids();
  auto serializer = Make({.place = SchemaPlace::kHeader});
  kafka::OutgoingRecord record{.topic = "t", .value = "before"};
  EXPECT_THAT(serializer.Write(Detection(), record),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("kPrefix")));
  EXPECT_EQ(record.value, "before");
}

TEST_F(SerializerTest, SubjectsAreNamedAsAsked) {
  const Dynamic order(kOrders, "acme.Order");
  for (const auto naming : {SubjectNaming::kRecordName, SubjectNaming::kTopicRecordName}) {
    auto serializer = Make({.naming = naming, .normalize = true});
    ASSERT_THAT(serializer.Serialize("t", *order.message, order.schema), IsOk());
  }
  EXPECT_THAT(registry_.subjects(), ElementsAre("acme.Order", "t-acme.Order"));
  EXPECT_TRUE(registry_.last_draft().normalize);
  EXPECT_THAT(Make().Serialize("", *order.message, order.schema),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topic")));
  EXPECT_THAT(
      Make({.naming = SubjectNaming::kRecordName}).Serialize("", *order.message, order.schema),
      IsOk());
}

TEST_F(SerializerTest, WithoutRegisteringTheSchemaMustBeThere) {
  auto serializer = Make({.choice = SchemaChoice::kLookup});
  const Dynamic order(kOrders, "acme.Order");
  EXPECT_THAT(serializer.Serialize("t", *order.message, order.schema),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("t-value")));
  // Believed for a second, and not asked for again.
  const int before = registry_.calls();
  EXPECT_THAT(serializer.Serialize("t", *order.message, order.schema),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(registry_.calls(), before);
  EXPECT_THAT(registry_.subjects(), IsEmpty());

  auto registering = Make();
  const auto registered = registering.Serialize("t", *order.message, order.schema);
  clock_.Advance(seconds(1));
  const auto found = serializer.Serialize("t", *order.message, order.schema);
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->bytes, registered->bytes);
}

TEST_F(SerializerTest, ARefusedSchemaIsNotOfferedWithEveryMessage) {
  auto serializer = Make();
  registry_.RefuseWith(FailedPrecondition("FIELD_SCALAR_KIND_CHANGED"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(serializer.Serialize("t", Detection()),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("FIELD_SCALAR")));
  }
  EXPECT_EQ(registry_.calls(), 1);
  registry_.RefuseWith(absl::OkStatus());
  clock_.Advance(seconds(1));
  EXPECT_THAT(serializer.Serialize("t", Detection()), IsOk());
}

TEST_F(SerializerTest, WhatIsKnownGoesOnWhileTheRegistryIsAway) {
  auto serializer = Make();
  ASSERT_THAT(serializer.Serialize("t", Detection()), IsOk());
  const int before = registry_.calls();
  registry_.FailWith(Unavailable("gone"));
  clock_.Advance(std::chrono::hours(10));
  EXPECT_THAT(serializer.Serialize("t", Detection()), IsOk());
  EXPECT_EQ(registry_.calls(), before);
  EXPECT_THAT(serializer.Serialize("other", Detection()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gone")));
  // Being away is not remembered.
  registry_.FailWith(absl::OkStatus());
  EXPECT_THAT(serializer.Serialize("other", Detection()), IsOk());
}

TEST_F(SerializerTest, WaitsForARegistryThatComesBack) {
  std::vector<milliseconds> pauses;
  registry_.FailWith(DeadlineExceeded("slow"));
  auto serializer = Make({.away = {.max_wait = seconds(10), .pause = [&](milliseconds pause) {
                                     clock_.Advance(pause);
                                     pauses.push_back(pause);
                                     if (pauses.size() == 3) registry_.FailWith(absl::OkStatus());
                                     return false;
                                   }}});
  EXPECT_THAT(serializer.Serialize("t", Detection()), IsOk());
  EXPECT_EQ(pauses.size(), 3U);
}

TEST_F(SerializerTest, WaitsNoLongerThanAllowed) {
  const SteadyTime start = clock_.SteadyNow();
  registry_.FailWith(Unavailable("gone"));
  auto serializer = Make({.away = {.max_wait = seconds(10), .pause = [&](milliseconds pause) {
                                     clock_.Advance(pause);
                                     return false;
                                   }}});
  EXPECT_THAT(serializer.Serialize("t", Detection()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(clock_.SteadyNow() - start, seconds(10));
}

TEST_F(SerializerTest, StopEndsTheWaiting) {
  registry_.FailWith(Unavailable("gone"));
  auto serializer = Make({.away = {.max_wait = std::chrono::hours(1)}});
  std::thread stopper([&] { serializer.Stop(); });
  EXPECT_THAT(serializer.Serialize("t", Detection()), StatusIs(absl::StatusCode::kUnavailable));
  stopper.join();
}

TEST_F(SerializerTest, ARefusalIsNotWaitedFor) {
  registry_.RefuseWith(PermissionDenied("schema.write"));
  auto serializer = Make({.away = {.max_wait = seconds(10), .pause = [](milliseconds) {
                                     ADD_FAILURE() << "waited";
                                     return true;
                                   }}});
  EXPECT_THAT(serializer.Serialize("t", Detection()),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(SerializerTest, TheLatestVersionGivesIdAndIndexes) {
  // There the message has moved behind another one.
  const std::string latest = R"(
      syntax = "proto3"; package acme;
      message New { string x = 1; }
      message Order { string id = 1; string note = 2; }
      message Outer { string first = 1; message Inner { int32 n = 1; } message Other { int32 n = 1; } })";
  ASSERT_THAT(registry_.Register("t-value", kOrders, {}), IsOk());
  ASSERT_THAT(registry_.Register("t-value", latest, {}), IsOk());
  const Dynamic order(kOrders, "acme.Order");
  auto serializer = Make({.choice = SchemaChoice::kLatest});
  EXPECT_EQ(Hex(serializer.Serialize("t", *order.message, order.schema)), "00000000020202");
  auto header = Make({.choice = SchemaChoice::kLatest, .place = SchemaPlace::kHeader});
  EXPECT_EQ(header.Serialize("t", *order.message, order.schema)->header.substr(17),
            std::string("\x02\x02", 2));
}

TEST_F(SerializerTest, AYoungerLatestVersionIsTaken) {
  ASSERT_THAT(registry_.Register("t-value", kOrders, {}), IsOk());
  const Dynamic order(kOrders, "acme.Order");
  auto serializer = Make({.choice = SchemaChoice::kLatest});
  EXPECT_EQ(serializer.Serialize("t", *order.message, order.schema)->schema_id.value(), 1);
  ASSERT_THAT(registry_.Register("t-value", std::string(kOrders) + "message Added {}", {}), IsOk());
  clock_.Advance(seconds(5));
  EXPECT_EQ(serializer.Serialize("t", *order.message, order.schema)->schema_id.value(), 2);
  registry_.FailWith(Unavailable("gone"));
  clock_.Advance(seconds(5));
  EXPECT_EQ(serializer.Serialize("t", *order.message, order.schema)->schema_id.value(), 2);
}

TEST_F(SerializerTest, AMessageThatTheLatestVersionWouldMisreadIsRefused) {
  ASSERT_THAT(
      registry_.Register("t-value",
                         "syntax = \"proto3\"; package acme; message Order { int32 id = 1; }\n"
                         "message Outer { string first = 1; message Inner { int32 n = 1; }\n"
                         "message Other { int32 n = 1; } }",
                         {}),
      IsOk());
  const Dynamic order(kOrders, "acme.Order");
  auto strict = Make({.choice = SchemaChoice::kLatest});
  EXPECT_THAT(strict.Serialize("t", *order.message, order.schema),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("version 1 of t-value"), HasSubstr("#/Order/id"))));
  auto lenient = Make({.choice = SchemaChoice::kLatest, .latest_compatibility_strict = false});
  EXPECT_THAT(lenient.Serialize("t", *order.message, order.schema), IsOk());
}

TEST_F(SerializerTest, AMessageThatTheLatestVersionDoesNotHaveIsRefused) {
  ASSERT_THAT(registry_.Register("t-value", "syntax = \"proto3\"; message Else {}", {}), IsOk());
  auto serializer = Make({.choice = SchemaChoice::kLatest, .latest_compatibility_strict = false});
  EXPECT_THAT(serializer.Serialize("t", Detection()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("Detection"), HasSubstr("Else"))));
  EXPECT_THAT(serializer.Serialize("none", Detection()), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(SerializerTest, DynamicTypesWithoutOwnerAreToldApartByContent) {
  auto serializer = Make();
  // One after the other, so that their descriptors may well have the same address.
  for (int i = 1; i <= 20; ++i) {
    const Dynamic order("syntax = \"proto3\"; package acme; message Order { string id = " +
                            std::to_string(i) + "; }",
                        "acme.Order");
    const auto serialized = serializer.Serialize("t", *order.message);
    ASSERT_THAT(serialized, IsOk());
    EXPECT_EQ(serialized->schema_id.value(), i);
  }
  const int before = registry_.calls();
  const Dynamic again("syntax = \"proto3\"; package acme; message Order { string id = 7; }",
                      "acme.Order");
  EXPECT_EQ(serializer.Serialize("t", *again.message)->schema_id.value(), 7);
  EXPECT_EQ(registry_.calls(), before);
}

TEST_F(SerializerTest, AnOwnerKeepsTheDescriptorAlive) {
  auto serializer = Make();
  for (int i = 1; i <= 20; ++i) {
    const Dynamic order("syntax = \"proto3\"; package acme; message Order { string id = " +
                            std::to_string(i) + "; }",
                        "acme.Order");
    EXPECT_EQ(serializer.Serialize("t", *order.message, order.schema)->schema_id.value(), i);
  }
}

TEST_F(SerializerTest, MissingRequiredFieldsAreNamed) {
  const Dynamic order("syntax = \"proto2\"; message Order { required string id = 1; }", "Order");
  EXPECT_THAT(Make().Serialize("t", *order.message, order.schema),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("id")));
  EXPECT_EQ(registry_.calls(), 0);
}

TEST_F(SerializerTest, ManyThreadsRegisterOnce) {
  auto serializer = Make();
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) good += serializer.Serialize("t", Detection()).ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 800);
  EXPECT_EQ(registry_.calls(), 2);  // the file and its import
}

}  // namespace
}  // namespace tocsin::events
