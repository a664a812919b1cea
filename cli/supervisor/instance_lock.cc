#include "cli/supervisor/instance_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr off_t kInstance = 0;
constexpr off_t kPidWritten = 1;

struct flock WriteLock(off_t byte) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

bool Lock(int file, off_t byte) {
  struct flock lock = WriteLock(byte);
  return fcntl(file, F_OFD_SETLK, &lock) == 0;
}

absl::Status Failed(std::string_view what, const std::filesystem::path& path) {
  return FailedPrecondition(
      Concat("cannot ", what, " the lock ", path.string(), ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<InstanceLock>> InstanceLock::Acquire(
    const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return Failed("open", path);
  auto lock = std::unique_ptr<InstanceLock>(new InstanceLock(file));
  if (!Lock(file, kInstance)) {
    if (errno != EAGAIN && errno != EACCES) return Failed("take", path);
    return AlreadyExists("another supervisor runs on this data folder");
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(file, 0) != 0 ||
      pwrite(file, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return Failed("write", path);
  }
  // Only the holder of the first byte takes the second.
  if (!Lock(file, kPidWritten)) return Failed("take", path);
  return lock;
}

std::optional<pid_t> InstanceLock::Holder(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  struct flock lock = WriteLock(kPidWritten);
  std::optional<pid_t> holder;
  if (fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
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
