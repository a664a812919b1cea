// What is believed of the state that a supervisor writes down, and what `status` says where nothing
// can be believed.
#include "cli/supervisor/system_state.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/supervisor/instance_lock.h"
#include "cli/supervisor/up.h"
#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// While it lives, this process's files do not grow, as on a full disk.
class FullDisk {
 public:
  FullDisk() {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

class SystemStateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-state-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    layout_.emplace(std::filesystem::path(pattern));
    ASSERT_THAT(layout_->MakeFolders(), IsOk());
  }
  void TearDown() override { std::filesystem::remove_all(layout_->data()); }

  static v1::SystemState State(pid_t supervisor) {
    v1::SystemState state;
    state.set_supervisor_pid(supervisor);
    state.set_ready(true);
    auto& process = *state.add_processes();
    process.set_name("gateway");
    process.set_pid(12345);
    process.set_restarts(7);
    process.set_ready(true);
    process.set_status("serving");
    process.set_address("127.0.0.1:1");
    process.set_admin("127.0.0.1:1");
    return state;
  }

  struct Shown {
    Outcome outcome;
    std::string out;
    std::string err;
  };
  Shown Status(OutputForm form = OutputForm::kTable) const {
    GlobalFlags flags;
    flags.output = form;
    const Session session(flags, {{"HOME", layout_->data().string()}}, "/none/tocsin");
    ForgetPrinted();
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    Outcome outcome = ShowStatus(session, {layout_->data().string()});
    return {std::move(outcome), ::testing::internal::GetCapturedStdout(),
            ::testing::internal::GetCapturedStderr()};
  }

  std::optional<Layout> layout_;
};

TEST_F(SystemStateTest, IsReadAsItWasWritten) {
  EXPECT_THAT(ReadSystemState(*layout_, 42), StatusIs(absl::StatusCode::kNotFound));
  ASSERT_THAT(WriteSystemState(*layout_, State(42)), IsOk());
  const auto read = ReadSystemState(*layout_, 42);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->processes(0).status(), "serving");
  RemoveSystemState(*layout_);
  EXPECT_THAT(ReadSystemState(*layout_, 42), StatusIs(absl::StatusCode::kNotFound));
  std::ofstream(layout_->Run("state.json")) << "{";
  EXPECT_THAT(ReadSystemState(*layout_, 42), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(SystemStateTest, WhatAnEarlierSupervisorLeftIsNotBelieved) {
  ASSERT_THAT(WriteSystemState(*layout_, State(42)), IsOk());
  EXPECT_THAT(ReadSystemState(*layout_, 43),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("earlier supervisor (pid 42)")));
  EXPECT_THAT(ReadFormerSystemState(*layout_, 43), Not(IsOk()));
}

TEST_F(SystemStateTest, AFullDiskLeavesNoOldStateForTheNewOne) {
  ASSERT_THAT(WriteSystemState(*layout_, State(42)), IsOk());
  absl::Status written;
  {
    const FullDisk full;
    written = WriteSystemState(*layout_, State(42));
    written.Update(WriteSystemState(*layout_, State(42)));
  }
  EXPECT_THAT(written, Not(IsOk()));
  EXPECT_THAT(ReadSystemState(*layout_, 42), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadFormerSystemState(*layout_, 42), IsOk()) << "for names and addresses";
  EXPECT_THAT(ReadFormerSystemState(*layout_, 43), Not(IsOk()));

  EXPECT_THAT(WriteSystemState(*layout_, State(42)), IsOk());
  EXPECT_THAT(ReadSystemState(*layout_, 42), IsOk());
  EXPECT_THAT(ReadFormerSystemState(*layout_, 42), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(layout_->Run("")), {}), 1)
      << "no half-written file is left behind";
}

class FakeHealth : public HealthSource {
 public:
  explicit FakeHealth(absl::Status answer) : answer_(std::move(answer)) {}
  absl::Status Ask() override { return answer_; }

 private:
  const absl::Status answer_;
};

TEST_F(SystemStateTest, AskedProcessesAnswerForThemselves) {
  v1::SystemState former = State(42);
  *former.add_processes() = former.processes(0);
  former.mutable_processes(1)->set_name("ingest");
  const auto asked =
      AskSystemState(former, "the disk is full", [](const v1::ProcessState& process) {
        return std::make_unique<FakeHealth>(
            process.name() == "ingest" ? Unavailable("kafka: no answer") : absl::OkStatus());
      });
  EXPECT_EQ(asked.asked_because(), "the disk is full");
  EXPECT_FALSE(asked.ready());
  EXPECT_EQ(asked.processes(0).status(), "serving");
  EXPECT_EQ(asked.processes(1).status(), "waiting for kafka: no answer");
  EXPECT_FALSE(asked.processes(1).ready());
  EXPECT_EQ(asked.processes(0).pid(), 0);
  EXPECT_EQ(asked.processes(0).restarts(), 0);
}

TEST_F(SystemStateTest, StatusBelievesNobodyWhoIsGone) {
  ASSERT_THAT(WriteSystemState(*layout_, State(getpid())), IsOk());
  const Shown shown = Status();
  EXPECT_THAT(shown.outcome, StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing runs on")));
  EXPECT_THAT(shown.out, IsEmpty());
}

TEST_F(SystemStateTest, StatusShowsWhatTheHolderOfTheLockWrote) {
  const auto lock = InstanceLock::Acquire(layout_->Run("lock"));
  ASSERT_THAT(lock, IsOk());
  ASSERT_THAT(WriteSystemState(*layout_, State(getpid())), IsOk());
  const Shown shown = Status();
  EXPECT_THAT(shown.outcome, IsOkAndHolds(kExitOk));
  EXPECT_THAT(shown.out, AllOf(HasSubstr("12345"), HasSubstr("serving")));
  EXPECT_THAT(shown.err, IsEmpty());
}

TEST_F(SystemStateTest, StatusSaysThatItCannotKnow) {
  const auto lock = InstanceLock::Acquire(layout_->Run("lock"));
  ASSERT_THAT(lock, IsOk());
  ASSERT_THAT(WriteSystemState(*layout_, State(getpid() + 1)), IsOk());
  const Shown shown = Status();
  EXPECT_THAT(shown.outcome,
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("cannot be known"), HasSubstr("supervisor.log"))));
  EXPECT_THAT(shown.out, IsEmpty());
}

TEST_F(SystemStateTest, StatusAsksTheProcessesWhereTheStateIsOfThePast) {
  const auto lock = InstanceLock::Acquire(layout_->Run("lock"));
  ASSERT_THAT(lock, IsOk());
  ASSERT_THAT(WriteSystemState(*layout_, State(getpid())), IsOk());
  {
    const FullDisk full;
    ASSERT_THAT(WriteSystemState(*layout_, State(getpid())), Not(IsOk()));
  }
  const Shown shown = Status();
  EXPECT_THAT(shown.outcome, IsOkAndHolds(kExitPartial));
  EXPECT_THAT(shown.out, AllOf(HasSubstr("gateway"), HasSubstr("waiting for its first answer"),
                               Not(HasSubstr("12345")), Not(HasSubstr("serving"))));
  EXPECT_THAT(shown.err, HasSubstr("Asked the processes themselves"));
  EXPECT_THAT(Status(OutputForm::kJsonl).out,
              AllOf(HasSubstr("\"askedBecause\":\"the supervisor"), HasSubstr("\"ready\":false")));
}

}  // namespace
}  // namespace tocsin::cli
