// What a program writes, on its way into its log file, which stays within bounds.
//
// Each program writes into a pipe, and a small process of its own takes the pipe to the file. It is
// neither the program, which knows nothing of files and bounds, nor the supervisor: when that dies,
// the writer goes on until the last of the program's words has come, and no program meets a broken
// pipe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::cli {

// Of one program: the file it writes, and the files before it: x.log, x.log.1 … x.log.3.
struct LogLimits {
  std::uint64_t file_bytes = std::uint64_t{64} << 20;
  int kept_files = 3;
  // What waits in memory while the file cannot be written; 256 KiB at most.
  std::size_t waiting_bytes = std::size_t{256} << 10;
  // Between two tries to write it.
  std::chrono::milliseconds retry{1000};
};

// x.log → x.log.1 → … → x.log.`keep`. What cannot be renamed is left.
void RotateLog(const std::filesystem::path& log, int keep = LogLimits().kept_files);

// Not thread-safe. Rotates between two lines, as soon as a file would grow beyond its limit; a line
// is only cut where it alone has more than the limit and 1 MiB.
//
// What cannot be written (the disk is full) waits in memory and is written as soon as it can be,
// the first words of the trouble above all: where the memory does not hold everything, what came
// after them is left out, and a line in its place says how much that was and why. The program goes
// on in any case. After its end the writer tries for ten seconds more.
class LogWriter {
 public:
  // Appends to `log`. FAILED_PRECONDITION: the file cannot be written; INTERNAL: no process or pipe
  // can be made.
  static absl::StatusOr<std::unique_ptr<LogWriter>> Start(const std::filesystem::path& log,
                                                          LogLimits limits = {});
  // Does not wait: the process ends by itself when nobody can write into the pipe any more.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // What the program gets as its standard output and error; -1 after CloseInput.
  int input() const { return input_; }
  // Once the program has it.
  void CloseInput();

  // Another process in the place of one that was killed; nothing that was still in the pipe is
  // lost, and the program did not notice. Without effect while it runs.
  absl::Status Mend();

  // After the program's end: waits until everything is in the file, at most `timeout`. False: an
  // heir of the program holds the pipe, and the writer goes on without us.
  bool Finish(std::chrono::milliseconds timeout);

  pid_t pid() const { return pid_; }

 private:
  LogWriter(std::vector<std::string> files, LogLimits limits)
      : files_(std::move(files)), limits_(limits) {}
  absl::Status Fork();
  void CloseOutput();

  // The file and those before it, newest first.
  const std::vector<std::string> files_;
  const LogLimits limits_;
  int input_ = -1;
  // Held as long as the program may run, so that it never meets a broken pipe.
  int output_ = -1;
  pid_t pid_ = 0;
};

}  // namespace tocsin::cli
