#include "lib/events/file_registration.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/testing/fake_registry.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace tocsin::events {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<const schema::CompiledSchema> Compile(
    const schema::SourceFile& main, const std::vector<schema::SourceFile>& imports = {}) {
  auto compiled = schema::CompiledSchema::Compile(main, imports);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *std::move(compiled);
}

// The main file imports `left` and `right`, which both import `base`.
const std::vector<schema::SourceFile>& Diamond() {
  static const auto& files = *new std::vector<schema::SourceFile>{
      {"a/base.proto", "syntax = \"proto3\"; package a; message Base { string id = 1; }"},
      {"a/left.proto",
       "syntax = \"proto3\"; package a; import \"a/base.proto\"; message Left { Base b = 1; }"},
      {"a/right.proto",
       "syntax = \"proto3\"; package a; import \"a/base.proto\";\n"
       "import \"google/protobuf/timestamp.proto\";\n"
       "message Right { Base b = 1; google.protobuf.Timestamp at = 2; }"}};
  return files;
}
const schema::SourceFile& Main() {
  static const auto& main = *new schema::SourceFile{
      "a/main.proto",
      "syntax = \"proto3\"; package a; import \"a/left.proto\"; import \"a/right.proto\";\n"
      "message Main { Left l = 1; Right r = 2 [json_name = \"theRight\"]; }"};
  return main;
}

std::vector<std::string> NamesOf(const std::vector<schema::SourceFile>& files) {
  std::vector<std::string> names;
  for (const schema::SourceFile& file : files) names.push_back(file.name);
  return names;
}

TEST(SourceFilesOf, EachAfterWhatItImportsAndOnce) {
  const auto schema = Compile(Main(), Diamond());
  const auto files = SourceFilesOf(schema->file());
  ASSERT_THAT(files, IsOk());
  EXPECT_THAT(NamesOf(*files),
              ElementsAre("a/base.proto", "a/left.proto", "a/right.proto", "a/main.proto"));
}

TEST(SourceFilesOf, TheTextsMeanWhatTheDescriptorsDo) {
  const auto schema = Compile(Main(), Diamond());
  auto files = SourceFilesOf(schema->file()).value();
  const schema::SourceFile main = files.back();
  files.pop_back();
  EXPECT_EQ(Compile(main, files)->fingerprint(), schema->fingerprint());
  EXPECT_THAT(main.text, HasSubstr("theRight"));
}

TEST(SourceFilesOf, OurOwnMessagesKeepTheirComments) {
  const auto files = SourceFilesOf(*correlation::v1::Detection::descriptor()->file());
  ASSERT_THAT(files, IsOk());
  EXPECT_THAT(NamesOf(*files),
              ElementsAre("tocsin/event/v1/event.proto", "tocsin/correlation/v1/detection.proto"));
  EXPECT_THAT(files->back().text, HasSubstr("// "));
}

TEST(SourceFilesOf, AForeignFileWithTheNameOfOneOfOursKeepsItsContent) {
  const auto schema = Compile({"tocsin/correlation/v1/detection.proto",
                               "syntax = \"proto3\"; package z; message Other { int32 n = 1; }"});
  EXPECT_THAT(SourceFilesOf(schema->file())->back().text, HasSubstr("message Other"));
}

TEST(RegisterFile, ImportsComeFirstAndAreReferredTo) {
  testing::FakeRegistry registry;
  const auto schema = Compile(Main(), Diamond());
  const auto version = RegisterFile(registry, "t-value", schema->file());
  ASSERT_THAT(version, IsOk());
  EXPECT_EQ(version->id, schema::SchemaId(4));
  EXPECT_TRUE(version->guid.has_value());
  EXPECT_THAT(registry.subjects(),
              ElementsAre("a/base.proto", "a/left.proto", "a/right.proto", "t-value"));
  const SchemaDraft draft = registry.last_draft();
  ASSERT_EQ(draft.references.size(), 2U);
  EXPECT_EQ(draft.references[0].name, "a/left.proto");
  EXPECT_EQ(draft.references[0].subject, "a/left.proto");
  EXPECT_EQ(draft.references[0].version, 1);
  EXPECT_EQ(draft.references[1].name, "a/right.proto");
  EXPECT_FALSE(draft.normalize);
  // What is stored compiles with what it refers to.
  const auto stored = registry.ById(version->id);
  ASSERT_THAT(stored, IsOk());
  EXPECT_THAT(schema::CompiledSchema::Compile({"m.proto", stored->text}, stored->imports), IsOk());
}

TEST(RegisterFile, AReferenceIsToTheVersionThatTheProgramWasBuiltWith) {
  testing::FakeRegistry registry;
  const auto schema = Compile(Main(), Diamond());
  ASSERT_THAT(registry.Register("a/left.proto", "an older version", {}), IsOk());
  ASSERT_THAT(RegisterFile(registry, "t-value", schema->file()), IsOk());
  ASSERT_THAT(registry.Register("a/left.proto", "a younger version", {}), IsOk());
  ASSERT_THAT(RegisterFile(registry, "t-value", schema->file()), IsOk());
  EXPECT_EQ(registry.last_draft().references[0].version, 2);
}

TEST(RegisterFile, QualifiedSubjectsAndNormalize) {
  testing::FakeRegistry registry;
  const auto schema = Compile(Main(), Diamond());
  ASSERT_THAT(RegisterFile(registry, "t-value", schema->file(),
                           {.reference_naming = ReferenceNaming::kQualified, .normalize = true}),
              IsOk());
  EXPECT_THAT(registry.subjects(), ElementsAre("a.base", "a.left", "a.right", "t-value"));
  EXPECT_TRUE(registry.last_draft().normalize);
  EXPECT_EQ(registry.last_draft().references[0].name, "a/left.proto");
  EXPECT_EQ(registry.last_draft().references[0].subject, "a.left");
}

TEST(RegisterFile, LookingUpChangesNothing) {
  testing::FakeRegistry registry;
  const auto schema = Compile(Main(), Diamond());
  const FileRegistrationOptions lookup{.action = FileRegistrationOptions::Action::kLookup};
  EXPECT_THAT(RegisterFile(registry, "t-value", schema->file(), lookup),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("a/base.proto")));
  EXPECT_THAT(registry.subjects(), IsEmpty());
  const auto registered = RegisterFile(registry, "t-value", schema->file());
  const auto found = RegisterFile(registry, "t-value", schema->file(), lookup);
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->id, registered->id);
}

TEST(RegisterFile, EndsWithTheFirstFailure) {
  testing::FakeRegistry registry;
  registry.FailWith(Unavailable("gone"));
  const auto schema = Compile(Main(), Diamond());
  EXPECT_THAT(RegisterFile(registry, "t-value", schema->file()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("a/base.proto")));
  EXPECT_EQ(registry.calls(), 1);
}

}  // namespace
}  // namespace tocsin::events
