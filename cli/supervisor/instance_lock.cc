#include "cli/supervisor/instance_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {

absl::StatusOr<std::unique_ptr<InstanceLock>> InstanceLock::Acquire(
    const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    return FailedPrecondition(
        Concat("cannot open the lock ", path.string(), ": ", std::strerror(errno)));
  }
  auto lock = std::unique_ptr<InstanceLock>(new InstanceLock(file));
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    return AlreadyExists("another supervisor runs on this data folder");
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(file, 0) != 0 ||
      pwrite(file, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return FailedPrecondition(
        Concat("cannot write the lock ", path.string(), ": ", std::strerror(errno)));
  }
  return lock;
}

std::optional<pid_t> InstanceLock::Holder(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::optional<pid_t> holder;
  // What is written there counts only while somebody holds the lock: a dead holder's pid may belong
  // to another program by now.
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    char text[32] = {};
    if (pread(file, text, sizeof(text) - 1, 0) > 0) {
      const long pid = std::strtol(text, nullptr, 10);
      if (pid > 1) holder = static_cast<pid_t>(pid);
    }
  }
  close(file);
  return holder;
}

InstanceLock::~InstanceLock() { close(file_); }

}  // namespace tocsin::cli
