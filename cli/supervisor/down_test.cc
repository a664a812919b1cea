// The end of a supervisor, which is waited for by its pidfd.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/stop_request.h"
#include "cli/supervisor/instance_lock.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/up.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using ::testing::HasSubstr;

class DownTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-down-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    layout_.emplace(std::filesystem::path(pattern));
    ASSERT_THAT(layout_->MakeFolders(), IsOk());
    ProcessStop().Clear();
  }
  void TearDown() override {
    ProcessStop().Clear();
    std::filesystem::remove_all(layout_->data());
  }

  // A process that holds the lock of the folder. It ends at SIGTERM, or does not.
  pid_t Hold(bool ends) {
    int told[2];
    EXPECT_EQ(pipe(told), 0);
    const pid_t holder = fork();
    if (holder == 0) {
      sigset_t term;
      sigemptyset(&term);
      sigaddset(&term, SIGTERM);
      sigprocmask(SIG_BLOCK, &term, nullptr);
      const auto lock = InstanceLock::Acquire(layout_->Run("lock"));
      [[maybe_unused]] const ssize_t written = write(told[1], "x", 1);
      int number = 0;
      sigwait(&term, &number);
      [[maybe_unused]] const ssize_t heard = write(told[1], "y", 1);
      while (!ends) pause();
      _exit(0);
    }
    char one = 0;
    EXPECT_EQ(read(told[0], &one, 1), 1);
    close(told[1]);
    heard_ = told[0];
    return holder;
  }

  Outcome RunDown() {
    const Session session({}, {{"HOME", layout_->data().string()}}, "/none/tocsin");
    ::testing::internal::CaptureStderr();
    Outcome outcome = Down(session, {layout_->data().string()});
    said_ = ::testing::internal::GetCapturedStderr();
    return outcome;
  }

  std::optional<Layout> layout_;
  std::string said_;
  int heard_ = -1;
};

TEST_F(DownTest, NobodyIsWaitedForWhereNobodyRuns) {
  EXPECT_THAT(RunDown(), IsOkAndHolds(kExitOk));
  EXPECT_THAT(said_, HasSubstr("Nothing runs on"));
}

TEST_F(DownTest, ReturnsWhenTheSupervisorItselfHasEnded) {
  const pid_t holder = Hold(/*ends=*/true);
  EXPECT_THAT(RunDown(), IsOkAndHolds(kExitOk));
  EXPECT_THAT(said_, HasSubstr("Everything has ended"));
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(holder), &ended, WEXITED | WNOHANG), 0);
  EXPECT_EQ(ended.si_pid, holder) << "it had ended before `down` did";
  close(heard_);
}

TEST_F(DownTest, AStopEndsTheWaitingAndNotTheSupervisor) {
  const pid_t holder = Hold(/*ends=*/false);
  std::thread stopper([this] {
    char one = 0;
    EXPECT_EQ(read(heard_, &one, 1), 1);
    ProcessStop().Make(SIGINT);
  });
  EXPECT_THAT(RunDown(), StatusIs(absl::StatusCode::kCancelled));
  stopper.join();
  EXPECT_EQ(waitpid(holder, nullptr, WNOHANG), 0);
  EXPECT_EQ(InstanceLock::Holder(layout_->Run("lock")), holder);
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  close(heard_);
}

}  // namespace
}  // namespace tocsin::cli
