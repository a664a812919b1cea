#include "schema-registry/model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/wire_validator.h"

namespace tocsin::registry {
namespace {

constexpr char kPayload[] = "tocsin/schema-registry/error-code";
constexpr std::size_t kMaxSubjectBytes = 512;

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
    case ErrorCode::kSubjectSoftDeleted:
    case ErrorCode::kVersionSoftDeleted:
    case ErrorCode::kNoSubjectConfig:
    case ErrorCode::kNoSubjectMode:
      return absl::StatusCode::kNotFound;
    case ErrorCode::kIncompatible:
    case ErrorCode::kSubjectNotSoftDeleted:
    case ErrorCode::kVersionNotSoftDeleted:
    case ErrorCode::kNotPermitted:
    case ErrorCode::kReferenceExists:
    case ErrorCode::kIdMismatch:
    case ErrorCode::kContextNotEmpty:
      return absl::StatusCode::kFailedPrecondition;
    case ErrorCode::kBusy:
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

absl::Status InvalidSubject(std::string_view message) {
  return MakeError(ErrorCode::kInvalidSubject, message);
}

struct ModeFacts {
  Mode mode;
  std::string_view name;
};
constexpr std::array kModes = {
    ModeFacts{Mode::kReadWrite, "READWRITE"},
    ModeFacts{Mode::kReadOnly, "READONLY"},
    ModeFacts{Mode::kReadOnlyOverride, "READONLY_OVERRIDE"},
    ModeFacts{Mode::kImport, "IMPORT"},
    ModeFacts{Mode::kForward, "FORWARD"},
};

}  // namespace

absl::StatusOr<SubjectName> ParseSubject(std::string_view name) {
  if (name.size() > kMaxSubjectBytes) {
    return InvalidSubject(
        Concat("the subject's name is longer than ", kMaxSubjectBytes, " bytes; shorten it"));
  }
  // JSON could not hold it: the record would be about another subject.
  if (!schema::IsValidUtf8(name)) return InvalidSubject("the subject's name is not valid UTF-8");
  if (std::any_of(name.begin(), name.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return InvalidSubject("the subject's name holds control characters");
  }
  SubjectName parsed;
  if (name.substr(0, 2) != ":.") {
    parsed.subject = name;
    return parsed;
  }
  const std::size_t end = name.find(':', 1);
  if (end == std::string_view::npos) {
    return InvalidSubject(Concat("'", name, "' begins a context and does not end it: write ", name,
                                 ": for the context itself, or ", name, ":subject"));
  }
  parsed.context = name.substr(1, end - 1);
  parsed.subject = name.substr(end + 1);
  return parsed;
}

std::string FormatSubject(const SubjectName& name) {
  if (name.context == kDefaultContext) return name.subject;
  return Concat(":", name.context, ":", name.subject);
}

std::string_view ModeName(Mode mode) {
  for (const ModeFacts& facts : kModes) {
    if (facts.mode == mode) return facts.name;
  }
  return "READWRITE";
}

absl::StatusOr<Mode> ParseMode(std::string_view name) {
  for (const ModeFacts& facts : kModes) {
    if (facts.name == name) return facts.mode;
  }
  return MakeError(ErrorCode::kInvalidMode,
                   Concat("'", Shorten(name, 40),
                          "' is not a mode; the modes are READWRITE, READONLY, READONLY_OVERRIDE, "
                          "IMPORT and FORWARD"));
}

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
