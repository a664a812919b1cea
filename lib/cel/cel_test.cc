#include "lib/cel/cel.h"

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
#include <google/protobuf/wrappers.pb.h>

#include <memory>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cel {
namespace {

using ::testing::HasSubstr;

constexpr char kProto[] = R"(
syntax = "proto3";
package shop.v1;
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Level { LEVEL_UNSPECIFIED = 0; LEVEL_LOW = 1; LEVEL_HIGH = 2; }
message Place { string street = 1; double lat = 2; Place near = 3; }
message Order {
  enum Kind { KIND_UNSPECIFIED = 0; KIND_GIFT = 3; }
  string id = 1; int32 count = 2; int64 total = 3; uint32 zone = 4; uint64 big = 5;
  float weight = 6; double price = 7; bool paid = 8; bytes raw = 9; Level level = 10; Kind kind = 11;
  Place place = 12; repeated string tags = 13; repeated int64 numbers = 14; repeated Place stops = 15;
  map<string, string> labels = 16; map<int32, Place> places = 17; map<bool, int64> flags = 18;
  google.protobuf.Timestamp made = 19; google.protobuf.Duration took = 20;
  optional int32 maybe = 21; oneof way { string road = 22; string rail = 23; }
  google.protobuf.StringValue wrapped = 24; repeated double doubles = 25; repeated Level levels = 26;
  repeated uint32 zones = 27;
}
)";

constexpr char kOrder[] = R"(
  id: "A-7" count: 3 total: 9223372036854775807 zone: 4 big: 18446744073709551615
  weight: 1.5 price: 19.99 paid: true raw: "\001\377" level: LEVEL_HIGH kind: KIND_GIFT
  place { street: "Hauptstraße 5" lat: 47.5 near { street: "Nebenweg" } }
  tags: "red" tags: "blue" numbers: 5 numbers: 7 stops { street: "one" } stops { street: "two" }
  labels { key: "env" value: "prod" } places { key: 2 value { street: "second" } }
  flags { key: true value: 1 }
  made { seconds: 1452864240 } took { seconds: 90 nanos: 500000000 }
  road: "B27" doubles: 0.5 levels: LEVEL_LOW zones: 9
)";

class CelTest : public ::testing::Test {
 protected:
  CelTest() : pool_(google::protobuf::DescriptorPool::generated_pool()) {
    google::protobuf::Duration::descriptor();
    google::protobuf::Timestamp::descriptor();
    google::protobuf::StringValue::descriptor();
    google::protobuf::io::ArrayInputStream input(kProto, sizeof(kProto) - 1);
    google::protobuf::io::Tokenizer tokenizer(&input, nullptr);
    google::protobuf::FileDescriptorProto file;
    file.set_name("shop.proto");
    google::protobuf::compiler::Parser parser;
    EXPECT_TRUE(parser.Parse(&tokenizer, &file));
    EXPECT_NE(pool_.BuildFile(file), nullptr);
    type_ = pool_.FindMessageTypeByName("shop.v1.Order");
    order_.reset(factory_.GetPrototype(type_)->New());
    empty_.reset(factory_.GetPrototype(type_)->New());
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kOrder, order_.get()));
  }

  // "true", "false", or the first line of the error.
  std::string Evaluate(std::string_view expression, const google::protobuf::Message& message) {
    const auto program = Compile(expression, type_);
    if (!program.ok()) return Concat("refused: ", Message(program.status()));
    const std::string answer = Text((*program)->EvaluateBool(message));
    // Over the message's bytes it is the same.
    const auto projection =
        schema::WireProjection::Compile(message.GetDescriptor(), (*program)->paths());
    schema::ProjectedMessage projected(projection, message);
    const std::string bytes = message.SerializeAsString();
    EXPECT_TRUE(projected.Read(bytes));
    std::vector<std::uint32_t> slots;
    for (const schema::FieldPath& path : (*program)->paths()) {
      slots.push_back(static_cast<std::uint32_t>(projection->SlotOf(path)));
    }
    const schema::FieldView fields(projected, slots.data());
    if (message.GetDescriptor() == type_) {
      EXPECT_EQ(Text((*program)->EvaluateBool(fields)), answer) << expression;
    }
    return answer;
  }

  static std::string Text(const absl::StatusOr<bool>& result) {
    if (!result.ok()) return Split(Message(result.status()), '\n').front();
    return *result ? "true" : "false";
  }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::Descriptor* type_ = nullptr;
  std::unique_ptr<google::protobuf::Message> order_;
  std::unique_ptr<google::protobuf::Message> empty_;
};

TEST_F(CelTest, SingleValuesAreReadWithoutAMessage) {
  const auto reads = [&](std::string_view expression) {
    const auto program = Compile(expression, type_).value();
    std::vector<std::string> names;
    for (const schema::FieldPath& path : program->paths()) {
      std::string name;
      for (const auto* step : path) name += Concat(name.empty() ? "" : ".", step->name());
      names.push_back(name);
    }
    return names;
  };
  EXPECT_THAT(reads("count > 2 && (place.near.street == 'x' || has(maybe)) && count < 9"),
              ::testing::ElementsAre("count", "place.near.street", "maybe"));
  EXPECT_THAT(reads("made > timestamp('2016-01-01T00:00:00Z')"),
              ::testing::ElementsAre("made.seconds", "made.nanos"));
  EXPECT_THAT(reads("count > 2 && 'red' in tags"), ::testing::IsEmpty());
  EXPECT_THAT(reads("(paid ? place : place.near).street == 'x'"), ::testing::IsEmpty());
}

TEST_F(CelTest, AComparisonBehindAChoiceComparesBoth) {
  for (const char* expression :
       {"(paid ? count : maybe) == 3", "(!paid ? maybe : count) == 3", "(paid ? 3 : count) == 3",
        "(count == 3 ? paid : !paid) == true"}) {
    EXPECT_EQ(Evaluate(expression, *order_), "true") << expression;
  }
  EXPECT_EQ(Evaluate("(paid ? maybe : count) == 3", *order_), "false");
}

TEST_F(CelTest, Evaluates) {
  struct Case {
    std::string expression;
    std::string expected;
  };
  const std::string overflow = "the result is out of range of an int";
  const std::vector<Case> cases = {
      // Literals.
      {"true", "true"},
      {"false", "false"},
      {"null == null", "true"},
      {"1 == 0x1 && 0xffu == 255u", "true"},
      {"-9223372036854775808 < -9223372036854775807", "true"},
      {"1.5 == 15e-1 && .5 < 1.0", "true"},
      {R"("a\tb\x41\u00e9\U0001F600\101\"" == 'a	bAé😀A"')", "true"},
      {R"(r"a\d" == "a\\d")", "true"},
      {"'''two\nlines''' == 'two\\nlines'", "true"},
      {R"("""say "hi" """ == 'say "hi" ')", "true"},
      {R"(b"\xff\001" == b'\377\x01')", "true"},
      {R"(rb"\x" == b"\\x" && bR'\n' != b'\n')", "true"},
      {"true // a comment\n && true", "true"},
      // Fields.
      {"id == 'A-7'", "true"},
      {"count == 3 && total == 9223372036854775807", "true"},
      {"zone == 4u && big == 18446744073709551615u", "true"},
      {"weight == 1.5 && price > 19.9", "true"},
      {"paid", "true"},
      {"raw == b'\\x01\\xff'", "true"},
      {"place.street == 'Hauptstraße 5'", "true"},
      {"place.near.street == 'Nebenweg'", "true"},
      {"place.near.near.near.street == ''", "true"},
      {"level == Level.LEVEL_HIGH", "true"},
      {"level == shop.v1.Level.LEVEL_HIGH", "true"},
      {"level == .shop.v1.Level.LEVEL_LOW", "false"},
      {"kind == Kind.KIND_GIFT && kind == Order.Kind.KIND_GIFT", "true"},
      {"level == 2", "true"},
      {"level in [Level.LEVEL_LOW, Level.LEVEL_HIGH]", "true"},
      {"Level.LEVEL_LOW in levels", "true"},
      // Presence.
      {"has(id) && has(place) && has(place.near) && !has(place.near.near)", "true"},
      {"has(maybe)", "false"},
      {"has(road) && !has(rail)", "true"},
      {"has(tags) && has(labels)", "true"},
      {"has(labels.env) && !has(labels.other)", "true"},
      // Comparison.
      {"1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 != 2", "true"},
      {"'a' < 'b' && 'Z' < 'a' && 'a' < 'ab'", "true"},
      {"b'a' < b'b'", "true"},
      {"false < true", "true"},
      {"0.0 / 0.0 == 0.0 / 0.0", "false"},
      {"0.0 / 0.0 < 1.0 || 0.0 / 0.0 >= 1.0", "false"},
      {"1.0 / 0.0 > 1e308 && -1.0 / 0.0 < -1e308", "true"},
      {"[1, 2] == [1, 2] && [1, 2] != [2, 1] && [] == [] && [1] != []", "true"},
      {"tags == ['red', 'blue']", "true"},
      // Logic; an error that does not matter is absorbed.
      {"true && false", "false"},
      {"true && true && true && false", "false"},
      {"false || false || true", "true"},
      {"!true || !!true", "true"},
      {"false && 1 / 0 == 1", "false"},
      {"1 / 0 == 1 && false", "false"},
      {"1 / 0 == 1 && true && false", "false"},
      {"true || 1 / 0 == 1", "true"},
      {"1 / 0 == 1 || true", "true"},
      {"1 / 0 == 1 && true", "division by zero"},
      {"1 / 0 == 1 || false", "division by zero"},
      {"!(1 / 0 == 1)", "division by zero"},
      {"1 / 0 == 1 || 2 / 0 == 1 || paid", "true"},
      {"true || false && false", "true"},
      // The conditional.
      {"paid ? count == 3 : 1 / 0 == 1", "true"},
      {"!paid ? 1 / 0 == 1 : true", "true"},
      {"1 / 0 == 1 ? true : true", "division by zero"},
      {"(count > 2 ? 'many' : 'few') == 'many'", "true"},
      {"false ? true : false ? false : true", "true"},
      {"(true ? [] : [1]) == []", "true"},
      // in
      {"'red' in tags && !('green' in tags)", "true"},
      {"count in [1, 2, 3]", "true"},
      {"count in []", "false"},
      {"id in ['A-7', id + 'x']", "true"},
      {"'env' in labels && !('x' in labels)", "true"},
      {"2 in places && true in flags && !(false in flags)", "true"},
      {"zone in [4u] && 9u in zones", "true"},
      {"1 / 0 in [1]", "division by zero"},
      {"1 in [1 / 0]", "division by zero"},
      // Arithmetic.
      {"1 + 2 * 3 - 4 / 2 == 5", "true"},
      {"7 % 3 == 1 && -7 % 3 == -1 && -7 / 2 == -3", "true"},
      {"7u / 2u == 3u && 7u % 2u == 1u", "true"},
      {"1.0 + 0.5 * 2.0 == 2.0", "true"},
      {"'a' + 'b' == 'ab' && b'a' + b'b' == b'ab'", "true"},
      {"[1] + [2] == [1, 2] && tags + ['x'] == ['red', 'blue', 'x']", "true"},
      {"-count == -3 && -(-2.5) == 2.5 && - -1 == 1", "true"},
      {"10 - 3 - 2 == 5", "true"},
      {"9223372036854775807 + 1 > 0", overflow},
      {"-9223372036854775808 - 1 < 0", overflow},
      {"9223372036854775807 * 2 > 0", overflow},
      {"-9223372036854775808 / -1 > 0", overflow},
      {"-9223372036854775808 % -1 == 0", overflow},
      {"-(-9223372036854775808) > 0", overflow},
      {"total + 1 > 0", overflow},
      {"0u - 1u > 0u", "the result is out of range of a uint"},
      {"big + 1u > 0u", "the result is out of range of a uint"},
      {"1 % 0 == 0", "division by zero"},
      {"1u / 0u == 0u", "division by zero"},
      // Text.
      {"id.contains('-') && !id.contains('x') && id.contains('')", "true"},
      {"id.startsWith('A') && id.endsWith('7')", "true"},
      {"id.matches('^[A-Z]-\\\\d$') && matches(id, 'A')", "true"},
      {"id.matches(r'\\d{2}')", "false"},
      {"id.matches('^' + 'A')", "true"},
      {"id.matches('(' + id)", "the pattern is not a regular expression"},
      {"'ÄB'.lowerAscii() == 'Äb' && 'aé'.upperAscii() == 'Aé'", "true"},
      {"size('añ😀') == 3 && 'añ'.size() == 2 && size(b'añ') == 3", "true"},
      {"size(tags) == 2 && labels.size() == 1 && size([1, 2, 3]) == 3 && size([]) == 0", "true"},
      // Index.
      {"tags[0] == 'red' && tags[1] == 'blue'", "true"},
      {"stops[1].street == 'two'", "true"},
      {"tags[2] == 'x'", "the index is outside the list"},
      {"tags[-1] == 'x'", "the index is outside the list"},
      {"[1, 2][1] == 2", "true"},
      {"labels['env'] == 'prod' && labels.env == 'prod'", "true"},
      {"places[2].street == 'second' && flags[true] == 1", "true"},
      {"labels['x'] == 'y'", "the map has no such key"},
      {"labels.x == 'y' || paid", "true"},
      // Conversions.
      {"int('42') == 42 && int(3.9) == 3 && int(-3.9) == -3 && int(7u) == 7", "true"},
      {"uint(7) == 7u && double(2) == 2.0 && string(1.5) == '1.5' && string(true) == 'true'",
       "true"},
      {"int(zone) == 4 && double(count) / 2.0 == 1.5", "true"},
      {"int(1e19) == 0", "the number is out of range of an int"},
      {"int(0.0 / 0.0) == 0", "the number is out of range of an int"},
      {"int(big) == 0", "the number is out of range of an int"},
      {"uint(-1) == 0u", "the number is out of range of a uint"},
      {"int('x') == 0", "the text is not an int"},
      {"double('1e3') == 1000.0", "true"},
      // Time.
      {"made == timestamp('2016-01-15T13:24:00Z')", "true"},
      {"made < timestamp('2016-01-15T14:24:00.5+01:00')", "true"},
      {"took == duration('1m30.5s') && took > duration('90s') && duration('-1h') < duration('0')",
       "true"},
      {"made + duration('1m') - made == duration('60s')", "true"},
      {"made - took == timestamp('2016-01-15T13:22:29.500Z')", "true"},
      {"int(made) == 1452864240", "true"},
      {"timestamp('9999-12-31T23:59:59Z') + duration('1s') > made",
       "the timestamp is out of range"},
      {"timestamp('soon') > made", "the text is not a timestamp"},
      {"duration('5 minutes') > took", "the text is not a duration"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(Evaluate(c.expression, *order_), c.expected) << c.expression;
}

TEST_F(CelTest, AnEmptyMessageHasDefaults) {
  for (const char* expression :
       {"id == ''", "count == 0", "!paid", "place.street == ''", "size(tags) == 0",
        "level == Level.LEVEL_UNSPECIFIED", "!has(id)", "!has(place)", "!has(place.street)",
        "!has(tags)", "!('a' in labels)", "made == timestamp('1970-01-01T00:00:00Z')",
        "took == duration('0s')", "maybe == 0", "road == ''"}) {
    EXPECT_EQ(Evaluate(expression, *empty_), "true") << expression;
  }
}

TEST_F(CelTest, RefusesWithPlaceAndReason) {
  struct Case {
    std::string expression;
    std::string message;
  };
  const std::vector<Case> cases = {
      // Lexis and grammar.
      {"", "1:1: the expression ends too early: a value is missing"},
      {"count = 3", "1:7: a single '=' means nothing here; write == to compare"},
      {"paid & paid", "1:6: a single '&' means nothing here"},
      {"paid and paid", "1:6: 'and' is written &&"},
      {"paid or paid", "'or' is written ||"},
      {"not paid", "1:1: 'not' is written !"},
      {"count == 'x", "1:10: this text is not closed: a quote is missing"},
      {"id == 'a\nb'", "this text is not closed on its line"},
      {"id == '\\q'", "1:8: unknown escape '\\q'"},
      {"id == '\\xZ1'", "an escape of this kind has 2 digits"},
      {"id == '\\ud800'", "not a Unicode code point"},
      {"raw == b'\\u0041'", "unknown escape"},
      {"count == 3x", "1:10: '3x' is neither a number nor a name"},
      {"count == 99999999999999999999", "1:10: the number 99999999999999999999 is out of range"},
      {"count == 9223372036854775808", "out of range of an int"},
      {"count == 0x", "digits are missing after 0x"},
      {"price == 1e999", "out of range"},
      {"(count == 3", "1:12: the expression ends too early: ')' is missing"},
      {"count == 3)", "1:11: unexpected ')'"},
      {"count == ", "a value is missing"},
      {"count === 3", "1:9: a single '='"},
      {"id.", "a name after '.' is missing"},
      {"[1, 2", "',' or ']' is missing"},
      {"{'a': 1} == labels", "1:1: maps and messages cannot be written"},
      {"paid ? true", "':' is missing"},
      {"for == 1", "1:1: 'for' is a reserved word"},
      {"id == \"a\" @", "'@' means nothing here"},
      {"id == ‘a’", "'‘' means nothing here"},
      {"paid\n  && cout == 3", "2:6: unknown field 'cout' in shop.v1.Order; did you mean 'count'?"},
      // Names.
      {"cuont == 3", "1:1: unknown field 'cuont' in shop.v1.Order; did you mean 'count'?"},
      {"zzzzzzzzzzzz == 3", "its fields: id, count, total"},
      {"place.stret == ''", "1:7: unknown field 'stret' in shop.v1.Place; did you mean 'street'?"},
      {"count.x == 3", "1:7: 'x' cannot be selected from a value of type int"},
      {"level == Level.LEVEL_HIHG", "has no value 'LEVEL_HIHG'; did you mean 'LEVEL_HIGH'?"},
      {"level == Level", "'Level' is an enum; write one of its values after it"},
      {"id.contain('a')", "1:4: unknown function 'contain'; did you mean 'contains'?"},
      {"tags.exists(t, t == 'a')", "unknown function 'exists'"},
      {"has(id == '')", "has() takes one field"},
      {"has(Level.LEVEL_LOW)", "has() takes a field"},
      {"wrapped == 'x'", "1:1: the field 'wrapped' has the type google.protobuf.StringValue"},
      // Types.
      {"count", "1:1: the expression must say true or false, and this is of type int"},
      {"id + 'x'", "the expression must say true or false, and this is of type string"},
      {"count == '3'", "1:7: '==' cannot compare int and string; text is written in quotes"},
      {"zone == 4", "1:6: '==' cannot compare uint and int; a uint is written with a u: 1u"},
      {"price > 3", "a double is written with a point: 1.0"},
      {"level == 'HIGH'", "write a value of the enum, such as shop.v1.Level.LEVEL_HIGH"},
      {"made > '2016-01-15T13:24:00Z'", "write timestamp("},
      {"took > '90s'", "write duration("},
      {"place == place", "cannot be compared as a whole"},
      {"labels == labels", "cannot be compared as a whole"},
      {"place == null", "a message field is never null: ask with has()"},
      {"id == null", "cannot compare string and null"},
      {"tags < tags", "have no order"},
      {"count && paid", "1:1: '&&' joins bools, and this is of type int"},
      {"paid || id", "1:9: '||' joins bools, and this is of type string"},
      {"!count", "1:1: '!' takes a bool, not int"},
      {"-id == ''", "'-' takes an int or a double, not string"},
      {"-zone == 0u", "'-' takes an int or a double, not uint"},
      {"count ? true : false", "what stands before '?' must be a bool"},
      {"(paid ? 1 : 'x') == 1", "both sides of ':' must be of one type, not int and string"},
      {"count in 3", "must be a list or a map, not int"},
      {"'a' in id", "for text use contains()"},
      {"count in ['a']", "a value of type int is never in a list(string)"},
      {"count in labels", "a value of type int is never in a map(string, string)"},
      {"count in [1, 'a']", "1:14: the elements of a list must be of one type"},
      {"id - 'x' == ''", "'-' cannot take string and string"},
      {"price % 2.0 == 0.0", "'%' cannot take double and double"},
      {"count + 1.5 == 0.0", "'+' cannot take int and double"},
      {"tags['a'] == ''", "a list is indexed by an int, not by string"},
      {"labels[1] == ''", "the keys of this map are of type string, not int"},
      {"id[0] == ''", "only lists and maps have an index"},
      {"id.contains(1)", "there is no string.contains(int); there is string.contains(string)"},
      {"contains(id, 'a')", "there is no contains(string, string)"},
      {"size(1) == 1", "there is no size(int)"},
      {"id.matches('(')", "1:12: not a regular expression (RE2 syntax)"},
      {"id.matches('a{1000}{1000}')", "not a regular expression"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Compile(c.expression, type_),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.expression;
  }
}

TEST_F(CelTest, PointsAtThePlace) {
  CompileError error;
  EXPECT_THAT(Compile("paid &&\n\tplace.streeet == 'x'", type_, &error),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "2:8: unknown field 'streeet' in shop.v1.Place; did you mean 'street'?\n"
                       "  \tplace.streeet == 'x'\n"
                       "  \t      ^"));
  EXPECT_EQ(error.offset, 15U);
  EXPECT_EQ(error.line, 2);
  EXPECT_EQ(error.column, 8);
  // Characters of several bytes count once for the caret.
  EXPECT_THAT(Compile("'ää' == 1", type_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\n  'ää' == 1\n       ^")));
  // A long line is cut around the place.
  const std::string padding(300, 'x');
  EXPECT_THAT(Compile("'" + padding + "' == 1 || '" + padding + "' == ''", type_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("…")));
}

TEST_F(CelTest, TheMessageMustBeOfTheTypeCompiledFor) {
  const auto program = Compile("paid", type_);
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT((*program)->EvaluateBool(google::protobuf::Duration()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("compiled for shop.v1.Order, not for this "
                                 "google.protobuf.Duration")));
}

std::string Repeat(std::string_view part, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += part;
  return out;
}

TEST_F(CelTest, HostileExpressionsAreRefused) {
  for (const std::string& expression : {
           Repeat("(", 8000),
           Repeat("[", 8000),
           Repeat("!", 8000) + "true",
           Repeat("- ", 8000) + "1 == 1",
           Repeat("(", 8000) + "1" + Repeat(")", 8000),
           "place" + Repeat(".near", 3000) + ".street == ''",
           "1" + Repeat("+1", 7000) + " == 1",
           Repeat("true ? ", 2000),
           Repeat("paid ? paid : ", 1000) + "paid",
           Repeat("size(", 3000),
           "tags" + Repeat("[0]", 4000) + " == ''",
           "'" + std::string(20'000, 'x') + "' == id",
           "count in [" + Repeat("1,", 7000) + "1]",
       }) {
    EXPECT_THAT(Compile(expression, type_), StatusIs(absl::StatusCode::kInvalidArgument))
        << expression.substr(0, 40);
  }
}

TEST_F(CelTest, LongChainsOfLogicAreFine) {
  EXPECT_EQ(Evaluate("count == 0" + Repeat(" || count == 1", 600) + " || paid", *order_), "true");
  EXPECT_EQ(Evaluate("paid" + Repeat(" && paid", 1500), *order_), "true");
  EXPECT_EQ(Evaluate(Repeat("(", 60) + "paid" + Repeat(")", 60), *order_), "true");
}

TEST_F(CelTest, WhatAnEvaluationMakesIsBounded) {
  order_->GetReflection()->SetString(order_.get(), type_->FindFieldByName("id"),
                                     std::string(1'000'000, 'a'));
  EXPECT_EQ(Evaluate("size(id" + Repeat(" + id", 60) + ") > 0", *order_),
            "the text grows too large");
  EXPECT_EQ(Evaluate("size(id + id) == 2000000", *order_), "true");
}

}  // namespace
}  // namespace tocsin::cel
