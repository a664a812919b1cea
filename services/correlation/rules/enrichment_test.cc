#include "services/correlation/rules/enrichment.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "lib/base/testing/status_matchers.h"
#include "services/correlation/rules/compiled_rule.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kReading[] = R"(name: "iot.proto" package: "iot" syntax: "proto3"
  message_type { name: "Reading"
    field { name: "device_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
    field { name: "high" number: 536870911 type: TYPE_STRING label: LABEL_OPTIONAL }
    reserved_range { start: 1000 end: 536870911 } })";
constexpr char kDevice[] = R"(name: "device.proto" package: "iot" syntax: "proto3"
  message_type { name: "Device"
    field { name: "region" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "limit" number: 2 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
    field { name: "kind" number: 3 type: TYPE_ENUM type_name: ".iot.Kind" label: LABEL_OPTIONAL }
    field { name: "tags" number: 4 type: TYPE_STRING label: LABEL_REPEATED } }
  enum_type { name: "Kind"
    value { name: "KIND_NONE" number: 0 } value { name: "KIND_PUMP" number: 1 } })";

class EnrichmentTest : public ::testing::Test {
 protected:
  const Descriptor* Build(const char* text, const std::string& name) {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &file));
    pools_.push_back(std::make_unique<DescriptorPool>());
    const auto* built = pools_.back()->BuildFile(file);
    EXPECT_NE(built, nullptr);
    return built->pool()->FindMessageTypeByName(name);
  }

  absl::StatusOr<std::shared_ptr<const CompiledRule>> Compile(const std::string& middle) {
    const FixedStreams streams(
        {{"readings", Build(kReading, "iot.Reading"), "device_id", nullptr}},
        {{"devices", device_ != nullptr ? device_ : Build(kDevice, "iot.Device"), nullptr}});
    return CompileRule(
        "id: r\nstream: readings\n" + middle +
            "\ncorrelation: {type: event_count, group-by: [device.region], timespan: "
            "1m, condition: {gte: 2}}\n",
        "r.yaml", streams);
  }

  std::vector<std::unique_ptr<DescriptorPool>> pools_;
  const Descriptor* device_ = nullptr;
};

TEST_F(EnrichmentTest, RowsAreFieldsOfTheMessage) {
  const auto rule = Compile(
      "where: value > device.limit && device.kind == Kind.KIND_PUMP && has(device)\n"
      "enrich: [{table: devices, key: device_id, as: device, fields: [region, limit]}]");
  ASSERT_THAT(rule.status(), IsOk());
  ASSERT_NE((*rule)->enrichment(), nullptr);
  EXPECT_EQ((*rule)->descriptor()->full_name(), "iot.Reading");
  const Lookup& lookup = (*rule)->enrichment()->lookups[0];
  EXPECT_EQ(lookup.tag.size(), 5);
  EXPECT_EQ(lookup.outputs.size(), 2);
  // The highest number was taken.
  EXPECT_EQ((*rule)->descriptor()->FindFieldByName("device")->number(), 536'870'910);
  EXPECT_EQ((*rule)->repartition_topic(),
            "correlation-readings-by-.devices.device_id.region-repartition");
}

// Each subject's schema is a file of its own, whatever a registry's client calls it.
TEST_F(EnrichmentTest, TwoFilesOfOneNameWithOtherTypesGoTogether) {
  std::string text = kDevice;
  text.replace(text.find("device.proto"), 12, "iot.proto");
  device_ = Build(text.c_str(), "iot.Device");
  const auto rule = Compile(
      "where: device.kind == Kind.KIND_PUMP\nenrich: [{table: devices, key: device_id, as: "
      "device}]");
  ASSERT_THAT(rule.status(), IsOk());
  EXPECT_EQ((*rule)->descriptor()->FindFieldByName("device")->message_type()->full_name(),
            "iot.Device");
}

TEST_F(EnrichmentTest, FilesThatContradictEachOtherAreKeptApart) {
  // The same names with other contents: what an older version of a shared file looks like.
  device_ = Build(R"(name: "iot.proto" package: "iot" syntax: "proto3"
    message_type { name: "Reading"
      field { name: "x" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL } }
    message_type { name: "Device"
      field { name: "region" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "last" number: 2 type: TYPE_MESSAGE type_name: ".iot.Reading"
              label: LABEL_OPTIONAL } })",
                  "iot.Device");
  const auto rule =
      Compile("where: device.last.x\nenrich: [{table: devices, key: device_id, as: device}]");
  ASSERT_THAT(rule.status(), IsOk());
  EXPECT_EQ((*rule)->descriptor()->FindFieldByName("device")->message_type()->full_name(),
            "tocsin_joined_device.iot.Device");
}

TEST_F(EnrichmentTest, MistakesAreNamed) {
  const auto said = [&](const std::string& enrich) {
    return std::string(Compile("enrich: [" + enrich + "]").status().message());
  };
  EXPECT_THAT(said("{table: device, key: device_id, as: device}"),
              HasSubstr("did you mean 'devices'?"));
  EXPECT_THAT(said("{table: devices, key: devce_id, as: device}"),
              HasSubstr("did you mean 'device_id'?"));
  EXPECT_THAT(said("{table: devices, key: device_id, as: value}"),
              HasSubstr("has a field 'value' already"));
  EXPECT_THAT(said("{table: devices, key: device_id, as: Dev.x}"), HasSubstr("is not a name"));
  EXPECT_THAT(said("{}"), AllOf(HasSubstr("'as' is missing"), HasSubstr("'key' is missing"),
                                HasSubstr("'table' is missing; there are: devices")));
  EXPECT_THAT(said("{table: devices, key: device_id, as: device, fields: [regoin]}"),
              HasSubstr("did you mean 'region'?"));
  EXPECT_THAT(said("{table: devices, key: device_id, as: device, fields: [tags]}"),
              HasSubstr("is a list"));
}

}  // namespace
}  // namespace tocsin::correlation
