#include "lib/schema/compiled_schema.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::schema {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<std::shared_ptr<const CompiledSchema>> Compile(
    std::string text, const std::vector<SourceFile>& imports = {}, CompileLimits limits = {}) {
  return CompiledSchema::Compile({"main.proto", std::move(text)}, imports, limits);
}

constexpr char kNested[] = R"(
syntax = "proto3";
package p;
import "google/protobuf/timestamp.proto";
message First { google.protobuf.Timestamp at = 1; }
message Second {
  message Inner { message Deep {} }
  map<string, Inner> by_name = 1;
}
)";

TEST(CompiledSchema, FindsMessagesByIndexAndByName) {
  const auto schema = Compile(kNested);
  ASSERT_THAT(schema, IsOk());
  const std::vector<std::int32_t> path = {1, 0, 0};
  const auto deep = (*schema)->MessageAt(path);
  ASSERT_THAT(deep, IsOk());
  EXPECT_EQ((*deep)->full_name(), "p.Second.Inner.Deep");
  EXPECT_EQ(MessageIndexes(**deep), path);
  EXPECT_EQ((*schema)->FindMessage("p.Second.Inner.Deep"), *deep);
  EXPECT_EQ((*schema)->FindMessage("Second"), nullptr);
  EXPECT_EQ((*schema)->FindMessage("google.protobuf.Timestamp"), nullptr) << "of an import";
  EXPECT_THAT((*schema)->MessageNames(),
              ElementsAre("p.First", "p.Second", "p.Second.Inner", "p.Second.Inner.Deep"));
}

TEST(CompiledSchema, IndexOutsideTheFile) {
  const auto schema = Compile(kNested);
  ASSERT_THAT(schema, IsOk());
  const auto message = [&](std::vector<std::int32_t> path) { return (*schema)->MessageAt(path); };
  EXPECT_THAT(message({2}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("2 messages at its top level; the message index 2 names none")));
  EXPECT_THAT(message({0, 0}), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("p.First has 0 nested messages")));
  EXPECT_THAT(message({-1}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(message({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

struct BadText {
  std::string name;
  std::string text;
  std::string message;
};

class CompilerRefuses : public ::testing::TestWithParam<BadText> {};

TEST_P(CompilerRefuses, WithPosition) {
  const std::vector<SourceFile> imports = {
      {"a.proto", "syntax='proto3';\nimport 'b.proto';"},
      {"b.proto", "syntax='proto3';\n\n  import 'a.proto';"},
      {"broken.proto", "syntax='proto3';\nmessage { }"},
  };
  EXPECT_THAT(Compile(GetParam().text, imports),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Table, CompilerRefuses,
    ::testing::Values(
        BadText{"NotProto", "{\"type\": \"record\"}", "main.proto:1:1: "},
        BadText{"Syntax", "syntax='proto3';\nmessage A { int32 = 1; }",
                "main.proto:2:19: Expected"},
        BadText{"UnknownType", "syntax='proto3';\nmessage A {\n  Missing m = 1;\n}",
                "main.proto:3:3: \"Missing\" is not defined"},
        BadText{"NumberTwice", "syntax='proto3';\nmessage A { int32 a = 1; int32 b = 1; }",
                "main.proto:2:36: Field number 1 has already been used"},
        BadText{"UnknownSyntax", "syntax='proto9';", "main.proto:1:8: Unrecognized syntax"},
        BadText{"UnterminatedText", "syntax='proto3", "main.proto:1:15: "},
        BadText{
            "MissingImport", "syntax='proto3';\nimport 'nowhere.proto';",
            "main.proto:2:1: import \"nowhere.proto\" was not found: there is no file of exactly"},
        BadText{"Cycle", "syntax='proto3';\nimport 'a.proto';",
                "b.proto:3:3: import cycle: a.proto → b.proto → a.proto"},
        BadText{"ImportsItself", "syntax='proto3';\nimport 'main.proto';",
                "main.proto:2:1: import cycle: main.proto → main.proto"},
        BadText{"BrokenImport", "syntax='proto3';\nimport 'broken.proto';", "broken.proto:2:9: "}),
    [](const auto& test) { return test.param.name; });

TEST(CompiledSchema, SeveralErrorsAreListed) {
  EXPECT_THAT(Compile("syntax='proto3';\nmessage A { X x = 1;\n Y y = 2; }"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "main.proto:2:13: \"X\" is not defined.\n"
                       "main.proto:3:2: \"Y\" is not defined."));
}

TEST(CompiledSchema, ListOfErrorsIsBounded) {
  std::string text = "syntax='proto3'; message A {\n";
  for (int i = 1; i <= 100; ++i) text += Concat("Missing", i, " f", i, " = ", i, ";\n");
  const auto schema = Compile(text + "}");
  EXPECT_THAT(schema,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\n… and 80 more errors")));
}

TEST(CompiledSchema, TooLarge) {
  CompileLimits limits;
  limits.max_text_bytes = 100;
  EXPECT_THAT(Compile(std::string(101, ' '), {}, limits),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "main.proto: the text is 101 bytes, more than the limit of 100"));
}

TEST(CompiledSchema, TooLargeWithImports) {
  CompileLimits limits;
  limits.max_total_bytes = 100;
  EXPECT_THAT(Compile("syntax='proto3'; import 'i.proto';",
                      {{"i.proto", "syntax='proto3';" + std::string(70, ' ')}}, limits),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 100 bytes")));
}

TEST(CompiledSchema, TooManyImports) {
  CompileLimits limits;
  limits.max_imports = 1;
  EXPECT_THAT(Compile("syntax='proto3'; import 'i.proto'; import 'j.proto';",
                      {{"i.proto", "syntax='proto3';"}, {"j.proto", "syntax='proto3';"}}, limits),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 1 imported")));
}

std::string Nested(int depth) {
  std::string text = "syntax='proto3';";
  for (int i = 0; i < depth; ++i) text += Concat("message M", i, "{");
  return text + std::string(static_cast<std::size_t>(depth), '}');
}

TEST(CompiledSchema, DeepNesting) {
  EXPECT_THAT(Compile(Nested(30)), IsOk());
  EXPECT_THAT(Compile(Nested(33)), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("nested deeper than 32 levels of braces")));
  // Deep enough to overflow the stack of a parser that recurses.
  EXPECT_THAT(Compile(Nested(60'000)), StatusIs(absl::StatusCode::kInvalidArgument,
                                                HasSubstr("nested deeper than 32 levels")));
}

TEST(CompiledSchema, BracesInTextAndCommentsDoNotNest) {
  std::string comment = "syntax='proto3'; /*" + std::string(500, '{') + "*/ //" +
                        std::string(500, '{') + "\nmessage A { string a = 1 [json_name='" +
                        std::string(500, '{') + "']; }";
  EXPECT_THAT(Compile(comment), IsOk());
}

TEST(CompiledSchema, TooManyFields) {
  std::string text = "syntax='proto3'; message A {";
  for (int i = 1; i <= 10'001; ++i)
    text += Concat("int32 f", i, "=", i < 19'000 ? i : i + 1000, ";");
  EXPECT_THAT(Compile(text + "}"), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("message A has 10001 fields")));
}

TEST(CompiledSchema, FingerprintIgnoresLayoutAndNames) {
  const auto one = CompiledSchema::Compile(
      {"one.proto", "syntax='proto3'; // A\nmessage A { int32 some_number = 1; }"});
  const auto two = CompiledSchema::Compile(
      {"two.proto", "syntax = \"proto3\";\n\nmessage A {\n  int32 some_number = 1;\n}\n"});
  const auto other = CompiledSchema::Compile(
      {"two.proto", "syntax='proto3'; message A { int64 some_number = 1; }"});
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(two, IsOk());
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ((*one)->fingerprint(), (*two)->fingerprint());
  EXPECT_NE((*one)->fingerprint(), (*other)->fingerprint());
}

TEST(CompiledSchema, SerializedFormComesBackAsText) {
  const std::vector<SourceFile> imports = {{"i.proto", "syntax='proto3'; message I {}"}};
  const auto schema = Compile(
      "syntax='proto3'; package p; import 'i.proto'; import 'google/protobuf/any.proto';\n"
      "message A { I i = 1; google.protobuf.Any any_of_them = 2; }",
      imports);
  ASSERT_THAT(schema, IsOk());
  const auto text = TextOfSerialized((*schema)->Serialized(), imports);
  ASSERT_THAT(text, IsOk());
  const auto again = Compile(*text, imports);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ((*again)->fingerprint(), (*schema)->fingerprint());
  EXPECT_THAT(TextOfSerialized((*schema)->Serialized()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("import \"i.proto\"")));
  EXPECT_THAT(TextOfSerialized("\xff\xff"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a serialized")));
}

TEST(CompiledSchema, ImportsOfAText) {
  const auto imports = ImportsOf({"m.proto",
                                  "syntax='proto3'; import 'b.proto'; import public 'a.proto'; "
                                  "import 'google/protobuf/any.proto';"});
  ASSERT_THAT(imports, IsOk());
  EXPECT_THAT(*imports, ElementsAre("b.proto", "a.proto"));
}

TEST(CompiledSchema, AllWellKnownTypesAreBuiltIn) {
  std::string text = "syntax='proto3';";
  for (const std::string_view name :
       {"any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct",
        "timestamp", "type", "wrappers"}) {
    text += Concat("import 'google/protobuf/", name, ".proto';");
  }
  for (const std::string_view name :
       {"calendar_period", "color", "date", "datetime", "dayofweek", "decimal", "expr", "fraction",
        "interval", "latlng", "localized_text", "money", "month", "phone_number", "postal_address",
        "quaternion", "timeofday"}) {
    text += Concat("import 'google/type/", name, ".proto';");
  }
  for (const std::string_view name : {"meta", "type/decimal", "type/variant"}) {
    text += Concat("import 'confluent/", name, ".proto';");
  }
  const auto schema = Compile(text);
  ASSERT_THAT(schema, IsOk());
  for (int i = 0; i < (*schema)->file().dependency_count(); ++i) {
    EXPECT_TRUE(IsWellKnownImport((*schema)->file().dependency(i)->name()));
  }
  EXPECT_FALSE(IsWellKnownImport("google/type/nothing.proto"));
}

TEST(CompiledSchema, WellKnownTypesAreShared) {
  const std::string text =
      "syntax='proto3'; import 'google/type/money.proto'; message A { google.type.Money m = 1; }";
  const auto one = Compile(text);
  const auto other = Compile(text);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ((*one)->file().message_type(0)->field(0)->message_type(),
            (*other)->file().message_type(0)->field(0)->message_type());
}

TEST(CompiledSchema, ManyThreadsCompileOverTheSharedTypes) {
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&wrong, thread] {
      for (int i = 0; i < 20; ++i) {
        const std::string name = Concat("M", thread, "_", i);
        const auto schema = Compile(
            Concat("syntax='proto3'; import 'confluent/meta.proto'; "
                   "import 'google/type/interval.proto'; message ",
                   name, " { google.type.Interval at = 1 [(confluent.field_meta).doc = 'd']; }"));
        if (!schema.ok() || NormalizedText(**schema).find("doc: \"d\"") == std::string::npos) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(CompiledSchema, AnImportMayReplaceAWellKnownType) {
  const std::vector<SourceFile> imports = {
      {"google/protobuf/timestamp.proto",
       "syntax='proto3'; package google.protobuf; message Timestamp { string text = 1; }"}};
  const auto schema = Compile(
      "syntax='proto3'; import 'google/protobuf/timestamp.proto'; "
      "import 'google/protobuf/any.proto'; import 'google/type/interval.proto'; "
      "message A { google.protobuf.Timestamp t = 1; google.type.Interval i = 2; }",
      imports);
  ASSERT_THAT(schema, IsOk());
  const auto* message = (*schema)->file().message_type(0);
  EXPECT_NE(message->field(0)->message_type()->FindFieldByName("text"), nullptr);
  EXPECT_EQ(message->field(1)->message_type()->field(0)->message_type(),
            message->field(0)->message_type());
}

TEST(CompiledSchema, AWellKnownTypeMayBeRegisteredItself) {
  const auto schema = CompiledSchema::Compile(
      {"google/protobuf/timestamp.proto",
       "syntax='proto3'; package google.protobuf; message Timestamp { int64 seconds = 1; }"});
  ASSERT_THAT(schema, IsOk());
  EXPECT_NE((*schema)->FindMessage("google.protobuf.Timestamp"), nullptr);
  EXPECT_THAT(Compile("syntax='proto3'; package google.type; import 'google/type/date.proto'; "
                      "message Date {}"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("main.proto:1:80: \"google.type.Date\" is already defined in file "
                                 "\"google/type/date.proto\"")));
}

TEST(CompiledSchema, CustomOptions) {
  EXPECT_THAT(Compile("syntax='proto3'; import 'google/protobuf/descriptor.proto';\n"
                      "extend google.protobuf.FieldOptions { string note = 50000; }\n"
                      "message A { int32 a = 1 [(note) = 'hello']; }"),
              IsOk());
}

}  // namespace
}  // namespace tocsin::schema
