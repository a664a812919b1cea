#include "cli/supervisor/instance_lock.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::cli {
namespace {

class InstanceLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-lock-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    file_ = folder_ / "lock";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
  std::filesystem::path file_;
};

TEST_F(InstanceLockTest, OneHolderAndNobodyAfterIt) {
  EXPECT_EQ(InstanceLock::Holder(file_), std::nullopt);
  {
    const auto lock = InstanceLock::Acquire(file_);
    ASSERT_THAT(lock, IsOk());
    EXPECT_EQ(InstanceLock::Holder(file_), getpid());
    EXPECT_THAT(InstanceLock::Acquire(file_), StatusIs(absl::StatusCode::kAlreadyExists));
    EXPECT_EQ(InstanceLock::Holder(file_), getpid());
  }
  EXPECT_EQ(InstanceLock::Holder(file_), std::nullopt);
  EXPECT_THAT(InstanceLock::Acquire(file_), IsOk());
}

TEST_F(InstanceLockTest, LooksTakeNothing) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> lookers;
  for (int i = 0; i < 2; ++i) {
    lookers.emplace_back([&] {
      while (!stop) InstanceLock::Holder(file_);
    });
  }
  int refused = 0;
  for (int i = 0; i < 2000; ++i) refused += InstanceLock::Acquire(file_).ok() ? 0 : 1;
  stop = true;
  for (std::thread& looker : lookers) looker.join();
  EXPECT_EQ(refused, 0);
}

TEST_F(InstanceLockTest, NoEarlierHoldersPidIsTakenForTheHolders) {
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t dead = fork();
  if (dead == 0) {
    // Held until the process is killed. NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores)
    const auto lock = InstanceLock::Acquire(file_);
    [[maybe_unused]] const ssize_t written = write(told[1], "x", 1);
    pause();
    _exit(0);
  }
  char one = 0;
  ASSERT_EQ(read(told[0], &one, 1), 1);
  EXPECT_EQ(InstanceLock::Holder(file_), dead);
  kill(dead, SIGKILL);
  waitpid(dead, nullptr, 0);
  EXPECT_EQ(InstanceLock::Holder(file_), std::nullopt);
  // Its pid still stands in the file while another begins.
  EXPECT_TRUE(std::filesystem::file_size(file_) > 0);
  close(told[0]);
  close(told[1]);
}

}  // namespace
}  // namespace tocsin::cli
