#include "schema-registry/model.h"

#include <charconv>
#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "lib/base/text.h"

namespace tocsin::registry {
namespace {

constexpr char kPayload[] = "tocsin/schema-registry/error-code";

absl::StatusCode AbslCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnauthorized:
      return absl::StatusCode::kUnauthenticated;
    case ErrorCode::kForbidden:
      return absl::StatusCode::kPermissionDenied;
    case ErrorCode::kNotFound:
    case ErrorCode::kSubjectNotFound:
    case ErrorCode::kVersionNotFound:
    case ErrorCode::kSchemaNotFound:
    case ErrorCode::kNoSubjectConfig:
    case ErrorCode::kNoSubjectMode:
      return absl::StatusCode::kNotFound;
    case ErrorCode::kIncompatible:
      return absl::StatusCode::kFailedPrecondition;
    case ErrorCode::kStore:
      return absl::StatusCode::kUnavailable;
    case ErrorCode::kTimeout:
      return absl::StatusCode::kDeadlineExceeded;
    case ErrorCode::kCollision:
      return absl::StatusCode::kAborted;
    default:
      return absl::StatusCode::kInvalidArgument;
  }
}

}  // namespace

absl::Status MakeError(ErrorCode code, std::string_view message) {
  absl::Status status(AbslCodeOf(code), ToAbsl(message));
  status.SetPayload(kPayload, absl::Cord(std::to_string(static_cast<int>(code))));
  return status;
}

ErrorCode CodeOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (payload) {
    const std::string text(*payload);
    int code = 0;
    std::from_chars(text.data(), text.data() + text.size(), code);
    return static_cast<ErrorCode>(code);
  }
  return status.code() == absl::StatusCode::kDeadlineExceeded ? ErrorCode::kTimeout
                                                              : ErrorCode::kStore;
}

int HttpStatusOf(ErrorCode code) {
  int status = static_cast<int>(code);
  while (status >= 1000) status /= 10;
  return status;
}

}  // namespace tocsin::registry
