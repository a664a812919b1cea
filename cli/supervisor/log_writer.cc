#include "cli/supervisor/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "lib/base/clock.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr std::uint64_t kLongestLine = std::uint64_t{1} << 20;
constexpr std::size_t kMostWaiting = std::size_t{256} << 10;
constexpr std::chrono::milliseconds kAfterTheEnd{10'000};

std::vector<std::string> Files(const std::filesystem::path& log, int keep) {
  std::vector<std::string> files{log.string()};
  for (int number = 1; number <= keep; ++number) {
    files.push_back(Concat(log.string(), ".", number));
  }
  return files;
}

// Async-signal-safe, as all that the forked process does: the supervisor's other threads may have
// held locks at the fork.
void Rotate(const std::vector<std::string>& files) {
  for (std::size_t to = files.size() - 1; to > 0; --to) {
    std::rename(files[to - 1].c_str(), files[to].c_str());
  }
}

int OpenLog(const std::string& file) {
  return open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

// The file being written. Async-signal-safe.
class BoundedFile {
 public:
  BoundedFile(const std::vector<std::string>& files, std::uint64_t limit)
      : files_(files), limit_(limit) {
    Open();
  }

  // How much of it has been written: less than all when the file cannot be written now.
  std::size_t Append(const char* const data, const std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      if (file_ < 0) Open();
      bool full = false;
      const std::size_t part = Part(data + done, size - done, full);
      const std::size_t written = Write(data + done, part);
      done += written;
      if (written < part) break;
      if (!full) continue;
      if (file_ >= 0) close(file_);
      Rotate(files_);
      Open();
    }
    return done;
  }
  bool within_line() const { return within_line_; }
  // Why the last Append stopped.
  int error() const { return error_; }

 private:
  void Open() {
    file_ = OpenLog(files_.front());
    struct stat status {};
    written_ =
        file_ >= 0 && fstat(file_, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
    within_line_ = false;
  }

  // How much of it belongs into this file, and whether the file is full after it.
  std::size_t Part(const char* data, std::size_t size, bool& full) const {
    const std::uint64_t room = limit_ > written_ ? limit_ - written_ : 0;
    if (size <= room) return size;
    full = true;
    const void* const last = memrchr(data, '\n', static_cast<std::size_t>(room));
    if (last != nullptr) return Behind(data, last);
    if (!within_line_ && written_ > 0) return 0;
    // One line fills the file: it may end here.
    if (const void* const first = memchr(data, '\n', size)) return Behind(data, first);
    full = written_ + size > limit_ + kLongestLine;
    return size;
  }
  static std::size_t Behind(const char* data, const void* end) {
    return static_cast<std::size_t>(static_cast<const char*>(end) - data) + 1;
  }

  std::size_t Write(const char* data, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      // Without a file, why it could not be opened is the reason.
      const ssize_t now = file_ < 0 ? -1 : write(file_, data + done, size - done);
      if (now < 0 && file_ >= 0 && errno == EINTR) continue;
      if (now <= 0) {
        error_ = errno;
        break;
      }
      done += static_cast<std::size_t>(now);
    }
    if (done > 0) within_line_ = data[done - 1] != '\n';
    written_ += done;
    return done;
  }

  const std::vector<std::string>& files_;
  const std::uint64_t limit_;
  int file_ = -1;
  std::uint64_t written_ = 0;
  bool within_line_ = false;
  int error_ = 0;
};

// Text put together without the heap, which may have been locked at the fork.
class ShortText {
 public:
  void Add(const char* text) {
    while (*text != '\0' && size_ < sizeof(text_)) text_[size_++] = *text++;
  }
  void Add(std::uint64_t number) {
    char digits[24];
    char* at = digits + sizeof(digits) - 1;
    *at = '\0';
    do {
      *--at = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    Add(at);
  }
  const char* data() const { return text_; }
  std::size_t size() const { return size_; }

 private:
  char text_[256];
  std::size_t size_ = 0;
};

// Before the file: what it does not take now. Async-signal-safe; one in each process.
class Backlog {
 public:
  Backlog(BoundedFile& file, std::size_t limit)
      : file_(file), limit_(std::min(limit, kMostWaiting)) {}

  void Append(const char* data, std::size_t size) {
    if (!CatchUp()) return Keep(data, size);
    const std::size_t done = file_.Append(data, size);
    if (done < size) Keep(data + done, size - done);
  }

  // True when nothing waits any more.
  bool CatchUp() {
    const std::size_t done = file_.Append(waiting_, size_);
    std::memmove(waiting_, waiting_ + done, size_ - done);
    size_ -= done;
    if (size_ == 0 && lost_bytes_ > 0) TellLoss();
    return !waiting();
  }
  bool waiting() const { return size_ > 0 || lost_bytes_ > 0; }

 private:
  void Keep(const char* data, std::size_t size) {
    error_ = file_.error();
    std::size_t room = lost_bytes_ > 0 ? 0 : limit_ - std::min(limit_, size_);
    if (room < size) {
      // Whole lines: the one that says what is missing comes between two.
      const void* const last = room == 0 ? nullptr : memrchr(data, '\n', room);
      room =
          last == nullptr ? 0 : static_cast<std::size_t>(static_cast<const char*>(last) - data) + 1;
    }
    const std::size_t kept = std::min(room, size);
    std::memcpy(waiting_ + size_, data, kept);
    size_ += kept;
    lost_bytes_ += size - kept;
    lost_lines_ += static_cast<std::uint64_t>(std::count(data + kept, data + size, '\n'));
  }

  void TellLoss() {
    ShortText line;
    if (file_.within_line()) line.Add("\n");
    line.Add("tocsin: ");
    line.Add(lost_lines_);
    line.Add(lost_lines_ == 1 ? " line (" : " lines (");
    line.Add(lost_bytes_);
    line.Add(" bytes) are missing here: the log could not be written (");
    const char* const why = strerrordesc_np(error_);
    line.Add(why == nullptr ? "unknown error" : why);
    line.Add("), and there were more than could be kept until then.\n");
    std::memcpy(waiting_, line.data(), line.size());
    size_ = line.size();
    lost_bytes_ = 0;
    lost_lines_ = 0;
    const std::size_t done = file_.Append(waiting_, size_);
    std::memmove(waiting_, waiting_ + done, size_ - done);
    size_ -= done;
  }

  BoundedFile& file_;
  const std::size_t limit_;
  // The line about what is missing has its room beside the limit.
  static inline char waiting_[kMostWaiting + 256];
  std::size_t size_ = 0;
  std::uint64_t lost_bytes_ = 0;
  std::uint64_t lost_lines_ = 0;
  int error_ = 0;
};

// Keeps `output` alone open, as descriptor 3: above all not the supervisor's lock.
void KeepOnly(int output) {
  const int null = open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, standard);
  constexpr int kOutput = 3;
  if (output != kOutput) dup2(output, kOutput);
  syscall(SYS_close_range, kOutput + 1, ~0U, 0U);
}

[[noreturn]] void WriteUntilTheEnd(int output, const std::vector<std::string>& files,
                                   const LogLimits& limits) {
  // Its end is the end of the pipe: what ends or stops the supervisor must not touch it.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  setpgid(0, 0);
  prctl(PR_SET_NAME, "tocsin-log");
  KeepOnly(output);
  output = 3;
  BoundedFile file(files, limits.file_bytes);
  Backlog backlog(file, limits.waiting_bytes);
  const int retry = std::max(1, static_cast<int>(limits.retry.count()));
  static char buffer[1 << 16];
  for (;;) {
    pollfd more{output, POLLIN, 0};
    if (backlog.waiting() && poll(&more, 1, retry) == 0) {
      backlog.CatchUp();
      continue;
    }
    const ssize_t got = read(output, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    backlog.Append(buffer, static_cast<std::size_t>(got));
  }
  for (int spent = 0; !backlog.CatchUp() && spent < kAfterTheEnd.count(); spent += retry) {
    poll(nullptr, 0, retry);
  }
  _exit(0);
}

}  // namespace

void RotateLog(const std::filesystem::path& log, int keep) { Rotate(Files(log, keep)); }

absl::StatusOr<std::unique_ptr<LogWriter>> LogWriter::Start(const std::filesystem::path& log,
                                                            LogLimits limits) {
  // Tried here, where it can still be said.
  const int file = OpenLog(log.string());
  if (file < 0) {
    return FailedPrecondition(Concat("cannot write ", log.string(), ": ", std::strerror(errno)));
  }
  close(file);
  limits.file_bytes = std::max<std::uint64_t>(limits.file_bytes, 1);
  auto writer = std::unique_ptr<LogWriter>(new LogWriter(Files(log, limits.kept_files), limits));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return Internal(Concat("cannot make a pipe: ", std::strerror(errno)));
  }
  writer->output_ = ends[0];
  writer->input_ = ends[1];
  TOCSIN_RETURN_IF_ERROR(writer->Fork());
  return writer;
}

LogWriter::~LogWriter() {
  CloseInput();
  CloseOutput();
}

absl::Status LogWriter::Fork() {
  const pid_t pid = fork();
  if (pid < 0) return Internal(Concat("cannot start a log writer: ", std::strerror(errno)));
  if (pid == 0) WriteUntilTheEnd(output_, files_, limits_);
  pid_ = pid;
  return absl::OkStatus();
}

void LogWriter::CloseInput() {
  if (input_ >= 0) close(input_);
  input_ = -1;
}

void LogWriter::CloseOutput() {
  if (output_ >= 0) close(output_);
  output_ = -1;
}

absl::Status LogWriter::Mend() {
  if (output_ < 0 || waitpid(pid_, nullptr, WNOHANG) == 0) return absl::OkStatus();
  return Fork();
}

bool LogWriter::Finish(std::chrono::milliseconds timeout) {
  CloseInput();
  CloseOutput();
  const SteadyTime deadline = Clock::Real().SteadyNow() + timeout;
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended{process, POLLIN, 0};
  for (auto left = timeout; process >= 0 && left.count() > 0;) {
    if (poll(&ended, 1, static_cast<int>(left.count())) >= 0 || errno != EINTR) break;
    left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::Real().SteadyNow());
  }
  if (process >= 0) close(process);
  return waitpid(pid_, nullptr, WNOHANG) != 0;
}

}  // namespace tocsin::cli
