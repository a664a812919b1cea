#include "cli/console.h"

#include <signal.h>
#include <stdio_ext.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "cli/core/columns.h"
#include "cli/stop_request.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

// errno of the first write to standard output that failed.
std::atomic<int> g_print_error{0};

}  // namespace

void Say(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fputc('\n', stderr);
}

void Print(std::string_view text) {
  if (g_print_error != 0) return;
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return;
  }
  g_print_error = errno == 0 ? EIO : errno;
  ProcessStop().Make(SIGPIPE);
}

absl::Status PrintedSoFar() {
  const int error = g_print_error;
  if (error == 0) return absl::OkStatus();
  if (error == EPIPE) return absl::CancelledError("nobody reads standard output");
  return DataLoss(Concat("standard output cannot be written: ", std::strerror(error)));
}

void ForgetPrinted() {
  g_print_error = 0;
  __fpurge(stdout);
  std::clearerr(stdout);
}

std::size_t TerminalColumns(int file) {
  winsize size{};
  return file >= 0 && ioctl(file, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void StatusLine::Show(std::string_view text) {
  constexpr std::chrono::milliseconds kBetween{100};
  const SteadyTime now = Clock::Real().SteadyNow();
  if (!terminal_ || (shown_.has_value() && now - *shown_ < kBetween)) return;
  shown_ = now;
  const std::size_t columns = TerminalColumns(STDERR_FILENO);
  const std::string line = columns == 0 ? std::string(text) : FitColumns(text, columns - 1);
  std::fputs(Concat("\r\x1b[2K", line).c_str(), stderr);
}

void StatusLine::Clear() {
  if (terminal_ && shown_.has_value()) std::fputs("\r\x1b[2K", stderr);
  shown_.reset();
}

}  // namespace tocsin::cli
