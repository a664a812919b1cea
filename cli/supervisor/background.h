// The story of a start, and a start that goes on without its terminal.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string_view>

#include "absl/status/status.h"

namespace tocsin::cli {

// Where the story goes: the terminal, or through a pipe to the program that was asked to detach,
// and from then on the supervisor's own log. Thread-safe.
class Narrator {
 public:
  // `terminal`: the descriptor of the terminal on which the story is read; -1 where there is none.
  Narrator(int file, int terminal) : file_(file), terminal_(terminal) {}

  void Write(std::string_view text) const;
  // Of that terminal, now; 0 when it is not known.
  std::size_t Columns() const;
  // From now on to another file, which is no terminal.
  void MoveTo(int file);

 private:
  std::atomic<int> file_;
  std::atomic<int> terminal_;
};

// What whoever runs in the background tells.
struct Foreground {
  // It has begun for good: from now on, what is written to standard output and error goes to the
  // log, which is rotated first.
  std::function<absl::Status()> begun;
  // It is ready, or has given up: the exit code of the program that was asked to detach. Once.
  std::function<void(int)> ready;
};

// Lets a child call `run` without this terminal, shows its story, and returns its exit code once it
// is ready or has given up. Must be called before the program has made any thread. Ctrl-C until
// then ends the child.
int RunInBackground(const std::function<int(Narrator&, const Foreground&)>& run,
                    const std::filesystem::path& log, bool on_terminal);

}  // namespace tocsin::cli
