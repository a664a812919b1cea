#include "cli/schema/text_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "cli/core/exit_code.h"
#include "cli/schema/git.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;

class TextSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tocsin-texts-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = fs::weakly_canonical(pattern);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  void Git(std::vector<std::string> words) {
    words.insert(words.begin(), {"-c", "user.name=anna", "-c", "user.email=anna@example.org", "-c",
                                 "commit.gpgsign=false"});
    const auto done = RunGit(folder_, words);
    ASSERT_TRUE(done.ok()) << done.status();
  }
  void Commit() {
    Git({"add", "--all"});
    Git({"commit", "--quiet", "--message", "state"});
  }

  fs::path folder_;
};

TEST_F(TextSourceTest, AFolderIsReadWithoutWhatIsHidden) {
  Write("b.proto", "B");
  Write("a/a.proto", "A");
  Write(".git/x.proto", "");
  Write("readme.md", "");
  const auto source = FolderSource(folder_);
  EXPECT_THAT(source->List(""), IsOkAndHolds(ElementsAre("a/a.proto", "b.proto")));
  EXPECT_THAT(source->List("a"), IsOkAndHolds(ElementsAre("a/a.proto")));
  EXPECT_THAT(source->List("b.proto"), IsOkAndHolds(ElementsAre("b.proto")));
  EXPECT_THAT(source->List("gone"), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(**source->Read("a/a.proto"), "A");
  EXPECT_EQ(*source->Read("gone.proto"), std::nullopt);
}

TEST_F(TextSourceTest, ImportsComeAlong) {
  Write("a.proto",
        "syntax = \"proto3\"; import \"b.proto\"; "
        "import \"google/protobuf/timestamp.proto\";");
  Write("b.proto", "syntax = \"proto3\"; import \"c/c.proto\"; import \"gone.proto\";");
  Write("c/c.proto", "syntax = \"proto3\"; import \"a.proto\";");
  Write("other.proto", "syntax = \"proto3\";");
  const auto source = FolderSource(folder_);
  const auto texts = ReadWithImports(*source, {"a.proto"});
  ASSERT_TRUE(texts.ok());
  EXPECT_THAT(*texts, ElementsAre(Key("a.proto"), Key("b.proto"), Key("c/c.proto")));
}

TEST_F(TextSourceTest, ARevisionIsReadAsItWas) {
  Git({"init", "--quiet"});
  Write("proto/a.proto", "old");
  Write("proto/deep/b.proto", "B");
  Write("outside.proto", "");
  Commit();
  Write("proto/a.proto", "new");
  fs::remove(folder_ / "proto/deep/b.proto");
  for (const char* const revision : {"HEAD", "@"}) {
    auto source = GitSource(folder_ / "proto", revision);
    ASSERT_TRUE(source.ok()) << source.status();
    EXPECT_THAT((*source)->List(""), IsOkAndHolds(ElementsAre("a.proto", "deep/b.proto")));
    EXPECT_THAT((*source)->List("deep"), IsOkAndHolds(ElementsAre("deep/b.proto")));
    EXPECT_EQ(**(*source)->Read("a.proto"), "old");
    EXPECT_EQ(*(*source)->Read("outside.proto"), std::nullopt);
    EXPECT_EQ(*(*source)->Read("../outside.proto"), std::nullopt);
  }
  EXPECT_EQ((*GitSource(folder_ / "proto", "HEAD"))->name(), "git:HEAD");
}

TEST_F(TextSourceTest, BadRevisionsAreUsageErrors) {
  const absl::Status none = GitSource(folder_, "HEAD").status();
  EXPECT_EQ(ExitCodeFor(none), kExitUsage) << none;
  EXPECT_THAT(none, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--against PATH")));
  Git({"init", "--quiet"});
  Write("a.proto", "");
  Commit();
  for (const char* const revision : {"nope", "--output=x", "-h", "", "HEAD:a.proto"}) {
    const absl::Status status = GitSource(folder_, revision).status();
    EXPECT_EQ(ExitCodeFor(status), kExitUsage) << revision << " " << status;
  }
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(TextSourceTest, PathsAreOfOneRoot) {
  Write("proto/x/a.proto", "");
  const std::string file = (folder_ / "proto/x/a.proto").string();
  auto path = ResolveProtoPath(file, "");
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->root, folder_ / "proto/x");
  EXPECT_EQ(path->under, "a.proto");
  EXPECT_TRUE(path->is_file);
  path = ResolveProtoPath(file, (folder_ / "proto").string());
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->under, "x/a.proto");
  path = ResolveProtoPath((folder_ / "proto").string(), "");
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->under, "");
  EXPECT_FALSE(path->is_file);
  EXPECT_EQ(ExitCodeFor(ResolveProtoPath((folder_ / "gone").string(), "").status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(ResolveProtoPath(folder_.string(), (folder_ / "proto").string()).status()),
            kExitUsage);
}

}  // namespace
}  // namespace tocsin::cli
