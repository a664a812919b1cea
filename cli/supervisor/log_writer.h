// What a program writes, on its way into its log file, which stays within bounds.
//
// Each program writes into a pipe, and a small process of its own takes the pipe to the file. It is
// neither the program, which knows nothing of files and bounds, nor the supervisor: when that dies,
// the writer goes on until the last of the program's words has come, and no program meets a broken
// pipe.
#pragma once

#include <sys/types.h>

#include <chrono>
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
};

// x.log → x.log.1 → … → x.log.`keep`. What cannot be renamed is left.
void RotateLog(const std::filesystem::path& log, int keep = LogLimits().kept_files);

// Not thread-safe. Rotates between two lines, as soon as a file would grow beyond its limit; a line
// is only cut where it alone has more than the limit and 1 MiB. What cannot be written (the disk is
// full) is lost, and the program goes on.
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
  LogWriter(std::vector<std::string> files, std::uint64_t file_bytes)
      : files_(std::move(files)), file_bytes_(file_bytes) {}
  absl::Status Fork();
  void CloseOutput();

  // The file and those before it, newest first.
  const std::vector<std::string> files_;
  const std::uint64_t file_bytes_;
  int input_ = -1;
  // Held as long as the program may run, so that it never meets a broken pipe.
  int output_ = -1;
  pid_t pid_ = 0;
};

}  // namespace tocsin::cli
