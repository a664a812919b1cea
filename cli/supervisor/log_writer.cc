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

  void Append(const char* data, std::size_t size) {
    while (size > 0) {
      if (file_ < 0) Open();
      bool full = false;
      const std::size_t part = Part(data, size, full);
      Write(data, part);
      data += part;
      size -= part;
      if (!full) continue;
      if (file_ >= 0) close(file_);
      Rotate(files_);
      Open();
    }
  }

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

  void Write(const char* data, std::size_t size) {
    if (size == 0) return;
    within_line_ = data[size - 1] != '\n';
    written_ += size;
    while (size > 0) {
      const ssize_t done = write(file_, data, size);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return;
      data += done;
      size -= static_cast<std::size_t>(done);
    }
  }

  const std::vector<std::string>& files_;
  const std::uint64_t limit_;
  int file_ = -1;
  std::uint64_t written_ = 0;
  bool within_line_ = false;
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
                                   std::uint64_t limit) {
  // Its end is the end of the pipe: what ends or stops the supervisor must not touch it.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  setpgid(0, 0);
  prctl(PR_SET_NAME, "tocsin-log");
  KeepOnly(output);
  output = 3;
  BoundedFile file(files, limit);
  static char buffer[1 << 16];
  for (;;) {
    const ssize_t got = read(output, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) _exit(0);
    file.Append(buffer, static_cast<std::size_t>(got));
  }
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
  auto writer = std::unique_ptr<LogWriter>(
      new LogWriter(Files(log, limits.kept_files), std::max<std::uint64_t>(limits.file_bytes, 1)));
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
  if (pid == 0) WriteUntilTheEnd(output_, files_, file_bytes_);
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
