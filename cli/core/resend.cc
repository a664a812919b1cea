#include "cli/core/resend.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/base/backoff.h"

namespace tocsin::cli {

using std::chrono::milliseconds;

bool MayResend(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    // What a connection cut in the middle of a call is called, depending on who noticed.
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

ResendIo::Answer Resend(const ResendOptions& options, std::uint64_t seed, ResendIo& io) {
  constexpr milliseconds kShortest{10};
  Backoff pauses({options.first_pause, options.longest_pause}, seed);
  const SteadyTime start = io.Now();
  std::optional<ResendIo::Answer> said;
  for (;;) {
    const auto left = [&](milliseconds budget) {
      return std::chrono::floor<milliseconds>(start + budget - io.Now());
    };
    ResendIo::Answer answer =
        io.Attempt(std::clamp(left(options.budget), kShortest, options.attempt));
    if (answer.status.ok() || !MayResend(answer.status.code())) return answer;
    if (!io.Wait(milliseconds(0))) return {absl::CancelledError("stopped"), false};
    if (answer.from_service) said = answer;
    const ResendIo::Answer& best = said.has_value() ? *said : answer;
    const bool reached = said.has_value() || absl::IsDeadlineExceeded(answer.status);
    const milliseconds rest =
        left(reached ? options.budget : std::min(options.budget, options.nobody));
    const milliseconds pause = std::max(pauses.Next(), kShortest);
    if (rest <= pause) return best;
    io.OnAgain(best.status, rest);
    if (!io.Wait(pause)) return {absl::CancelledError("stopped"), false};
  }
}

}  // namespace tocsin::cli
