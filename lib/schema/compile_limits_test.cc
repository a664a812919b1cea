// Hostile texts: refused with what, where and what to do; or compiled, in the time of a text.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::shared_ptr<const CompiledSchema>> Compile(
    std::string text, const std::vector<SourceFile>& imports = {}, CompileLimits limits = {}) {
  return CompiledSchema::Compile({"main.proto", std::move(text)}, imports, limits);
}

auto Refused(const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
}

std::string ManyFields(int count, std::string_view type) {
  std::string text = "syntax='proto3'; message A {\n";
  for (int i = 1; i <= count; ++i) {
    text += Concat(type, " field_", i, " = ", i < 19'000 ? i : i + 1000, ";\n");
  }
  return text + "}";
}

TEST(CompileLimitsTest, TenMegabytes) {
  EXPECT_THAT(Compile("syntax='proto3'; message A {} //" + std::string(10 << 20, 'x')),
              Refused("bytes, more than the limit of 1048576"));
}

TEST(CompileLimitsTest, AsMuchAsIsAllowed) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  std::string text = "syntax='proto3';\n";
  for (int i = 0; i < 5'000; ++i) {
    text += Concat("message M", i, " { int32 a = 1; repeated string some_longer_name = 2; }\n");
  }
  text += "//" + std::string(kMost - 100 - text.size(), 'x');
  EXPECT_THAT(Compile(text), IsOk());
  for (const char* piece :
       {"{", "[", "(", "\"", "/*", "message A {", "1 ", "-", "\xff", "import ", "message A{}"}) {
    std::string repeated;
    while (repeated.size() < kMost - 20) repeated += piece;
    EXPECT_FALSE(Compile(repeated).ok()) << piece;
  }
}

TEST(CompileLimitsTest, TenThousandFields) {
  const auto older = Compile(ManyFields(10'000, "int32"));
  ASSERT_THAT(older, IsOk());
  EXPECT_THAT(Compile(ManyFields(10'001, "int32")),
              Refused("message A has 10001 fields, values or reserved ranges, more than the limit "
                      "of 10000"));
  CompileLimits limits;
  limits.max_fields = 3;
  EXPECT_THAT(Compile(ManyFields(4, "int32"), {}, limits), Refused("more than the limit of 3"));
  const auto newer = Compile(ManyFields(10'000, "string"));
  ASSERT_THAT(newer, IsOk());
  const std::vector<std::shared_ptr<const CompiledSchema>> history = {*older};
  const auto verdict = CheckHistory(history, **newer, CompatibilityLevel::kStrict);
  EXPECT_EQ(verdict.findings.size(), 1'000U);
  EXPECT_EQ(verdict.left_out, 19'000U);
  EXPECT_FALSE(NormalizedText(**newer).empty());
}

std::string FieldsOf(const std::string& message, int count) {
  std::string text = Concat("syntax='proto3';\nmessage ", message, " {\n");
  for (int i = 1; i <= count; ++i) text += Concat("int32 f", i, " = ", i, ";\n");
  return text + "}";
}

std::string ManyTypes(int messages, int fields_of_each) {
  std::string text = "syntax='proto3';\n";
  for (int i = 0; i < messages; ++i) {
    text += Concat("message M", i, " {");
    for (int j = 1; j <= fields_of_each; ++j) text += Concat(" int32 f", j, " = ", j, ";");
    text += "}\n";
  }
  return text;
}

TEST(CompileLimitsTest, TypesAndMembersOfAFile) {
  EXPECT_THAT(Compile(ManyTypes(5'000, 4)), IsOk());
  EXPECT_THAT(Compile(ManyTypes(5'001, 0)),
              Refused("main.proto: the file has 5001 messages, enums, oneofs and services in all, "
                      "more than the limit of 5000: split it into several files"));
  EXPECT_THAT(Compile(ManyTypes(4'001, 5)),
              Refused("the file has 20005 fields, enum values and methods in all, more than the "
                      "limit of 20000"));
  CompileLimits limits;
  limits.max_types = 3;
  limits.max_members = 2;
  // Nested ones count, and what a map or a service brings.
  for (const char* fits : {"message A { message B { enum C { V = 0; W = 1; } } }",
                           "message A { oneof o { int32 a = 1; int32 b = 2; } message B { } }"}) {
    EXPECT_THAT(Compile(Concat("syntax='proto3';", fits), {}, limits), IsOk()) << fits;
    EXPECT_THAT(Compile(Concat("syntax='proto3'; service S { }", fits), {}, limits),
                Refused("has 4 messages, enums, oneofs and services"));
    EXPECT_THAT(Compile(Concat("syntax='proto3'; ", fits, "message D { int32 d = 1; }"), {},
                        CompileLimits{.max_members = 2}),
                Refused("has 3 fields, enum values and methods"));
  }
  EXPECT_THAT(Compile("syntax='proto3'; message A { map<int32, int32> a = 1; }", {}, limits),
              Refused("has 3 fields, enum values and methods"));
}

TEST(CompileLimitsTest, TheEstimateIsNearTheMemory) {
  for (const std::string& text : {ManyTypes(5'000, 4), ManyTypes(5'000, 0), ManyTypes(2, 9'000),
                                  ManyTypes(1, 3), FieldsOf(std::string(500, 'A'), 8'000)}) {
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    const auto schema = Compile(text);
    ASSERT_THAT(schema, IsOk());
    const std::size_t taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    if (taken == 0) GTEST_SKIP() << "this allocator does not tell what is in use";
    EXPECT_GT((*schema)->estimated_bytes(), taken) << text.substr(0, 60);
    EXPECT_LT((*schema)->estimated_bytes(), 4 * taken + 20'000) << text.substr(0, 60);
  }
}

TEST(CompileLimitsTest, LongNames) {
  EXPECT_THAT(Compile(FieldsOf(std::string(512, 'A'), 1)), IsOk());
  // 376 KB that would be two gigabytes of names in full.
  EXPECT_THAT(Compile(FieldsOf(std::string(200'000, 'A'), 9'900)),
              Refused(Concat("main.proto:2:9: the name ", std::string(40, 'A'))));
  EXPECT_THAT(Compile(FieldsOf(std::string(513, 'A'), 1)),
              Refused("is 513 bytes long, more than the limit of 512"));
  // Each name is short enough, and what is around it is long.
  const std::string package(509, 'a');
  const std::string message =
      Concat("syntax='proto3'; package ", package, "; message ", std::string(512, 'A'), " {\n");
  EXPECT_THAT(Compile(message + "int32 a = 1; }"), IsOk());
  EXPECT_THAT(
      Compile(message + "int32 abc = 1; }"),
      Refused(
          "main.proto:2:7: a name in full, with the package and the messages around it, is 1026 "
          "bytes long, more than the limit of 1024"));
}

TEST(CompileLimitsTest, NamesInFullTogether) {
  EXPECT_THAT(Compile(FieldsOf(std::string(500, 'A'), 8'000)), IsOk());
  EXPECT_THAT(Compile(FieldsOf(std::string(500, 'A'), 9'000)),
              Refused(": with this one the names in full of the file, with the package and the "
                      "messages around each, are more than the limit of 4194304 bytes together: "
                      "shorten the names"));
  // Of imports, too.
  std::vector<SourceFile> imports;
  std::string main = "syntax='proto3';";
  for (int i = 0; i < 5; ++i) {
    imports.push_back(
        {Concat("i", i, ".proto"), FieldsOf(std::string(500, static_cast<char>('A' + i)), 8'000)});
    main += Concat("import 'i", i, ".proto';");
  }
  EXPECT_THAT(Compile(main, imports), Refused("i4.proto: the names in full of the schema and its "
                                              "imports, with the package and the messages around "
                                              "each, are more than 16777216 bytes together"));
}

TEST(CompileLimitsTest, LongNamesInADescriptor) {
  google::protobuf::FileDescriptorProto file;
  file.set_name("long.proto");
  file.add_message_type()->set_name(std::string(513, 'M'));
  EXPECT_THAT(TextOfSerialized(file.SerializeAsString()),
              Refused("a name is 513 bytes long, more than the limit of 512"));
}

TEST(CompileLimitsTest, ATextThatIsManyTimesAsLongPrinted) {
  // Each use of the option is a few bytes, and a kilobyte where its name stands in full.
  std::string text =
      Concat("syntax='proto3'; package ", std::string(500, 'a'),
             "; import 'google/protobuf/descriptor.proto'; message ", std::string(490, 'M'),
             " { extend google.protobuf.MessageOptions { repeated int32 o = 50000; "
             "} message N {\n");
  for (int i = 0; i < 1'000; ++i) text += "option (o) = 1;\n";
  EXPECT_THAT(Compile(text + "}}"), IsOk());
  for (int i = 0; i < 20'000; ++i) text += "option (o) = 1;\n";
  EXPECT_THAT(Compile(text + "}}"),
              Refused("main.proto: with its types and options by their names in full the text is "
                      "more than the limit of 16777216 bytes"));
}

TEST(CompileLimitsTest, FindingsAreBoundedInBytes) {
  // Each path names both messages.
  const std::string messages = Concat(std::string(500, 'A'), " { message ", std::string(500, 'B'));
  std::string text = FieldsOf(messages, 4'000) + "}";
  const auto older = Compile(text);
  for (std::size_t at = 0; (at = text.find("int32", at)) != std::string::npos;) {
    text.replace(at, 5, "string");
  }
  const auto newer = Compile(text);
  ASSERT_THAT(older, IsOk());
  ASSERT_THAT(newer, IsOk());
  const std::vector<std::shared_ptr<const CompiledSchema>> history = {*older};
  const auto verdict = CheckHistory(history, **newer, CompatibilityLevel::kFull);
  ASSERT_FALSE(verdict.findings.empty());
  std::size_t bytes = 0;
  for (const Finding& finding : verdict.findings) {
    bytes += finding.path.size() + finding.description.size() + finding.consequence.size() +
             finding.repair.size();
  }
  EXPECT_LT(bytes, (std::size_t{1} << 20) + 10'000);
  EXPECT_GT(verdict.left_out, 0U);
}

TEST(CompileLimitsTest, ManyFindingsOnOneLine) {
  // Each place is found by its column, and the line is the whole text: ten billion bytes would be
  // read if the search for each began anew.
  std::string text = "syntax = \"proto3\";";
  for (const char* message : {"message A {", "message B {"}) {
    text += message;
    for (int i = 1; i <= 10'000; ++i) {
      text += Concat("/*ööööööööö*/ \tint32 f", i, " = ", i < 19'000 ? i : i + 1000, ";");
    }
    text += "}";
  }
  const auto older = Compile(text);
  const auto newer = Compile("syntax = \"proto3\"; message A {} message B {}");
  ASSERT_THAT(older, IsOk());
  ASSERT_THAT(newer, IsOk());
  const auto begun = std::chrono::steady_clock::now();
  const auto findings = Differences(**older, **newer);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(3));
  ASSERT_EQ(findings.size(), 20'000U);
  // 18 + 11 characters before the first, 21 to its name; 28 from one to the next.
  EXPECT_EQ(findings[0].older, (Place{"", 1, 51}));
  EXPECT_EQ(findings[1].older, (Place{"", 1, 79}));
}

TEST(CompileLimitsTest, TenThousandReservedRangesAndValues) {
  std::string reserved = "syntax='proto3'; message A { reserved 1";
  std::string names = "syntax='proto3'; message A { reserved 'n0'";
  std::string values = "syntax='proto3'; enum E { V0 = 0;";
  for (int i = 1; i < 10'000; ++i) {
    reserved += Concat(", ", 2 * i + 1);
    names += Concat(", 'n", i, "'");
    values += Concat("V", i, " = ", i, ";");
  }
  EXPECT_THAT(Compile(reserved + "; }"), IsOk());
  EXPECT_THAT(Compile(names + "; }"), IsOk());
  EXPECT_THAT(Compile(values + "}"), IsOk());
  EXPECT_THAT(Compile(reserved + ", 30000, 30002; }"), Refused("message A has 10002 fields"));
  EXPECT_THAT(Compile(names + ", 'x', 'y'; }"), Refused("message A has 10002 fields"));
  EXPECT_THAT(Compile(values + "X = 20000;}"), Refused("enum E has 10001 fields"));
}

TEST(CompileLimitsTest, NestingOfAThousand) {
  for (const auto& [open, close] :
       std::vector<std::pair<std::string, std::string>>{{"message A {", "}"},
                                                        {"optional group G = 1 {", "}"},
                                                        {"extend A {", "}"},
                                                        {"option (o) = {", "};"},
                                                        {"oneof o {", "}"}}) {
    std::string text = "message A {";
    for (int i = 0; i < 1000; ++i) text += open;
    for (int i = 0; i < 1000; ++i) text += close;
    EXPECT_THAT(Compile(text + "}"), Refused("nested deeper than 32 levels of braces")) << open;
  }
  EXPECT_THAT(Compile("option o = " + std::string(100, '[')),
              Refused("nested deeper than 32 levels of braces and brackets"));
  std::string option = "option (o) = { a ";
  for (int i = 0; i < 1000; ++i) option += "< a: [";
  EXPECT_THAT(Compile(option), Refused("main.proto:1:"));
}

TEST(CompileLimitsTest, AsDeepAsProtobufTakes) {
  const auto nested = [](int levels) {
    std::string text = "syntax='proto3';";
    for (int i = 0; i < levels; ++i) text += Concat("message A", i, " {");
    return text + std::string(static_cast<std::size_t>(levels), '}');
  };
  EXPECT_THAT(Compile(nested(31)), IsOk());
  EXPECT_THAT(Compile(nested(32)),
              Refused("main.proto: message A31 is nested deeper than 31 messages, the most that "
                      "Protobuf takes: declare it further out"));
}

TEST(CompileLimitsTest, EditionsAreRefusedInWords) {
  EXPECT_THAT(Compile("// new\n  edition = \"2023\";\nmessage A {}"),
              Refused("main.proto:2:3: editions are not supported here, where schemas are compiled "
                      "with Protobuf 3.21: write syntax = \"proto3\""));
  for (const char* text :
       {"syntax = \"editions\";", "syntax = 'editions';", "package a; edition = \"2024\";",
        "syntax = 'proto3'; message A {} edition = '2023';"}) {
    EXPECT_THAT(Compile(text), Refused("editions are not supported here")) << text;
  }
  EXPECT_THAT(Compile("syntax = 'proto3'; message edition { int32 edition = 1; }"), IsOk());
}

TEST(CompileLimitsTest, NestingOfAThousandInADescriptor) {
  google::protobuf::FileDescriptorProto file;
  file.set_name("deep.proto");
  google::protobuf::DescriptorProto* message = file.add_message_type();
  for (int i = 0; i < 60; ++i) {
    message->set_name("M");
    message = message->add_nested_type();
  }
  message->set_name("M");
  EXPECT_THAT(TextOfSerialized(file.SerializeAsString()),
              Refused("message M is nested deeper than 31 messages"));
}

TEST(CompileLimitsTest, ImportCycleIsToldByItsPath) {
  const std::vector<SourceFile> imports = {
      {"a.proto", "syntax='proto3'; import 'b.proto';"},
      {"b.proto", "syntax='proto3';\nimport 'c.proto';"},
      {"c.proto", "syntax='proto3';\nimport 'a.proto';"},
  };
  EXPECT_THAT(Compile("syntax='proto3'; import 'a.proto';", imports),
              Refused("c.proto:2:1: import cycle: a.proto → b.proto → c.proto → a.proto"));
  EXPECT_THAT(Compile("syntax='proto3'; import 'main.proto';"),
              Refused("main.proto:1:18: import cycle: main.proto → main.proto"));
}

TEST(CompileLimitsTest, MissingImportIsToldByTheFileThatWantsIt) {
  EXPECT_THAT(
      Compile("syntax='proto3'; import 'a.proto';",
              {{"a.proto", "syntax='proto3';\n\nimport 'gone.proto';"}}),
      Refused("a.proto:3:1: import \"gone.proto\" was not found: there is no file of exactly"));
}

TEST(CompileLimitsTest, AChainOfImportsEndsAtTheLimit) {
  std::vector<SourceFile> chain;
  for (int i = 0; i < 1000; ++i) {
    chain.push_back(
        {Concat("f", i, ".proto"), Concat("syntax='proto3'; import 'f", i + 1, ".proto';")});
  }
  EXPECT_THAT(Compile("syntax='proto3'; import 'f0.proto';", chain),
              Refused("f255.proto:1:18: more than 256 imported files"));
}

}  // namespace
}  // namespace tocsin::schema
