#include "cli/supervisor/background.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/stop_request.h"
#include "cli/supervisor/log_writer.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

struct Pipes {
  int story[2];
  int result[2];
};

absl::Status WriteToLog(const std::filesystem::path& log) {
  RotateLog(log);
  TOCSIN_ASSIGN_OR_RETURN(const auto writer, LogWriter::Start(log));
  dup2(writer->input(), STDOUT_FILENO);
  dup2(writer->input(), STDERR_FILENO);
  return absl::OkStatus();
}

[[noreturn]] void BeTheChild(const std::function<int(Narrator&, const Foreground&)>& run,
                             const std::filesystem::path& log, bool on_terminal,
                             const Pipes& pipes) {
  close(pipes.story[0]);
  close(pipes.result[0]);
  setsid();
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  Narrator narrator(pipes.story[1],
                    on_terminal ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1);
  Foreground foreground;
  foreground.begun = [&log] { return WriteToLog(log); };
  foreground.ready = [&](int exit_code) {
    narrator.MoveTo(STDERR_FILENO);
    const auto byte = static_cast<unsigned char>(exit_code);
    [[maybe_unused]] const ssize_t written = write(pipes.result[1], &byte, 1);
    close(pipes.result[1]);
    close(pipes.story[1]);
  };
  _exit(run(narrator, foreground));
}

void ShowStory(int story, pid_t child) {
  const Narrator narrator(STDERR_FILENO, -1);
  bool told = false;
  for (char buffer[4096];;) {
    const ssize_t got = read(story, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) {
      if (ProcessStop().made() && !told) kill(child, SIGTERM);
      told = told || ProcessStop().made();
      continue;
    }
    if (got <= 0) return;
    narrator.Write({buffer, static_cast<std::size_t>(got)});
  }
}

}  // namespace

void Narrator::Write(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = write(file_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::size_t Narrator::Columns() const { return TerminalColumns(terminal_); }

void Narrator::MoveTo(int file) {
  file_ = file;
  const int terminal = terminal_.exchange(-1);
  if (terminal > STDERR_FILENO) close(terminal);
}

int RunInBackground(const std::function<int(Narrator&, const Foreground&)>& run,
                    const std::filesystem::path& log, bool on_terminal) {
  Pipes pipes{};
  if (pipe2(pipes.story, O_CLOEXEC) != 0 || pipe2(pipes.result, O_CLOEXEC) != 0) {
    Say(Concat("tocsin: cannot make a pipe: ", std::strerror(errno)));
    return kExitFailure;
  }
  const pid_t child = fork();
  if (child < 0) {
    Say(Concat("tocsin: cannot start in the background: ", std::strerror(errno)));
    return kExitFailure;
  }
  if (child == 0) BeTheChild(run, log, on_terminal, pipes);
  close(pipes.story[1]);
  close(pipes.result[1]);
  ShowStory(pipes.story[0], child);
  unsigned char code = kExitFailure;
  ssize_t got = -1;
  do {
    got = read(pipes.result[0], &code, 1);
  } while (got < 0 && errno == EINTR);
  // One that has given up is gone when this returns, and its lock with it.
  if (got != 1 || code != kExitOk) {
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (got != 1) {
    Say(Concat("tocsin: the supervisor ended without a word; see ", log.string()));
    return kExitFailure;
  }
  return code;
}

}  // namespace tocsin::cli
