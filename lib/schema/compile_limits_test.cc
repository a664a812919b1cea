// Hostile texts: refused with what, where and what to do; or compiled, in the time of a text.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

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
  for (int i = 0; text.size() < kMost - 100; ++i) {
    text += Concat("message M", i, " { int32 a = 1; repeated string some_longer_name = 2; }\n");
  }
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
  const auto findings = CheckCompatibility(**older, **newer, CompatibilityLevel::kStrict);
  ASSERT_EQ(findings.size(), 1'000U);
  EXPECT_THAT(findings.back().description, ::testing::EndsWith(" (and 19000 more findings)"));
  EXPECT_FALSE(NormalizedText(**newer).empty());
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
    EXPECT_THAT(Compile(text + "}"), Refused("nested deeper than 32 levels")) << open;
  }
  std::string option = "option (o) = { a ";
  for (int i = 0; i < 1000; ++i) option += "< a: [";
  EXPECT_THAT(Compile(option), Refused("main.proto:1:"));
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
  EXPECT_THAT(TextOfSerialized(file.SerializeAsString()), Refused("nested too deeply"));
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
  EXPECT_THAT(Compile("syntax='proto3'; import 'a.proto';",
                      {{"a.proto", "syntax='proto3';\n\nimport 'gone.proto';"}}),
              Refused("a.proto:3:1: import \"gone.proto\" was not found: register it first"));
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
