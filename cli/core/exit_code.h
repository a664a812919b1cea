// What the shell sees: ok 0, failure 1, usage 2, not found 3, partial 4, unavailable 5, no right 6,
// conflict 7, timeout 124, interrupted 130, standard output closed 141. Scripts rely on them: they
// stay.
#pragma once

#include "absl/status/status.h"

namespace tocsin::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitPartial = 4,
  kExitUnavailable = 5,
  kExitNoRight = 6,
  kExitConflict = 7,
  kExitTimeout = 124,
  kExitInterrupted = 130,
  // 128 + SIGPIPE, as a shell says of a program that the signal ended.
  kExitClosedOutput = 141,
};

inline int ExitCodeFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      return kExitUnavailable;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitNoRight;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return kExitConflict;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTimeout;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailure;
  }
}

}  // namespace tocsin::cli
