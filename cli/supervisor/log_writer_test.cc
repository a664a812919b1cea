#include "cli/supervisor/log_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "cli/supervisor/child.h"
#include "lib/auth/keys.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class LogWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-log-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    log_ = folder_ / "x.log";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Text(const std::string& name) const {
    return auth::ReadFile((folder_ / name).string()).value_or("(none)");
  }
  static void Put(const LogWriter& writer, std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = write(writer.input(), text.data(), text.size());
      ASSERT_GT(written, 0);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  // Everything at once, then the end.
  void Log(std::string_view text, LogLimits limits) const {
    const auto writer = LogWriter::Start(log_, limits);
    ASSERT_THAT(writer, IsOk());
    Put(**writer, text);
    ASSERT_TRUE((*writer)->Finish(seconds(20)));
  }

  std::filesystem::path folder_;
  std::filesystem::path log_;
};

TEST_F(LogWriterTest, RotationKeepsTheLastFiles) {
  for (int start = 1; start <= 5; ++start) {
    RotateLog(log_, 3);
    std::ofstream(log_) << "start " << start << "\n";
  }
  EXPECT_EQ(LastLines(log_, 5), "    start 5\n");
  EXPECT_EQ(LastLines(folder_ / "x.log.1", 5), "    start 4\n");
  EXPECT_EQ(LastLines(folder_ / "x.log.3", 5), "    start 2\n");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.log.4"));
  std::ofstream(log_) << "a\nb\nc\n";
  EXPECT_EQ(LastLines(log_, 2), "    b\n    c\n");
  EXPECT_EQ(LastLines(folder_ / "none", 2), "");
}

TEST_F(LogWriterTest, RotatesBetweenLines) {
  Log("aaa\nbbb\nccc\nddd\neee\n", {.file_bytes = 10, .kept_files = 3});
  EXPECT_EQ(Text("x.log.2"), "aaa\nbbb\n");
  EXPECT_EQ(Text("x.log.1"), "ccc\nddd\n");
  EXPECT_EQ(Text("x.log"), "eee\n");
}

TEST_F(LogWriterTest, AnEarlierFileIsGoneOnWithAndTheOldestGoes) {
  std::ofstream(log_) << "before\n";
  Log("aaa\nbbb\nccc\nddd\n", {.file_bytes = 8, .kept_files = 1});
  EXPECT_EQ(Text("x.log.1"), "aaa\nbbb\n");
  EXPECT_EQ(Text("x.log"), "ccc\nddd\n");
  EXPECT_EQ(Text("x.log.2"), "(none)");
}

TEST_F(LogWriterTest, ALongLineStaysWholeWithinReason) {
  const std::string line(100, 'x');
  Log(Concat("a\n", line, "\nb\n"), {.file_bytes = 10, .kept_files = 3});
  EXPECT_EQ(Text("x.log.2"), "a\n");
  EXPECT_EQ(Text("x.log.1"), line + "\n");
  EXPECT_EQ(Text("x.log"), "b\n");
}

TEST_F(LogWriterTest, ALineWithoutEndIsCut) {
  Log(std::string(3 << 20, 'x'), {.file_bytes = 10, .kept_files = 9});
  std::size_t all = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_)) {
    EXPECT_LE(file.file_size(), (1U << 20) + 10 + (1U << 16));
    all += file.file_size();
  }
  EXPECT_EQ(all, std::size_t{3} << 20);
}

TEST_F(LogWriterTest, WhatIsNotALineYetIsThereAtOnce) {
  const auto writer = LogWriter::Start(log_);
  ASSERT_THAT(writer, IsOk());
  Put(**writer, "half a li");
  while (Text("x.log") != "half a li") {
  }
  EXPECT_TRUE((*writer)->Finish(seconds(20)));
}

TEST_F(LogWriterTest, AnotherTakesThePlaceOfOneThatWasKilled) {
  const auto writer = LogWriter::Start(log_);
  ASSERT_THAT(writer, IsOk());
  const pid_t first = (*writer)->pid();
  EXPECT_THAT((*writer)->Mend(), IsOk());
  EXPECT_EQ((*writer)->pid(), first) << "it runs";
  kill(first, SIGKILL);
  siginfo_t ended{};
  waitid(P_PID, static_cast<id_t>(first), &ended, WEXITED | WNOWAIT);
  Put(**writer, "in the meantime\n");
  EXPECT_THAT((*writer)->Mend(), IsOk());
  EXPECT_NE((*writer)->pid(), first);
  Put(**writer, "after\n");
  EXPECT_TRUE((*writer)->Finish(seconds(20)));
  EXPECT_EQ(Text("x.log"), "in the meantime\nafter\n");
}

// While it lives, the files of `writer` do not grow, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(const LogWriter& writer) : pid_(writer.pid()) {
    const rlimit none{0, RLIM_INFINITY};
    EXPECT_EQ(prlimit(pid_, RLIMIT_FSIZE, &none, &before_), 0);
  }
  ~FullDisk() { prlimit(pid_, RLIMIT_FSIZE, &before_, nullptr); }

 private:
  const pid_t pid_;
  rlimit before_{};
};

// Until the writer has taken everything out of the pipe.
void AwaitTaken(const LogWriter& writer) {
  for (int left = 1; left > 0;) ASSERT_EQ(ioctl(writer.input(), FIONREAD, &left), 0);
}

TEST_F(LogWriterTest, WhatAFullDiskDoesNotTakeIsWrittenLater) {
  const auto writer = LogWriter::Start(log_, {.retry = milliseconds(5)});
  ASSERT_THAT(writer, IsOk());
  Put(**writer, "before\n");
  while (Text("x.log") != "before\n") {
  }
  {
    const FullDisk full(**writer);
    Put(**writer, "dur");
    AwaitTaken(**writer);
    Put(**writer, "ing 1\nduring 2\n");
    AwaitTaken(**writer);
    EXPECT_EQ(Text("x.log"), "before\n");
  }
  // By itself, whether or not there is something new.
  while (Text("x.log") != "before\nduring 1\nduring 2\n") {
  }
  Put(**writer, "after\n");
  EXPECT_TRUE((*writer)->Finish(seconds(20)));
  EXPECT_EQ(Text("x.log"), "before\nduring 1\nduring 2\nafter\n");
}

TEST_F(LogWriterTest, WhatIsMissingAfterAFullDiskIsCounted) {
  const auto writer = LogWriter::Start(log_, {.waiting_bytes = 10, .retry = milliseconds(5)});
  ASSERT_THAT(writer, IsOk());
  {
    const FullDisk full(**writer);
    Put(**writer, "aaa\nbbb\nccc\n");
    AwaitTaken(**writer);
    Put(**writer, "ddd\n");
    AwaitTaken(**writer);
  }
  Put(**writer, "after\n");
  EXPECT_TRUE((*writer)->Finish(seconds(20)));
  EXPECT_EQ(Text("x.log"),
            "aaa\nbbb\ntocsin: 2 lines (8 bytes) are missing here: the log could not be written "
            "(File too large), and there were more than could be kept until then.\nafter\n");
}

TEST_F(LogWriterTest, LastWordsWaitForRoomToo) {
  const auto writer = LogWriter::Start(log_, {.retry = milliseconds(5)});
  ASSERT_THAT(writer, IsOk());
  {
    const FullDisk full(**writer);
    Put(**writer, "last words\n");
    AwaitTaken(**writer);
    EXPECT_FALSE((*writer)->Finish(milliseconds(50)));
    EXPECT_EQ(Text("x.log"), "");
  }
  EXPECT_EQ(waitpid((*writer)->pid(), nullptr, 0), (*writer)->pid());
  EXPECT_EQ(Text("x.log"), "last words\n");
}

TEST_F(LogWriterTest, HoldsNothingOfItsMakersOpen) {
  int mine[2];
  ASSERT_EQ(pipe2(mine, O_CLOEXEC), 0);
  const auto writer = LogWriter::Start(log_);
  ASSERT_THAT(writer, IsOk());
  close(mine[1]);
  char one = 0;
  EXPECT_EQ(read(mine[0], &one, 1), 0) << "the writer kept the other end";
  close(mine[0]);
  EXPECT_TRUE((*writer)->Finish(seconds(20)));
}

TEST_F(LogWriterTest, AnHeirOfThePipeIsNotWaitedFor) {
  const auto writer = LogWriter::Start(log_);
  ASSERT_THAT(writer, IsOk());
  const int heir = dup((*writer)->input());
  EXPECT_FALSE((*writer)->Finish(milliseconds(50)));
  ASSERT_EQ(write(heir, "late\n", 5), 5);
  close(heir);
  EXPECT_EQ(waitpid((*writer)->pid(), nullptr, 0), (*writer)->pid());
  EXPECT_EQ(Text("x.log"), "late\n");
}

TEST_F(LogWriterTest, AFileThatCannotBeWrittenIsSaid) {
  EXPECT_THAT(LogWriter::Start(folder_ / "none" / "x.log"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("none/x.log")));
}

}  // namespace
}  // namespace tocsin::cli
