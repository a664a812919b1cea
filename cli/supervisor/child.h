// A program that the supervisor starts.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::cli {

// Starts `command` with `output` as standard output and error, nothing on standard input, a process
// group of its own (so that Ctrl-C reaches the supervisor alone) and SIGTERM should the supervisor
// die. Must be called on the main thread, which lives as long as the process: the kernel takes the
// death of the starting *thread* for that of the parent. NOT_FOUND: no such program.
absl::StatusOr<pid_t> StartProgram(const std::vector<std::string>& command, int output);

// The same with a file as output, for programs that say little and end soon: it replaces what the
// file held. FAILED_PRECONDITION: it cannot be written.
absl::StatusOr<pid_t> StartProgram(const std::vector<std::string>& command,
                                   const std::filesystem::path& output);

// The last `lines` lines, indented; empty when there are none.
std::string LastLines(const std::filesystem::path& log, int lines);

// "exit code 2", "killed by signal 9 (Killed)"
std::string DescribeEnd(int wait_status);

}  // namespace tocsin::cli
