#include "lib/schema/source_tree.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::schema {
namespace {

using ::testing::HasSubstr;

TEST(SourceTree, ImportsComeFromTheTree) {
  const auto tree = CompileTree({
      {"a/one.proto", "syntax = 'proto3'; import 'b/two.proto'; message One { b.Two two = 1; }"},
      {"b/two.proto",
       "syntax = 'proto3'; package b; import 'google/type/money.proto'; message Two { "
       "google.type.Money price = 1; }"},
      {"alone.proto", "message Alone {}"},
  });
  ASSERT_THAT(tree, IsOk());
  ASSERT_EQ(tree->size(), 3U);
  EXPECT_NE(tree->at("a/one.proto")->FindMessage("One"), nullptr);
  EXPECT_EQ(tree->at("b/two.proto")->file().name(), "b/two.proto");
}

TEST(SourceTree, AnEmptyTree) {
  const auto tree = CompileTree({});
  ASSERT_THAT(tree, IsOk());
  EXPECT_TRUE(tree->empty());
}

TEST(SourceTree, ErrorsOfAllFilesEachOnce) {
  const auto tree = CompileTree({
      {"bad.proto", "syntax = 'proto3';\nmessage A { int32 a = 0; }"},
      {"uses.proto", "syntax = 'proto3';\nimport 'bad.proto';"},
      {"missing.proto", "syntax = 'proto3';\nimport 'nowhere.proto';"},
      {"x.proto", "import 'y.proto';"},
      {"y.proto", "import 'x.proto';"},
  });
  ASSERT_THAT(tree, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.proto:2:")));
  const std::string errors(ToStd(tree.status().message()));
  const std::string line = "bad.proto:2:23: Field numbers must be positive integers.";
  EXPECT_NE(errors.find(line), std::string::npos) << errors;
  EXPECT_EQ(errors.find(line), errors.rfind(line)) << errors;
  EXPECT_THAT(errors, HasSubstr("missing.proto:2:1: import \"nowhere.proto\" was not found"));
  EXPECT_THAT(errors, HasSubstr("x.proto → y.proto → x.proto"));
}

TEST(SourceTree, LimitsAreThoseOfASchemaNotOfTheTree) {
  CompileLimits limits;
  limits.max_imports = 2;
  std::map<std::string, std::string> texts;
  for (int i = 0; i < 20; ++i) texts.emplace(Concat("f", i, ".proto"), "syntax = 'proto3';");
  EXPECT_THAT(CompileTree(texts, limits), IsOk());
}

}  // namespace
}  // namespace tocsin::schema
