#include "cli/supervisor/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {

absl::StatusOr<pid_t> StartProgram(const std::vector<std::string>& command,
                                   const std::filesystem::path& output) {
  const int out = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (out < 0) {
    return FailedPrecondition(Concat("cannot write ", output.string(), ": ", std::strerror(errno)));
  }
  auto pid = StartProgram(command, out);
  close(out);
  return pid;
}

absl::StatusOr<pid_t> StartProgram(const std::vector<std::string>& command, int output) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  // Says errno when exec fails; closes without a word when it succeeds.
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) {
    close(null);
    return Internal(Concat("cannot make a pipe: ", std::strerror(errno)));
  }
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // Between fork and exec only what is safe in a signal handler: other threads may hold locks.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    dup2(null, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    const int error = errno;
    [[maybe_unused]] const ssize_t written = write(report[1], &error, sizeof(error));
    _exit(127);
  }
  const int fork_error = errno;
  close(null);
  close(report[1]);
  int error = 0;
  ssize_t got = -1;
  if (pid > 0) {
    do {
      got = read(report[0], &error, sizeof(error));
    } while (got < 0 && errno == EINTR);
  }
  close(report[0]);
  if (pid < 0) {
    return Internal(Concat("cannot start ", command[0], ": ", std::strerror(fork_error)));
  }
  if (got == sizeof(error)) {
    waitpid(pid, nullptr, 0);
    return NotFound(Concat("cannot start ", command[0], ": ", std::strerror(error)));
  }
  return pid;
}

std::string LastLines(const std::filesystem::path& log, int lines) {
  std::ifstream file(log);
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(std::move(line));
    if (last.size() > static_cast<std::size_t>(lines)) last.pop_front();
  }
  std::string text;
  for (const std::string& line : last) text += Concat("    ", line, "\n");
  return text;
}

std::string DescribeEnd(int wait_status) {
  if (WIFEXITED(wait_status)) return Concat("exit code ", WEXITSTATUS(wait_status));
  const int number = WTERMSIG(wait_status);
  return Concat("killed by signal ", number, " (", strsignal(number), ")");
}

}  // namespace tocsin::cli
