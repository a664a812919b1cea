#include "lib/config/config.h"

#include <gmock/gmock.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/timestamp.pb.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "tocsin/config/v1/process.pb.h"
#include "tocsin/rule/v1/rule.pb.h"

namespace tocsin::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using tocsin::rule::v1::Rule;

constexpr char kProto[] = R"(
syntax = "proto3";
package t;
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; COLOUR_DARK_BLUE = 2; }
message Inner { string name = 1; int32 size = 2; Inner child = 3; string api_token = 4; }
message All {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4;
  float f = 5; double d = 6; bool b = 7; string s = 8; bytes raw = 9; Colour colour = 10;
  google.protobuf.Duration wait = 11; google.protobuf.Timestamp since = 12;
  uint64 queue_bytes = 13; int32 small_bytes = 14;
  repeated string names = 15; repeated int32 numbers = 16; repeated Inner inners = 17;
  map<string, string> labels = 18; map<string, Inner> by_name = 19; map<int32, bool> flags = 20;
  Inner inner = 21;
  oneof way { string left = 22; Inner right = 23; }
  repeated google.protobuf.Duration waits = 24; repeated Colour colours = 25;
  string client_secret = 26; string token_file = 27; string database_url = 28;
  optional int32 maybe = 29; map<string, string> passwords = 30;
}
)";

class Quiet : public google::protobuf::io::ErrorCollector {
  void AddError(int line, int column, const std::string& message) override {
    ADD_FAILURE() << line << ":" << column << " " << message;
  }
};

// The message t.All, built without generated code: what the reader does must work by reflection.
class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() : pool_(google::protobuf::DescriptorPool::generated_pool()) {
    google::protobuf::Duration::descriptor();
    google::protobuf::Timestamp::descriptor();
    google::protobuf::io::ArrayInputStream input(kProto, sizeof(kProto) - 1);
    Quiet quiet;
    google::protobuf::io::Tokenizer tokenizer(&input, &quiet);
    google::protobuf::FileDescriptorProto file;
    file.set_name("t.proto");
    google::protobuf::compiler::Parser parser;
    EXPECT_TRUE(parser.Parse(&tokenizer, &file));
    EXPECT_NE(pool_.BuildFile(file), nullptr);
    all_ = pool_.FindMessageTypeByName("t.All");
    message_.reset(factory_.GetPrototype(all_)->New());
  }

  absl::Status Parse(std::string_view yaml) {
    message_->Clear();
    return ParseYaml(yaml, "f.yaml", *message_, &positions_);
  }
  std::string Text() { return message_->ShortDebugString(); }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::Descriptor* all_ = nullptr;
  std::unique_ptr<google::protobuf::Message> message_;
  Positions positions_;
};

TEST_F(ConfigTest, ReadsEveryKindOfField) {
  struct Case {
    std::string yaml;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"", ""},
      {"# nothing but a comment\n", ""},
      {"i32: -2147483648", "i32: -2147483648"},
      {"i64: 9223372036854775807", "i64: 9223372036854775807"},
      {"u32: 4294967295", "u32: 4294967295"},
      {"u64: 18446744073709551615", "u64: 18446744073709551615"},
      {"f: 1.5", "f: 1.5"},
      {"d: -1e3", "d: -1000"},
      {"b: true", "b: true"},
      {"s: plain text", "s: \"plain text\""},
      {"s: 007", "s: \"007\""},
      {"s: true", "s: \"true\""},
      {"s: 'it''s'", "s: \"it\\'s\""},
      {"s: |\n  a\n  b\n", "s: \"a\\nb\\n\""},
      {"s: >-\n  a\n  b\n", "s: \"a b\""},
      {"raw: aGk=", "raw: \"hi\""},
      {"colour: red", "colour: COLOUR_RED"},
      {"colour: dark-blue", "colour: COLOUR_DARK_BLUE"},
      {"colour: DARK_BLUE", "colour: COLOUR_DARK_BLUE"},
      {"wait: 10m", "wait { seconds: 600 }"},
      {"wait: 1500ms", "wait { seconds: 1 nanos: 500000000 }"},
      {"since: 2016-01-15T13:24:00Z", "since { seconds: 1452864240 }"},
      {"since: 1969-12-31T23:59:59.5Z", "since { seconds: -1 nanos: 500000000 }"},
      {"queue_bytes: 1MiB", "queue_bytes: 1048576"},
      {"queue-bytes: 10 KB", "queue_bytes: 10000"},
      {"queue_bytes: 77", "queue_bytes: 77"},
      {"names: [a, b]", "names: \"a\" names: \"b\""},
      {"names: alone", "names: \"alone\""},
      {"names: []", ""},
      {"numbers:\n- 1\n- 2\n", "numbers: 1 numbers: 2"},
      {"inners: [{name: a}, {size: 2}]", "inners { name: \"a\" } inners { size: 2 }"},
      {"labels: {a: 1}", "labels { key: \"a\" value: \"1\" }"},
      {"by_name: {x: {size: 3}}", "by_name { key: \"x\" value { size: 3 } }"},
      {"flags: {7: true}", "flags { key: 7 value: true }"},
      {"inner: {child: {name: deep}}", "inner { child { name: \"deep\" } }"},
      {"left: x", "left: \"x\""},
      {"right: {size: 1}", "right { size: 1 }"},
      {"left: ~\nright: {size: 1}", "right { size: 1 }"},
      {"s:\ni32: 4", "i32: 4"},
      {"inner:", ""},
      {"waits: [1s, 2s]", "waits { seconds: 1 } waits { seconds: 2 }"},
      {"colours: [red]", "colours: COLOUR_RED"},
      {"maybe: 0", "maybe: 0"},
      {"---\ni32: 1\n", "i32: 1"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Parse(c.yaml), IsOk()) << c.yaml;
    EXPECT_EQ(Text(), c.expected) << c.yaml;
  }
}

TEST_F(ConfigTest, RefusesWithPlaceAndReason) {
  struct Case {
    std::string yaml;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"nmes: [a]", "f.yaml:1:1: unknown key 'nmes'; did you mean 'names'?"},
      {"i32: 1\ninner:\n  nam: x\n",
       "f.yaml:3:3: unknown key 'nam' in inner; did you mean 'name'?"},
      {"inner: {zzzzzzzzz: 1}",
       "f.yaml:1:9: unknown key 'zzzzzzzzz' in inner; known keys: name, size, child, api_token"},
      {"queue-bites: 1", "did you mean 'queue-bytes'?"},
      {"inners: [{}, {x: 1}]", "f.yaml:1:15: unknown key 'x' in inners[1]"},
      {"i32: 1\ni32: 2", "f.yaml:2:1: the key 'i32' was already given on line 1"},
      {"queue-bytes: 1\nqueue_bytes: 2", "f.yaml:2:1: the key 'queue_bytes' was already given"},
      {"labels:\n  a: 1\n  a: 2\n", "f.yaml:3:3: the key 'a' was already given on line 2"},
      {"left: a\nright: {}", "f.yaml:2:1: 'right' and 'left' exclude one another"},
      {"i32: 2147483648",
       "f.yaml:1:6: 'i32' is out of range: '2147483648'; it takes -2147483648 to 2147483647"},
      {"u32: -1", "f.yaml:1:6: 'u32' is out of range: '-1'; it takes 0 to 4294967295"},
      {"i32: 1.5", "'i32' must be a whole number, not '1.5'"},
      {"i32: ''", "'i32' must be a whole number, not ''"},
      {"i32: '-'", "'i32' must be a whole number, not '-'"},
      {"i32: [1]", "f.yaml:1:6: 'i32' must be a whole number, not a list"},
      {"i64: 99999999999999999999", "out of range"},
      {"small_bytes: 4GiB", "out of range"},
      {"small_bytes: -1KiB", "out of range"},
      {"queue_bytes: 1 MiBs", "must be a size such as 65536, 64KiB or 1MiB, not '1 MiBs'"},
      {"d: abc", "'d' must be a number, not 'abc'"},
      {"d: .inf", "'d' must be a number"},
      {"d: nan", "'d' must be a number"},
      {"f: 1e300", "'f' must be a number"},
      {"b: yes", "'b' must be true or false, not 'yes'"},
      {"raw: '***'", "'raw' must be base64"},
      {"colour: reed", "'colour' must be one of red, dark_blue, not 'reed'"},
      {"colour: unspecified", "'colour' must be one of red, dark_blue"},
      {"wait: 10", "'wait' must be a duration such as 10s or 5m"},
      {"wait: -1s", "'wait' must be a duration"},
      {"wait: 9999999999999s", "'wait' must be a duration"},
      {"since: yesterday", "'since' must be a time such as 2016-01-15T13:24:00Z, not 'yesterday'"},
      {"names: {a: 1}", "f.yaml:1:8: 'names' must be a list, not keys and values"},
      {"names: [a, , b]", "f.yaml:1:"},
      {"names: [a, ~]", "f.yaml:1:12: an empty element in 'names'"},
      {"inner: text", "f.yaml:1:8: inner must be keys and values, not a single value"},
      {"labels: [a]", "'labels' must be keys and values, not a list"},
      {"flags: {x: true}", "'key' must be a whole number, not 'x'"},
      {"[1, 2]", "f.yaml:1:1: the text must be keys and values, not a list"},
      {"? [a]\n: 1", "a key must be a name, not a list"},
      {"s: &a x", "f.yaml:1:4: anchors are not supported"},
      {"s: *a", "not valid YAML"},
      {"s: !!binary aGk=", "f.yaml:1:4: the tag"},
      {"i32: 1\n---\ni32: 2\n", "a second document"},
      {"s: 'open", "f.yaml:1:"},
      {"i32: 1\n  bad: x: y", "not valid YAML"},
      {"\tx: 1", "f.yaml:1:"},
      {std::string("s: a\x04 b"), "f.yaml:1:5: a control character"},
      {std::string("s: a\0 b", 7), "f.yaml:1:5: a control character"},
      {"s: \xff", "f.yaml:1:4: not valid UTF-8"},
      {"\xEF\xBB\xBFs: 1", "byte order mark"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Parse(c.yaml), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.yaml;
  }
}

TEST_F(ConfigTest, TellsAllMistakesAtOnceButNotWithoutEnd) {
  EXPECT_THAT(Parse("i32: x\nb: maybe\nnope: 1\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::AllOf(HasSubstr("f.yaml:1:6:"), HasSubstr("\nf.yaml:2:4:"),
                                      HasSubstr("\nf.yaml:3:1:"))));
  std::string many;
  for (int i = 0; i < 25; ++i) many += Concat("unknown", i, ": 1\n");
  EXPECT_THAT(Parse(many),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\nand 15 more")));
}

TEST_F(ConfigTest, HostileTextIsRefusedSoon) {
  const std::string deep(200'000, '[');
  EXPECT_THAT(Parse("names: " + deep), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Parse(std::string(200'000, '{')), StatusIs(absl::StatusCode::kInvalidArgument));
  std::string dashes;
  for (int i = 0; i < 2000; ++i) dashes += "- ";
  EXPECT_THAT(Parse(dashes), StatusIs(absl::StatusCode::kInvalidArgument));
  std::string nested;
  for (int i = 0; i < 40; ++i) nested += std::string(static_cast<std::size_t>(i), ' ') + "child:\n";
  EXPECT_THAT(Parse("inner: {child: " + nested), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Parse("s: " + std::string(std::size_t{1024} * 1024, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 1048576")));
  std::string wide = "numbers: [";
  for (int i = 0; i < 150'000; ++i) wide += "1,";
  EXPECT_THAT(Parse(wide + "]"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 100000")));
  // The classic: nine levels of nine aliases each.
  EXPECT_THAT(Parse("a: &a [x,x]\nb: &b [*a,*a]\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("anchors")));
}

TEST_F(ConfigTest, WhatTheTextDoesNotNameStays) {
  ASSERT_THAT(Parse("i32: 1\ninner: {name: a, size: 1}\nnames: [x, y]\nlabels: {k: v}"), IsOk());
  ASSERT_THAT(ParseYaml("inner: {size: 2}\nnames: [z]\nlabels: {l: w}", "", *message_), IsOk());
  EXPECT_EQ(Text(),
            "i32: 1 names: \"z\" labels { key: \"l\" value: \"w\" } inner { name: \"a\" size: 2 }");
}

std::string At(Position p) { return Concat(p.line, ":", p.column); }

TEST_F(ConfigTest, RemembersWhereFieldsStand) {
  ASSERT_THAT(Parse("i32: 5\n"
                    "inner:\n"
                    "  name: deep\n"
                    "names: [a, bb]\n"
                    "labels:\n"
                    "  x: \"y\"\n"
                    "inners:\n"
                    "  - size: 1\n"),
              IsOk());
  EXPECT_EQ(At(positions_.Key("i32")), "1:1");
  EXPECT_EQ(At(positions_.Value("i32")), "1:6");
  EXPECT_EQ(At(positions_.Key("inner.name")), "3:3");
  EXPECT_EQ(At(positions_.Value("inner.name")), "3:9");
  EXPECT_EQ(At(positions_.Value("names[1]")), "4:12");
  EXPECT_EQ(At(positions_.Value("labels[x]")), "6:6");
  EXPECT_EQ(At(positions_.Key("inners[0].size")), "8:5");
  // A value that is not there stands where its key stands.
  ASSERT_THAT(Parse("i32:\n\ninner: {}\n"), IsOk());
  EXPECT_EQ(At(positions_.Value("i32")), "1:1");
}

TEST_F(ConfigTest, WhatWasNotWrittenHasThePlaceOfWhatEnclosesIt) {
  ASSERT_THAT(Parse("i32: 5\ninner:\n  name: deep\n"), IsOk());
  EXPECT_TRUE(positions_.Has("inner.name"));
  EXPECT_FALSE(positions_.Has("inner.size"));
  EXPECT_EQ(At(positions_.Key("inner.size")), "2:1");
  EXPECT_EQ(At(positions_.Key("u32")), "1:1");
  EXPECT_EQ(positions_.Error(positions_.Key("inner"), "because").message(), "f.yaml:2:1: because");
}

TEST_F(ConfigTest, PointsIntoScalars) {
  struct Case {
    std::string yaml;
    std::string word;  // where this begins in the unfolded text
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"s: alpha beta", "beta", "1:10"},
      {"s: alpha\n  beta gamma", "gamma", "2:8"},
      {"s: \"alpha beta\"", "beta", "1:11"},
      {"s: \"a \\\"q\\\" beta\"", "beta", "1:13"},
      {"s: 'a ''q'' beta'", "beta", "1:13"},
      {"s: |\n  alpha\n    beta\n", "beta", "3:5"},
      {"i32: 1\ns: >\n  alpha\n  beta\n\n  gamma\n", "gamma", "6:3"},
      {"s: >-\n  alpha ==\n  beta\n", "==", "2:9"},
      {"s: >-\n  alpha ==\n  beta\n", "beta", "3:3"},
      {"s: \"alpha\n  beta\"", "beta", "2:3"},
  };
  for (const Case& c : cases) {
    ASSERT_THAT(Parse(c.yaml), IsOk()) << c.yaml;
    const std::string text =
        message_->GetReflection()->GetString(*message_, all_->FindFieldByName("s"));
    const std::size_t offset = text.find(c.word);
    ASSERT_NE(offset, std::string::npos) << c.yaml;
    EXPECT_EQ(At(positions_.Inside("s", offset)), c.expected) << c.yaml;
  }
}

TEST_F(ConfigTest, TheEnvironmentOverrides) {
  ASSERT_THAT(Parse("i32: 1\ninner: {name: a, size: 7}"), IsOk());
  std::vector<std::string> applied;
  const Environment environment = {{"TOCSIN_I32", "5"},
                                   {"TOCSIN_INNER_NAME", "b"},
                                   {"TOCSIN_INNER_CHILD_SIZE", "3"},
                                   {"TOCSIN_NAMES", "x, y"},
                                   {"TOCSIN_NUMBERS", "[1, 2]"},
                                   {"TOCSIN_LABELS", "{k: v}"},
                                   {"TOCSIN_COLOUR", "red"},
                                   {"TOCSIN_WAIT", "5s"},
                                   {"TOCSIN_QUEUE_BYTES", "2KiB"},
                                   {"TOCSIN_GATEWAY_SERVICE_HOST", "10.0.0.1"},
                                   {"PATH", "/bin"}};
  ASSERT_THAT(ApplyEnvironment(*message_, environment, &applied), IsOk());
  EXPECT_EQ(Text(),
            "i32: 5 colour: COLOUR_RED wait { seconds: 5 } queue_bytes: 2048 names: \"x\" names: "
            "\"y\" numbers: 1 numbers: 2 labels { key: \"k\" value: \"v\" } inner { name: \"b\" "
            "size: 7 child { size: 3 } }");
  EXPECT_EQ(applied.size(), 9U);
  EXPECT_THAT(applied, Not(testing::Contains("TOCSIN_GATEWAY_SERVICE_HOST")));

  EXPECT_THAT(ApplyEnvironment(*message_, {{"TOCSIN_I32", "many"}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("TOCSIN_I32 does not fit: 'i32' must be a whole number")));
  EXPECT_THAT(ApplyEnvironment(*message_, {{"TOCSIN_PASSWORDS", "hunter2"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("hunter2"))));
}

TEST_F(ConfigTest, TheBriefsExampleOfAVariable) {
  tocsin::config::v1::KafkaConfig kafka;
  ASSERT_THAT(ApplyEnvironment(kafka, {{"TOCSIN_BOOTSTRAP_SERVERS", "a:1,b:2"}}), IsOk());
  EXPECT_EQ(kafka.bootstrap_servers(), "a:1,b:2");
}

TEST_F(ConfigTest, DumpIsReadAgainAndHidesSecrets) {
  const std::string yaml =
      "i32: -5\n"
      "f: 1.5\n"
      "d: 0.1\n"
      "b: true\n"
      "s: \"a: b # \\\"c\\\"\\n\"\n"
      "raw: \"aGk=\"\n"
      "colour: dark_blue\n"
      "wait: 90s\n"
      "since: \"2016-01-15T13:24:00Z\"\n"
      "queue_bytes: 1MiB\n"
      "names:\n"
      "  - plain\n"
      "  - \"yes\"\n"
      "inners:\n"
      "  - name: a\n"
      "    size: 1\n"
      "  - {}\n"
      "labels:\n"
      "  a: \"1\"\n"
      "by_name:\n"
      "  x:\n"
      "    size: 3\n"
      "inner:\n"
      "  child: {}\n"
      "colours:\n"
      "  - red\n"
      "token_file: /etc/token\n"
      "maybe: 0\n";
  ASSERT_THAT(Parse(yaml), IsOk());
  EXPECT_EQ(Dump(*message_), yaml);

  ASSERT_THAT(Parse("client_secret: s3\n"
                    "database_url: postgres://u:p4@host/db?x=a@b\n"
                    "inner: {api_token: t5}\n"
                    "labels: {api-key: k6, harmless: h7}\n"
                    "passwords: {a: p8}\n"),
              IsOk());
  const std::string dump = Dump(*message_);
  for (const char* secret : {"s3", "p4", "t5", "k6", "p8"})
    EXPECT_THAT(dump, Not(HasSubstr(secret)));
  EXPECT_THAT(dump, HasSubstr("h7"));
  EXPECT_THAT(dump, HasSubstr("postgres://[redacted]@host/db?x=a@b"));
  message_->Clear();
  EXPECT_EQ(Dump(*message_), "{}\n");
}

TEST_F(ConfigTest, SchemaDescribesEveryField) {
  const nlohmann::json schema = nlohmann::json::parse(Schema(*all_));
  EXPECT_EQ(schema["$ref"], "#/$defs/t.All");
  const auto& properties = schema["$defs"]["t.All"]["properties"];
  EXPECT_EQ(schema["$defs"]["t.All"]["additionalProperties"], false);
  EXPECT_EQ(properties["i32"]["maximum"], 2147483647);
  EXPECT_EQ(properties["colour"]["enum"], nlohmann::json::parse(R"(["red","dark_blue"])"));
  EXPECT_EQ(properties["inner"]["$ref"], "#/$defs/t.Inner");
  EXPECT_EQ(properties["wait"]["type"], "string");
  EXPECT_TRUE(properties.contains("queue-bytes"));
  EXPECT_EQ(properties["labels"]["additionalProperties"]["type"], "string");
  EXPECT_TRUE(schema["$defs"].contains("t.Inner"));
}

TEST(ParseYamlTest, ReadsARule) {
  Rule rule;
  Positions positions;
  ASSERT_THAT(ParseYaml("id: x\n"
                        "severity: high\n"
                        "order: event-time\n"
                        "correlation:\n"
                        "  type: value_count\n"
                        "  group-by: [place]\n"
                        "  timespan: 10m\n"
                        "  condition: {gte: 2, field: agency}\n",
                        "x.yaml", rule, &positions),
              IsOk());
  EXPECT_EQ(rule.order(), tocsin::rule::v1::ORDER_EVENT_TIME);
  EXPECT_EQ(rule.severity(), tocsin::event::v1::SEVERITY_HIGH);
  EXPECT_EQ(rule.correlation().condition().gte(), 2);
  EXPECT_THAT(rule.correlation().condition().field(), ElementsAre("agency"));
  EXPECT_THAT(ParseYaml("correlation: {timspan: 10m}", "rules/x.yaml", rule),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "rules/x.yaml:1:15: unknown key 'timspan' in correlation; did you mean "
                       "'timespan'?"));
}

TEST(LoadFileTest, ReadsAFileAndSaysWhyItCannot) {
  using tocsin::config::v1::KafkaConfig;
  const std::string folder = ::testing::TempDir();
  const std::string path = folder + "/config_test_load.yaml";
  std::ofstream(path) << "bootstrap-servers: localhost:9092\n";
  const auto loaded = LoadFile<KafkaConfig>(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->bootstrap_servers(), "localhost:9092");
  EXPECT_THAT(LoadFile<KafkaConfig>(path + ".absent"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("cannot open")));
  EXPECT_THAT(LoadFile<KafkaConfig>(folder),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a regular file")));
}

}  // namespace
}  // namespace tocsin::config
