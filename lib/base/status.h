// absl::Status helpers: early return, wrapping with context.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/text.h"

// Returns from the enclosing function when `expression` (an absl::Status) is not OK.
#define TOCSIN_RETURN_IF_ERROR(expression)                                                       \
  do {                                                                                           \
    if (absl::Status tocsin_status_ = (expression); !tocsin_status_.ok()) return tocsin_status_; \
  } while (false)
// NOLINTBEGIN(bugprone-macro-parentheses): `result` is a name, and `target` may be a declaration.
#define TOCSIN_STATUS_CONCAT_INNER_(x, y) x##y
#define TOCSIN_STATUS_CONCAT_(x, y) TOCSIN_STATUS_CONCAT_INNER_(x, y)
#define TOCSIN_ASSIGN_OR_RETURN_IMPL_(result, target, expression) \
  auto result = (expression);                                     \
  if (!result.ok()) return std::move(result).status();            \
  target = std::move(result).value()
// NOLINTEND(bugprone-macro-parentheses)
// Evaluates `expression` (a StatusOr), returns its status when it is not OK, else assigns its value
// to `target`, which may be a declaration: TOCSIN_ASSIGN_OR_RETURN(auto config, LoadConfig(path));
#define TOCSIN_ASSIGN_OR_RETURN(target, expression) \
  TOCSIN_ASSIGN_OR_RETURN_IMPL_(TOCSIN_STATUS_CONCAT_(tocsin_result_, __LINE__), target, expression)

namespace tocsin {

inline std::string_view Message(const absl::Status& status) { return ToStd(status.message()); }

// The same code and payloads with "context: " before the message. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// "NOT_FOUND: no such subject", for logs.
std::string Describe(const absl::Status& status);

// Errors with std::string_view messages; Abseil's own take absl::string_view.
inline absl::Status InvalidArgument(std::string_view message) {
  return absl::InvalidArgumentError(ToAbsl(message));
}
inline absl::Status NotFound(std::string_view message) {
  return absl::NotFoundError(ToAbsl(message));
}
inline absl::Status FailedPrecondition(std::string_view message) {
  return absl::FailedPreconditionError(ToAbsl(message));
}
inline absl::Status Unavailable(std::string_view message) {
  return absl::UnavailableError(ToAbsl(message));
}
inline absl::Status Internal(std::string_view message) {
  return absl::InternalError(ToAbsl(message));
}
inline absl::Status Unauthenticated(std::string_view message) {
  return absl::UnauthenticatedError(ToAbsl(message));
}
inline absl::Status PermissionDenied(std::string_view message) {
  return absl::PermissionDeniedError(ToAbsl(message));
}
inline absl::Status ResourceExhausted(std::string_view message) {
  return absl::ResourceExhaustedError(ToAbsl(message));
}
inline absl::Status DeadlineExceeded(std::string_view message) {
  return absl::DeadlineExceededError(ToAbsl(message));
}
inline absl::Status Aborted(std::string_view message) {
  return absl::AbortedError(ToAbsl(message));
}
inline absl::Status DataLoss(std::string_view message) {
  return absl::DataLossError(ToAbsl(message));
}
inline absl::Status AlreadyExists(std::string_view message) {
  return absl::AlreadyExistsError(ToAbsl(message));
}

// May the same call succeed later without any change by the caller?
bool IsRetryable(const absl::Status& status);

}  // namespace tocsin
