// Standard output, which is for data, and standard error, which is for people.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "lib/base/clock.h"

namespace tocsin::cli {

// Narration, to standard error: a line.
void Say(std::string_view text);

// Data, to standard output, at once. When it cannot be written, ProcessStop is made (with SIGPIPE)
// and nothing more is written: nobody reads it (`| head`), or the disk is full.
void Print(std::string_view text);

// OK as long as everything could be printed. CANCELLED: nobody reads standard output any more.
// DATA_LOSS: another error, in words for people.
absl::Status PrintedSoFar();
// As if nothing had been printed; for tests, which run several commands in one process.
void ForgetPrinted();

// How wide the terminal is that `file` is; 0 where it is none or does not know.
std::size_t TerminalColumns(int file);

// A line on standard error that is written over, never wider than the terminal, at most ten times a
// second; where there is no terminal nothing is written. Not thread-safe.
class StatusLine {
 public:
  explicit StatusLine(bool terminal) : terminal_(terminal) {}
  ~StatusLine() { Clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void Show(std::string_view text);
  // Before anything else is written.
  void Clear();

 private:
  const bool terminal_;
  std::optional<SteadyTime> shown_;
};

}  // namespace tocsin::cli
