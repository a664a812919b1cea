// One supervisor per data folder, and which one it is.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"

namespace tocsin::cli {

// Held from Acquire to the destructor, and by nobody after the holder's death, however it died. Not
// inherited by programs that the holder starts.
//
// Two locks of the open file (F_OFD_SETLK) on one byte each: the first is the instance, the second
// says that the pid in the file is the holder's. So a look sees either no holder or the right pid,
// never one that an earlier holder left behind.
class InstanceLock {
 public:
  // ALREADY_EXISTS: another holds it. FAILED_PRECONDITION: the file cannot be written.
  static absl::StatusOr<std::unique_ptr<InstanceLock>> Acquire(const std::filesystem::path& file);
  // The pid of the living holder; nullopt when nobody holds it. Only looks: any number of looks at
  // any time cannot make an Acquire fail.
  static std::optional<pid_t> Holder(const std::filesystem::path& file);

  ~InstanceLock();
  InstanceLock(const InstanceLock&) = delete;
  InstanceLock& operator=(const InstanceLock&) = delete;

 private:
  explicit InstanceLock(int file) : file_(file) {}
  const int file_;
};

}  // namespace tocsin::cli
