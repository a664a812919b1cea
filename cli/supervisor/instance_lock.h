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
class InstanceLock {
 public:
  // ALREADY_EXISTS: another process holds it.
  static absl::StatusOr<std::unique_ptr<InstanceLock>> Acquire(const std::filesystem::path& file);
  // The pid of the living holder; nullopt when nobody holds it.
  static std::optional<pid_t> Holder(const std::filesystem::path& file);

  ~InstanceLock();
  InstanceLock(const InstanceLock&) = delete;
  InstanceLock& operator=(const InstanceLock&) = delete;

 private:
  explicit InstanceLock(int file) : file_(file) {}
  const int file_;
};

}  // namespace tocsin::cli
