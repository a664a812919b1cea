// What `tocsin up` refuses before anything is started.
#include "cli/supervisor/up.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "cli/supervisor/configs.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class UpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-up-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    // As an installation looks.
    for (const char* const folder : {"bin", "share/tocsin/broker"}) {
      std::filesystem::create_directories(folder_ / folder);
    }
    for (const std::string& process : ProcessNames()) {
      const auto program = folder_ / "bin" / Concat("tocsin-", process);
      std::ofstream(program) << "#!/bin/false\n";
      std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    }
    std::ofstream(folder_ / "share/tocsin/broker/server.properties") << "\n";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(UpTest, AnUnusableConfigurationFolderComesFirst) {
  std::ofstream(folder_ / "file") << "not a folder";
  GlobalFlags global;
  global.packs_dir = (std::filesystem::path(TOCSIN_SOURCE_DIR) / "packs").string();
  const Session session(global, {{"XDG_CONFIG_HOME", (folder_ / "file").string()}},
                        folder_ / "bin/tocsin");
  UpFlags flags;
  flags.data = (folder_ / "data").string();
  EXPECT_THAT(Up(session, flags),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr((folder_ / "file/tocsin").string()),
                             HasSubstr("XDG_CONFIG_HOME"), HasSubstr("Nothing was started"))));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "data")) << "not even a folder was made";
}

}  // namespace
}  // namespace tocsin::cli
