// What the shell sees: ok 0, failure 1, usage 2, not found 3, partial 4, unavailable 5, no right 6,
// conflict 7, timeout 124, interrupted 130, standard output closed 141. Scripts rely on them: they
// stay.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "lib/base/status.h"

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

inline constexpr const char* kUsagePayload = "tocsin.cli/usage";

// The error is one of the command line itself (a flag's value that nothing could do anything with),
// found before anything was done: the shell sees kExitUsage. What a file or a service says about
// what was sent is not. OK stays OK.
inline absl::Status AsUsage(absl::Status status) {
  if (!status.ok()) status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}
inline absl::Status UsageError(std::string_view message) {
  return AsUsage(InvalidArgument(message));
}
// Of the value of `flag`, which stands before the message.
inline absl::Status UsageError(const absl::Status& status, std::string_view flag) {
  return AsUsage(Annotate(status, flag));
}

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
inline int ExitCodeFor(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value() ? kExitUsage : ExitCodeFor(status.code());
}

}  // namespace tocsin::cli
