#include "services/correlation/rule_keeper/registry_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/testing/fake_registry.h"
#include "lib/schema/wire_format.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr seconds kLong{30};

class RegistryGateTest : public ::testing::Test {
 protected:
  RegistryGateTest() {
    pack::v1::Stream stream;
    stream.set_topic("calls.raw");
    stream.set_message_type("test.Call");
    schemas_ = events::MakeSchemaCache(registry_, clock_);
    gate_ = std::make_unique<RegistryGate>(std::vector{stream}, *schemas_, clock_);
    id_ = registry_
              .Register("calls.raw-value",
                        "syntax = \"proto3\"; package test; message Call { string place = 1; } "
                        "message Other { string place = 1; }",
                        {})
              ->id;
  }
  static std::string Prefix(schema::SchemaId id, std::int32_t index = 0) {
    const std::array<std::int32_t, 1> indexes = {index};
    return schema::EncodeFrame(id, indexes, "");
  }

  FakeClock clock_;
  events::testing::FakeRegistry registry_;
  std::unique_ptr<events::SchemaCache> schemas_;
  std::unique_ptr<RegistryGate> gate_;
  schema::SchemaId id_;
};

TEST_F(RegistryGateTest, KnowsTheStreamsMessage) {
  EXPECT_THAT(gate_->Check("calls.raw", Prefix(id_), kLong), IsOk());
  const int calls = registry_.calls();
  registry_.FailWith(Unavailable("planned"));
  clock_.Advance(seconds(3'600));
  EXPECT_THAT(gate_->Check("calls.raw", Prefix(id_), milliseconds(0)), IsOk());
  EXPECT_EQ(registry_.calls(), calls) << "what is known stays known";
}

TEST_F(RegistryGateTest, RefusesWhatIsNotOfTheStream) {
  const absl::Status other = gate_->Check("calls.raw", Prefix(id_, 1), kLong);
  EXPECT_TRUE(absl::IsInvalidArgument(other));
  EXPECT_THAT(Message(other), HasSubstr("test.Other"));
  EXPECT_TRUE(absl::IsInvalidArgument(gate_->Check("calls.raw", Prefix(id_, 2), kLong)));
  const schema::SchemaId unknown(id_.value() + 1'000);
  const absl::Status none = gate_->Check("calls.raw", Prefix(unknown), kLong);
  EXPECT_TRUE(absl::IsInvalidArgument(none));
  EXPECT_THAT(Message(none), HasSubstr("is not known to the registry"));
  const int calls = registry_.calls();
  EXPECT_FALSE(gate_->Check("calls.raw", Prefix(unknown), kLong).ok());
  EXPECT_EQ(registry_.calls(), calls) << "it is not asked for each record";
}

TEST_F(RegistryGateTest, WhileTheRegistryIsAwayNobodyKnows) {
  registry_.FailWith(Unavailable("planned"));
  const absl::Status away = gate_->Check("calls.raw", Prefix(id_), kLong);
  EXPECT_TRUE(absl::IsUnavailable(away));
  registry_.FailWith(absl::OkStatus());
  clock_.Advance(seconds(2));
  EXPECT_THAT(gate_->Check("calls.raw", Prefix(id_), kLong), IsOk());
}

}  // namespace
}  // namespace tocsin::correlation
