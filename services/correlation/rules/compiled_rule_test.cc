#include "services/correlation/rules/compiled_rule.h"

#include <gmock/gmock.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/timestamp.pb.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

std::string ReadFile(const std::string& path) {
  std::ifstream file(std::string(TOCSIN_SOURCE_DIR "/") + path);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr char kPortProto[] = R"(
syntax = "proto3";
package port.v1;
enum Kind { KIND_UNSPECIFIED = 0; KIND_ARRIVAL = 1; }
message Vessel { string flag = 1; optional int32 crew = 2; }
message Call {
  string berth = 1; Vessel vessel = 2; Kind kind = 3; int32 number = 4; bool urgent = 5;
  double draught = 6; repeated string goods = 7; map<string, string> tags = 8; bytes seal = 9;
  uint64 imo = 10; string pilot = 11;
}
)";

class RuleTest : public ::testing::Test {
 protected:
  RuleTest() : pool_(google::protobuf::DescriptorPool::generated_pool()) {
    google::protobuf::Timestamp::descriptor();
    const auto* alert =
        Build(ReadFile("packs/public-safety/proto/tocsin/packs/publicsafety/v1/alert.proto"),
              "alert.proto", "tocsin.packs.publicsafety.v1.Alert");
    call_ = Build(kPortProto, "port.proto", "port.v1.Call");
    streams_ = std::make_unique<FixedStreams>(std::vector<StreamInfo>{
        {"alerts.raw", alert, "township", nullptr}, {"port.calls", call_, "berth", nullptr}});
    alert_.reset(factory_.GetPrototype(alert)->New());
    message_.reset(factory_.GetPrototype(call_)->New());
  }

  const google::protobuf::Descriptor* Build(const std::string& text, const std::string& name,
                                            const std::string& message) {
    google::protobuf::io::ArrayInputStream input(text.data(), static_cast<int>(text.size()));
    google::protobuf::io::Tokenizer tokenizer(&input, nullptr);
    google::protobuf::FileDescriptorProto file;
    file.set_name(name);
    google::protobuf::compiler::Parser parser;
    EXPECT_TRUE(parser.Parse(&tokenizer, &file)) << name;
    EXPECT_NE(pool_.BuildFile(file), nullptr) << name;
    return pool_.FindMessageTypeByName(message);
  }

  absl::StatusOr<std::shared_ptr<const CompiledRule>> Compile(const std::string& yaml) {
    return CompileRule(yaml, "r.yaml", *streams_);
  }
  std::shared_ptr<const CompiledRule> MustCompile(const std::string& yaml) {
    auto rule = Compile(yaml);
    EXPECT_THAT(rule, IsOk()) << yaml;
    return rule.ok() ? *rule : nullptr;
  }
  const google::protobuf::Message& Call(const std::string& text) {
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, message_.get())) << text;
    return *message_;
  }

  // Asks the rule about a message, and about its bytes: the answers must be the same.
  bool Matches(const CompiledRule& rule, const google::protobuf::Message& message,
               absl::Status* error = nullptr) {
    absl::Status of_message;
    const bool matches = rule.Matches(message, &of_message);
    WithBytes(rule, message, [&](const schema::FieldView& fields) {
      absl::Status of_bytes;
      EXPECT_EQ(rule.Matches(fields, &of_bytes), matches);
      EXPECT_EQ(of_bytes, of_message);
    });
    if (error != nullptr) *error = of_message;
    return matches;
  }
  std::optional<std::vector<std::string>> GroupKey(const CompiledRule& rule,
                                                   const google::protobuf::Message& message) {
    const auto key = rule.GroupKey(message);
    WithBytes(rule, message, [&](const schema::FieldView& fields) {
      std::string joined = "what was there before";
      ASSERT_EQ(rule.JoinedGroupKey(fields, joined), key.has_value());
      if (!key.has_value()) return;
      EXPECT_EQ(joined, JoinKey(*key));
      EXPECT_EQ(SplitKey(joined, key->size()), *key);
    });
    return key;
  }
  std::optional<std::vector<std::string>> Value(const CompiledRule& rule,
                                                const google::protobuf::Message& message) {
    const auto value = rule.Value(message);
    WithBytes(rule, message, [&](const schema::FieldView& fields) {
      std::string joined = "what was there before";
      ASSERT_EQ(rule.JoinedValue(fields, joined), value.has_value());
      if (value.has_value()) {
        EXPECT_EQ(joined, JoinKey(*value));
      }
    });
    return value;
  }
  template <typename Ask>
  void WithBytes(const CompiledRule& rule, const google::protobuf::Message& message,
                 const Ask& ask) {
    const auto projection = schema::WireProjection::Compile(rule.descriptor(), rule.paths());
    schema::ProjectedMessage projected(projection, message);
    const std::string bytes = message.SerializeAsString();
    ASSERT_TRUE(projected.Read(bytes));
    std::vector<std::uint32_t> slots;
    for (const schema::FieldPath& path : rule.paths()) {
      slots.push_back(static_cast<std::uint32_t>(projection->SlotOf(path)));
    }
    ask(schema::FieldView(projected, slots.data()));
  }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::Descriptor* call_ = nullptr;
  std::unique_ptr<FixedStreams> streams_;
  std::unique_ptr<google::protobuf::Message> alert_;
  std::unique_ptr<google::protobuf::Message> message_;
};

TEST(JoinedKeyTest, SplitsIntoWhatWasJoined) {
  using Values = std::vector<std::string>;
  for (const Values& values : {Values{}, Values{"a|b\\"}, Values{"a", "b"},
                               Values{"a|", "\\b", "|", "\\|\\"}, Values{"", "x", ""}}) {
    EXPECT_EQ(SplitKey(JoinKey(values), values.size()), values);
  }
}

// A rule of the port in which one part is replaced.
struct Parts {
  std::string head = "id: busy-berth\nstream: port.calls\n";
  std::string type = "event_count";
  std::string group_by = "[berth]";
  std::string timespan = "10m";
  std::string condition = "{gte: 2}";
  std::string tail = "";
};

std::string Yaml(const Parts& parts) {
  return Concat(parts.head, "correlation:\n  type: ", parts.type, "\n  group-by: ", parts.group_by,
                "\n  timespan: ", parts.timespan, "\n  condition: ", parts.condition, "\n",
                parts.tail);
}

TEST_F(RuleTest, ThePackPublicSafety) {
  struct Case {
    std::string file;
    RuleType type;
    RuleOrder order;
    std::string repartition;
    microseconds timespan;
    microseconds join_within;
    std::int64_t fires_at;
  };
  const std::string by_place = "correlation-alerts.raw-by-place-repartition";
  const std::vector<Case> cases = {
      {"repeat-location", RuleType::kEventCount, RuleOrder::kEventTime, by_place, minutes(10),
       minutes(30), 2},
      {"multi-agency", RuleType::kValueCount, RuleOrder::kEventTime, by_place, minutes(10),
       minutes(30), 2},
      {"area-surge", RuleType::kEventCount, RuleOrder::kArrival, "", minutes(30), hours(1), 5},
  };
  const std::string text =
      "agency: 'EMS' place: '40.1,-75.3' township: 'NORRISTOWN' kind: 'FALL VICTIM'";
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, alert_.get()));
  for (const Case& c : cases) {
    const auto rule = CompileRule(ReadFile(Concat("packs/public-safety/rules/", c.file, ".yaml")),
                                  c.file, *streams_);
    ASSERT_THAT(rule, IsOk());
    EXPECT_EQ((*rule)->id(), c.file);
    EXPECT_EQ((*rule)->stream(), "alerts.raw");
    EXPECT_EQ((*rule)->type(), c.type) << c.file;
    EXPECT_EQ((*rule)->order(), c.order) << c.file;
    EXPECT_EQ((*rule)->local(), c.repartition.empty()) << c.file;
    EXPECT_EQ((*rule)->repartition_topic(), c.repartition) << c.file;
    EXPECT_EQ((*rule)->timespan(), c.timespan) << c.file;
    EXPECT_EQ((*rule)->join_within(), c.join_within) << c.file;
    EXPECT_EQ((*rule)->max_disorder(), microseconds(0)) << c.file;
    EXPECT_EQ((*rule)->idle_timeout(),
              c.order == RuleOrder::kEventTime ? microseconds(seconds(10)) : microseconds(0));
    EXPECT_TRUE((*rule)->ConditionHolds(c.fires_at)) << c.file;
    EXPECT_FALSE((*rule)->ConditionHolds(c.fires_at - 1)) << c.file;
    EXPECT_TRUE(Matches(**rule, *alert_));
    EXPECT_THAT(GroupKey(**rule, *alert_),
                Optional(ElementsAre(c.file == "area-surge" ? "NORRISTOWN" : "40.1,-75.3")));
    if (c.type == RuleType::kValueCount) {
      EXPECT_THAT(Value(**rule, *alert_), Optional(ElementsAre("EMS")));
    } else {
      EXPECT_THAT(Value(**rule, *alert_), Optional(ElementsAre()));
    }
  }
}

TEST_F(RuleTest, FillsInDefaults) {
  const auto rule = MustCompile(Yaml({}));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(rule->spec().title(), "busy-berth");
  EXPECT_EQ(rule->incident_title(), "busy-berth");
  EXPECT_EQ(rule->spec().severity(), event::v1::SEVERITY_INFO);
  EXPECT_EQ(rule->order(), RuleOrder::kArrival);
  EXPECT_EQ(rule->spec().correlation().after_match(), rule::v1::AFTER_MATCH_SKIP_PAST_LAST_EVENT);
  EXPECT_EQ(rule->join_within(), minutes(10));
  EXPECT_TRUE(rule->local());
  EXPECT_EQ(rule->descriptor(), call_);
  EXPECT_TRUE(Matches(*rule, Call("")));

  const auto timed = MustCompile(Yaml({.head = "id: x\nstream: port.calls\norder: event_time\n"}));
  ASSERT_NE(timed, nullptr);
  EXPECT_EQ(timed->max_disorder(), microseconds(0));
  EXPECT_EQ(timed->idle_timeout(), seconds(10));
}

TEST_F(RuleTest, TheHashFollowsTheMeaning) {
  const auto hash = [&](const std::string& yaml) {
    const auto rule = MustCompile(yaml);
    return rule == nullptr ? std::string() : rule->content_hash();
  };
  const std::string base = hash(Yaml({}));
  EXPECT_EQ(base.size(), 32U);
  EXPECT_EQ(base, hash("# a comment\nstream: port.calls\nid: busy-berth\ntitle: busy-berth\n"
                       "order: arrival\nseverity: info\nincident: {join-within: 600s}\n"
                       "correlation: {timespan: 600s, group_by: berth, condition: {gte: 2},\n"
                       "  type: event_count, after-match: skip_past_last_event}\n"));
  EXPECT_NE(base, hash(Yaml({.timespan = "11m"})));
  EXPECT_NE(base, hash(Yaml({.condition = "{gt: 1}"})));
  EXPECT_NE(base, hash(Yaml({.tail = "where: urgent\n"})));
  EXPECT_NE(base, hash(Yaml({.tail = "title: other\n"})));
  // A contract: versions of a rule must not change because the program was built anew.
  EXPECT_EQ(base, "cc1543190f580a664a2404f2dadbf6fa");
}

TEST_F(RuleTest, WhereDecides) {
  const auto rule = MustCompile(Yaml({.tail = "where: urgent && vessel.flag in ['MT', 'LR']\n"}));
  ASSERT_NE(rule, nullptr);
  EXPECT_TRUE(Matches(*rule, Call("urgent: true vessel { flag: 'MT' }")));
  EXPECT_FALSE(Matches(*rule, Call("urgent: true vessel { flag: 'DE' }")));
  EXPECT_FALSE(Matches(*rule, Call("vessel { flag: 'MT' }")));

  const auto failing = MustCompile(Yaml({.tail = "where: tags['x'] == 'y'\n"}));
  ASSERT_NE(failing, nullptr);
  absl::Status error;
  EXPECT_TRUE(Matches(*failing, Call("tags { key: 'x' value: 'y' }"), &error));
  EXPECT_THAT(error, IsOk());
  EXPECT_FALSE(Matches(*failing, Call(""), &error));
  EXPECT_THAT(error, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no such key")));
}

TEST_F(RuleTest, KeysAsText) {
  struct Case {
    std::string field;
    std::string message;
    std::optional<std::string> expected;
  };
  const std::vector<Case> cases = {
      {"berth", "berth: 'B1'", "B1"},
      {"berth", "berth: ''", std::nullopt},
      {"berth", "", std::nullopt},
      {"vessel.flag", "vessel { flag: 'MT' }", "MT"},
      {"vessel.flag", "vessel {}", std::nullopt},
      {"vessel.flag", "", std::nullopt},
      {"vessel.crew", "vessel { crew: 0 }", "0"},
      {"vessel.crew", "vessel {}", std::nullopt},
      {"kind", "kind: KIND_ARRIVAL", "KIND_ARRIVAL"},
      {"kind", "", std::nullopt},
      {"kind", "kind: 77", "77"},
      {"number", "number: -3", "-3"},
      {"number", "", "0"},
      {"urgent", "urgent: true", "true"},
      {"urgent", "", "false"},
      {"seal", "seal: '\\001\\377'", "01ff"},
      {"seal", "", std::nullopt},
      {"imo", "imo: 18446744073709551615", "18446744073709551615"},
  };
  for (const Case& c : cases) {
    const auto rule = MustCompile(Yaml({.group_by = Concat("[", c.field, "]")}));
    ASSERT_NE(rule, nullptr);
    const auto key = GroupKey(*rule, Call(c.message));
    EXPECT_EQ(key.has_value() ? std::optional(key->front()) : std::nullopt, c.expected)
        << c.field << " of " << c.message;
  }
}

TEST_F(RuleTest, SeveralFieldsMakeATuple) {
  const auto rule = MustCompile(Yaml({.type = "value_count",
                                      .group_by = "[kind, vessel.flag]",
                                      .condition = "{field: [number, pilot], gte: 2}"}));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(rule->repartition_topic(), "correlation-port.calls-by-kind-vessel.flag-repartition");
  const auto& message = Call("kind: KIND_ARRIVAL vessel { flag: 'MT' } number: 4 pilot: 'P'");
  EXPECT_THAT(GroupKey(*rule, message), Optional(ElementsAre("KIND_ARRIVAL", "MT")));
  EXPECT_THAT(Value(*rule, message), Optional(ElementsAre("4", "P")));
  EXPECT_EQ(Value(*rule, Call("number: 4")), std::nullopt);
  // The partition key among others keeps the rule local.
  EXPECT_TRUE(MustCompile(Yaml({.group_by = "[kind, berth]"}))->local());
}

TEST_F(RuleTest, ConditionsCombine) {
  struct Case {
    std::string condition;
    std::vector<std::int64_t> hold;
    std::vector<std::int64_t> fail;
  };
  const std::vector<Case> cases = {
      {"{gt: 2}", {3, 100}, {1, 2}},
      {"{gte: 2}", {2, 3}, {1}},
      {"{eq: 3}", {3}, {2, 4}},
      {"{neq: 3}", {2, 4}, {3}},
      {"{gte: 2, neq: 3}", {2, 4}, {1, 3}},
      {"{gt: 0}", {1}, {0}},
      {"{gte: 5000}", {5000}, {4999}},
  };
  for (const Case& c : cases) {
    const auto rule = MustCompile(Yaml({.condition = c.condition}));
    ASSERT_NE(rule, nullptr);
    for (const std::int64_t n : c.hold) EXPECT_TRUE(rule->ConditionHolds(n)) << c.condition << n;
    for (const std::int64_t n : c.fail) EXPECT_FALSE(rule->ConditionHolds(n)) << c.condition << n;
  }
}

TEST_F(RuleTest, RefusesWithPlaceAndReason) {
  struct Case {
    std::string yaml;
    std::string message;
  };
  const std::string head = "id: x\nstream: port.calls\n";
  const std::vector<Case> cases = {
      {"", "r.yaml:1:1: 'id' is missing"},
      {Yaml({.head = "stream: port.calls\n"}), "r.yaml:1:1: 'id' is missing"},
      {Yaml({.head = "id: Busy Berth\nstream: port.calls\n"}),
       "r.yaml:1:5: 'Busy Berth' is not a rule id: write lower-case letters, digits and hyphens"},
      {Yaml({.head = "id: -x\nstream: port.calls\n"}), "'-x' is not a rule id"},
      {Yaml({.head = Concat("id: ", std::string(65, 'a'), "\nstream: port.calls\n")}),
       "is not a rule id"},
      {Yaml({.head = "id: x\n"}),
       "'stream' is missing: which topic does the rule read?; there are: "
       "alerts.raw, port.calls"},
      {Yaml({.head = "id: x\nstream: port.cals\n"}),
       "r.yaml:2:9: unknown stream 'port.cals'; did you mean 'port.calls'?"},
      {Yaml({.tail = "wehre: urgent\n"}), "r.yaml:8:1: unknown key 'wehre'; did you mean 'where'?"},
      {Yaml({.tail = Concat("title: ", std::string(300, 'x'), "\n")}), "the title has 300 bytes"},
      // where
      {Yaml({.tail = "where: urgnt\n"}),
       "r.yaml:8:8: where: unknown field 'urgnt' in port.v1.Call; did you mean 'urgent'?\n"
       "  urgnt\n  ^"},
      {Yaml({.tail = "where: |\n  urgent &&\n  number == 'x'\n"}),
       "r.yaml:10:10: where: '==' cannot compare int and string"},
      {Yaml({.tail = "where: >-\n  urgent &&\n\n  number == \"x\"\n"}),
       "r.yaml:11:10: where: '=='"},
      {Yaml({.tail = "where: \"berth == 'a' && numbr == 3\"\n"}), "r.yaml:8:25: where: unknown"},
      {Yaml({.tail = "where: number\n"}), "must say true or false, and this is of type int"},
      // group-by
      {Yaml({.group_by = "[]"}), "'group-by' is missing"},
      {Yaml({.group_by = "[berht]"}),
       "r.yaml:5:14: unknown field 'berht' in port.v1.Call; did you mean 'berth'?"},
      {Yaml({.group_by = "[berth, vessel.flg]"}),
       "r.yaml:5:21: unknown field 'flg' in port.v1.Vessel; did you mean 'flag'?"},
      {Yaml({.group_by = "[vessel]"}),
       "is a message (port.v1.Vessel); name one of its fields: flag"},
      {Yaml({.group_by = "[goods]"}), "'goods' is a list: it has no single value"},
      {Yaml({.group_by = "[tags]"}), "'tags' is a map: it has no single value"},
      {Yaml({.group_by = "[draught]"}), "'draught' is a floating-point number"},
      {Yaml({.group_by = "[number.x]"}), "'number' is no message"},
      {Yaml({.group_by = "[berth, berth]"}), "r.yaml:5:21: 'berth' is named twice"},
      {Yaml({.group_by = "[berth, kind, number, urgent, seal, imo, pilot, vessel.flag, "
                         "vessel.crew]"}),
       "more than 8 fields"},
      // timespan
      {Yaml({.timespan = ""}), "r.yaml:6:3: 'timespan' is missing"},
      {Yaml({.timespan = "10"}), "r.yaml:6:13: 'timespan' must be a duration such as 10s or 5m"},
      {Yaml({.timespan = "10 minutes"}), "not '10 minutes'"},
      {Yaml({.timespan = "0s"}), "r.yaml:6:13: 'timespan' must be from 1ms to 366d, not 0s"},
      {Yaml({.timespan = "367d"}), "must be from 1ms to 366d, not 367d"},
      // type and condition
      {Yaml({.type = ""}), "'type' is missing: write event_count or value_count"},
      {Yaml({.type = "event_cuont"}), "r.yaml:4:9: 'type' must be one of event_count, value_count"},
      {Yaml({.type = "temporal"}),
       "'type' must be one of event_count, value_count, not 'temporal'"},
      {Yaml({.condition = ""}), "r.yaml:7:3: 'condition' compares with nothing"},
      {Yaml({.condition = "{}"}), "r.yaml:7:14: 'condition' compares with nothing"},
      {Yaml({.condition = "{lt: 3}"}), "r.yaml:7:15: 'lt' asks for too few events"},
      {Yaml({.condition = "{gte: 2, lte: 3}"}), "r.yaml:7:23: 'lte' asks for too few events"},
      {Yaml({.condition = "{eq: 0}"}), "r.yaml:7:19: the condition can never hold at an event"},
      {Yaml({.condition = "{eq: -1}"}), "can never hold at an event"},
      {Yaml({.condition = "{gte: 0}"}),
       "r.yaml:7:20: the condition holds at every event, because a count is at least 1; if that is "
       "meant, write 'gte: 1'"},
      {Yaml({.condition = "{gt: -1}"}), "if that is meant, write 'gt: 0'"},
      {Yaml({.condition = "{eq: 2, gt: 2}"}), "it asks for exactly 2 and for at least 3"},
      {Yaml({.condition = "{eq: 2, neq: 2}"}), "'eq' and 'neq' name the same number"},
      {Yaml({.condition = "{gte: 5001}"}), "r.yaml:7:20: more than 5000 events"},
      {Yaml({.condition = "{gt: 9223372036854775807}"}), "more than 5000 events"},
      {Yaml({.condition = "{gte: two}"}), "'gte' must be a whole number, not 'two'"},
      {Yaml({.condition = "{gte: 2, field: pilot}"}),
       "r.yaml:7:23: 'field' belongs to value_count"},
      {Yaml({.type = "value_count"}), "r.yaml:7:3: 'field' is missing: value_count counts"},
      {Yaml({.type = "value_count", .condition = "{gte: 2, field: piolt}"}),
       "r.yaml:7:30: unknown field 'piolt' in port.v1.Call; did you mean 'pilot'?"},
      {Yaml({.type = "value_count", .condition = "{gte: 2, field: berth}"}),
       "the field is part of group-by"},
      {Concat(head, "where: urgent\n"), "r.yaml:1:1: 'correlation' is missing"},
      {Concat(head, "correlation:\n"), "r.yaml:3:1: 'type' is missing"},
      {Concat(head, "correlation: {type: event_count}\n"), "r.yaml:3:1: 'condition' is missing"},
      // order
      {Yaml({.tail = "max-disorder: 1s\n"}),
       "r.yaml:8:1: 'max_disorder' means something with 'order: event_time' only"},
      {Yaml({.tail = "order: arrival\nidle-timeout: 1s\n"}), "r.yaml:9:1: 'idle_timeout' means"},
      {Yaml({.tail = "order: event_time\nidle-timeout: 10ms\n"}),
       "r.yaml:9:15: 'idle_timeout' must be from 1s to 1h, not 10ms"},
      {Yaml({.tail = "order: event_time\nmax-disorder: 30d\n"}), "must be from 0s to 7d, not 30d"},
      {Yaml({.tail = "order: sorted\n"}), "'order' must be one of arrival, event_time"},
      // incident
      {Yaml({.tail = "incident: {join-within: soon}\n"}), "r.yaml:8:25: 'join_within' must be"},
      {Yaml({.tail = "incident: {join-within: 400d}\n"}), "must be from 0s to 366d"},
      {Yaml({.tail = "severity: fatal\n"}),
       "'severity' must be one of info, low, medium, high, critical, not 'fatal'"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Compile(c.yaml), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.yaml;
  }
}

TEST_F(RuleTest, TellsAllMistakesAtOnce) {
  EXPECT_THAT(Compile(Yaml({.group_by = "[berht]",
                            .timespan = "0s",
                            .condition = "{lt: 1}",
                            .tail = "where: urgnt\n"})),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("'berht'"), HasSubstr("timespan"), HasSubstr("'lt'"),
                             HasSubstr("'urgnt'"))));
}

TEST_F(RuleTest, AnErrorFitsIntoGrpcMetadata) {
  const std::string huge(100'000, 'x');
  std::string many = "[";
  for (int i = 0; i < 8; ++i) many += Concat(i > 0 ? ", " : "", huge, i);
  for (const std::string& yaml : {
           Yaml({.head = Concat("id: ", huge, "\nstream: ", huge, "\n")}),
           Yaml({.group_by = Concat(many, "]"), .timespan = "0s", .condition = "{lt: 1}"}),
           Yaml({.tail = Concat("where: ", huge.substr(0, 16'000), " == 1\n")}),
           Yaml({.tail = Concat(huge, ": 1\n")}),
           Yaml({.tail = Concat("severity: ", huge, "\n")}),
           Yaml({.tail = Concat("order: event_time\nidle-timeout: ", huge, "\n")}),
       }) {
    const auto rule = Compile(yaml);
    EXPECT_THAT(rule, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_LT(rule.status().message().size(), 7'000U);
  }
}

// The parts of a Markdown page between ```language and ```.
std::vector<std::string> CodeBlocks(const std::string& page, const std::string& language) {
  std::vector<std::string> blocks;
  const std::string fence = Concat("\n```", language, "\n");
  for (std::size_t at = page.find(fence); at != std::string::npos; at = page.find(fence, at)) {
    at += fence.size();
    const std::size_t end = page.find("```", at);
    blocks.push_back(page.substr(at, end - at));
    at = end;
  }
  return blocks;
}

TEST_F(RuleTest, TheExamplesOfTheManualCompile) {
  const auto* bid = Build(
      "syntax = 'proto3'; package shop.v1; message Bid { string auction = 1; "
      "string category = 2; double price = 3; }",
      "shop.proto", "shop.v1.Bid");
  const auto* reading = Build(
      "syntax = 'proto3'; package iot.v1; message Reading { string device_id = 1; double "
      "temperature = 2; }",
      "reading.proto", "iot.v1.Reading");
  const auto* device = Build(
      "syntax = 'proto3'; package iot.v1; enum Kind { KIND_UNSPECIFIED = 0; KIND_PUMP = 1; } "
      "message Owner { string name = 1; } message Device { string region = 1; double limit = 2; "
      "Kind kind = 3; Owner owner = 4; }",
      "device.proto", "iot.v1.Device");
  const auto* payment = Build(
      "syntax = 'proto3'; package bank.v1; message Payment { string card = 1; int64 amount = 2; }",
      "payment.proto", "bank.v1.Payment");
  const auto* refusal = Build(
      "syntax = 'proto3'; package bank.v1; message Refusal { string card_number = 1; "
      "int64 limit = 2; }",
      "refusal.proto", "bank.v1.Refusal");
  streams_ = std::make_unique<FixedStreams>(
      std::vector<StreamInfo>{{"alerts.raw", alert_->GetDescriptor(), "township", nullptr},
                              {"port.calls", call_, "berth", nullptr},
                              {"bids", bid, "auction", nullptr},
                              {"iot.readings", reading, "device_id", nullptr},
                              {"payments", payment, "card", nullptr},
                              {"refusals", refusal, "card_number", nullptr}},
      std::vector<TableInfo>{{"devices", device, nullptr}});
  const std::string page = ReadFile("docs/rules.md");
  const std::vector<std::string> rules = CodeBlocks(page, "yaml");
  EXPECT_FALSE(rules.empty());
  for (const std::string& rule : rules) EXPECT_THAT(Compile(rule), IsOk()) << rule;
  const std::vector<std::string> expressions = CodeBlocks(page, "cel");
  ASSERT_EQ(expressions.size(), 1U);
  const std::string start =
      "id: x\nstream: alerts.raw\ncorrelation: {type: event_count, group-by: [place], "
      "timespan: 1m, condition: {gte: 2}}\nwhere: >-\n  ";
  for (const std::string& line : Split(Trim(expressions[0]), '\n')) {
    EXPECT_THAT(Compile(start + line), IsOk()) << line;
  }
}

TEST_F(RuleTest, AStreamThatCannotBeLookedUpIsNoMistakeOfTheRule) {
  class Away final : public StreamDirectory {
    absl::StatusOr<StreamInfo> Find(std::string_view) const override {
      return Unavailable("the registry does not answer");
    }
    std::vector<std::string> Names() const override { return {}; }
  };
  EXPECT_THAT(CompileRule(Yaml({}), "r.yaml", Away()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("registry")));
}

TEST_F(RuleTest, ARuleKeepsItsStreamsOwner) {
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owner;
  std::shared_ptr<const CompiledRule> rule;
  {
    const FixedStreams streams({{"port.calls", call_, "berth", std::move(owner)}});
    auto compiled = CompileRule(Yaml({}), "r.yaml", streams);
    ASSERT_THAT(compiled, IsOk());
    rule = *compiled;
  }
  EXPECT_FALSE(watch.expired());
  rule.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(JoinKeyTest, TellsTuplesApart) {
  EXPECT_EQ(JoinKey({"a|b"}), "a|b");
  EXPECT_EQ(JoinKey({"a", "b"}), "a|b");
  EXPECT_EQ(JoinKey({"a|b", "c"}), "a\\|b|c");
  EXPECT_NE(JoinKey({"a|", "b"}), JoinKey({"a", "|b"}));
  EXPECT_NE(JoinKey({"a\\", "b"}), JoinKey({"a", "\\b"}));
  EXPECT_EQ(JoinKey({}), "");
}

}  // namespace
}  // namespace tocsin::correlation
