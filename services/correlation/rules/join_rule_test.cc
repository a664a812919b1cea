#include "services/correlation/rules/join_rule.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/correlation/rules/compiled_rule.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kPayment[] = R"(name: "bank.proto" package: "bank" syntax: "proto3"
  message_type { name: "Payment"
    field { name: "card" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "amount" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
    field { name: "kind" number: 3 type: TYPE_ENUM type_name: ".bank.Kind" label: LABEL_OPTIONAL } }
  enum_type { name: "Kind"
    value { name: "KIND_NONE" number: 0 } value { name: "KIND_CASH" number: 1 } })";
// Another file of the same name: each subject's schema is a pool of its own.
constexpr char kRefusal[] = R"(name: "bank.proto" package: "bank" syntax: "proto3"
  message_type { name: "Refusal"
    field { name: "number" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "limit" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL } })";

class JoinRuleTest : public ::testing::Test {
 protected:
  const Descriptor* Build(const char* text, const std::string& name) {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &file));
    pools_.push_back(std::make_unique<DescriptorPool>());
    const auto* built = pools_.back()->BuildFile(file);
    EXPECT_NE(built, nullptr);
    return built->pool()->FindMessageTypeByName(name);
  }

  absl::StatusOr<std::shared_ptr<const CompiledRule>> Compile(
      const std::string& join, const std::string& before = "order: event_time\n") {
    const FixedStreams streams({{"payments", Build(kPayment, "bank.Payment"), key_, nullptr},
                                {"refusals", Build(kRefusal, "bank.Refusal"), "number", nullptr}});
    return CompileRule(Concat("id: r\n", before, "join:\n", join), "r.yaml", streams);
  }

  std::string Refused(const std::string& join, const std::string& before = "order: event_time\n") {
    const auto rule = Compile(join, before);
    return rule.ok() ? "accepted" : std::string(rule.status().message());
  }

  std::vector<std::unique_ptr<DescriptorPool>> pools_;
  std::string key_ = "card";
};

constexpr char kLeft[] = "  left: {stream: payments, where: amount > 5, key: [card], as: paid}\n";
constexpr char kRight[] = "  right: {stream: refusals, key: [number], as: refused}\n";

TEST_F(JoinRuleTest, HasTwoSides) {
  const auto rule = Compile(Concat(
      kLeft, kRight,
      "  within: 10m\n  where: paid.amount > refused.limit && paid.kind == Kind.KIND_CASH\n"));
  ASSERT_THAT(rule.status(), IsOk());
  const CompiledJoin* join = (*rule)->join();
  ASSERT_NE(join, nullptr);
  EXPECT_EQ((*rule)->stream(), "payments");
  EXPECT_TRUE((*rule)->local());
  EXPECT_EQ((*rule)->timespan(), std::chrono::minutes(10));
  EXPECT_EQ((*rule)->join_within(), std::chrono::minutes(10));
  EXPECT_EQ((*rule)->group_by()[0], "card");
  EXPECT_EQ(join->max_events, 1'000);
  EXPECT_EQ(join->max_pairs, 100);
  EXPECT_EQ(join->right->stream(), "refusals");
  EXPECT_EQ(join->right->id(), "r");
  EXPECT_EQ(join->right->descriptor()->full_name(), "bank.Refusal");
  EXPECT_FALSE(join->right->local());
  EXPECT_EQ(join->right->repartition_topic(),
            "correlation-refusals-by-number-for-payments-repartition");
  EXPECT_EQ(join->time_topic, "correlation-payments-by-.time-for-refusals-repartition");
  EXPECT_NE(join->where, nullptr);
}

TEST_F(JoinRuleTest, TheLeftSideMayNeedATopic) {
  key_ = "";
  const auto rule = Compile(Concat(kLeft, kRight, "  within: 10m\n"));
  ASSERT_THAT(rule.status(), IsOk());
  EXPECT_EQ((*rule)->repartition_topic(), "correlation-payments-by-card-repartition");
  EXPECT_EQ((*rule)->join()->where, nullptr);
}

TEST_F(JoinRuleTest, MistakesAreToldWithTheirPlace) {
  EXPECT_THAT(Refused(Concat(kLeft, kRight, "  within: 10m\n"), ""),
              HasSubstr("2:1: a join needs 'order: event_time'"));
  EXPECT_THAT(Refused(kLeft), AllOf(HasSubstr("'right' is missing"), HasSubstr("'within' is")));
  EXPECT_THAT(
      Refused(Concat(kLeft, "  right: {stream: payments, key: [card], as: b}\n  within: 1m\n")),
      HasSubstr("5:19: both sides read one stream"));
  EXPECT_THAT(
      Refused(Concat(kLeft, "  right: {stream: refusal, key: [number], as: b}\n  within: 1m\n")),
      HasSubstr("5:19: unknown stream 'refusal'; did you mean 'refusals'?"));
  EXPECT_THAT(
      Refused(Concat(kLeft,
                     "  right: {stream: refusals, key: [number, limit], as: b}\n  within: 1m\n")),
      HasSubstr("the left key has 1 fields, this one 2"));
  EXPECT_THAT(
      Refused(Concat(kLeft, "  right: {stream: refusals, key: [numbr], as: paid}\n  within: 0s\n")),
      AllOf(HasSubstr("number"), HasSubstr("'paid' is the left event's name"),
            HasSubstr("6:11: ")));
  EXPECT_THAT(Refused(Concat(kLeft, kRight, "  within: 1m\n  where: paid.amount > refused.limt\n")),
              HasSubstr("7:32: join.where: "));
  // The left event's fields have no short name.
  EXPECT_THAT(Refused(Concat(kLeft, kRight, "  within: 1m\n  where: amount > 3\n")),
              HasSubstr("7:10: join.where: "));
  EXPECT_THAT(Refused(Concat(kLeft, kRight, "  within: 1m\n  max-pairs: 0\n")),
              HasSubstr("7:14: write a number from 1 to 1000"));
  EXPECT_THAT(Refused(Concat(kLeft, kRight, "  within: 1m\n"),
                      "order: event_time\nstream: payments\nwhere: amount > 3\n"),
              AllOf(HasSubstr("3:1: a join has two streams: give 'stream'"),
                    HasSubstr("4:1: a join has two streams: give 'where'")));
  EXPECT_THAT(Refused(Concat(kLeft, kRight, "  within: 1m\n"),
                      "order: event_time\nwindow: {type: tumbling, size: 1m}\n"),
              HasSubstr("a rule with 'join' has no 'window'"));
}

}  // namespace
}  // namespace tocsin::correlation
