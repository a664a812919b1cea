#include "services/correlation/worker/plain_outputs.h"

#include <utility>

#include "lib/base/status.h"

namespace tocsin::correlation {

using std::chrono::milliseconds;

absl::Status PlainOutputs::Ticket::Wait(milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mutex_);
  while (waiting_ > 0 && failed_.ok()) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) {
      return DeadlineExceeded("outputs are not confirmed yet");
    }
    changed_.WaitFor(mutex_, left);
  }
  return failed_;
}

void PlainOutputs::Write(kafka::OutgoingRecord record, const std::shared_ptr<Ticket>& ticket,
                         milliseconds timeout) {
  {
    MutexLock lock(ticket->mutex_);
    ++ticket->waiting_;
  }
  const auto done = [ticket](const absl::StatusOr<kafka::Delivered>& outcome) {
    MutexLock lock(ticket->mutex_);
    --ticket->waiting_;
    if (!outcome.ok() && ticket->failed_.ok()) ticket->failed_ = outcome.status();
    ticket->changed_.NotifyAll();
  };
  absl::Status taken = producer_->Produce(record, done);
  if (taken.code() == absl::StatusCode::kResourceExhausted) {
    (void)producer_->Flush(timeout);
    taken = producer_->Produce(std::move(record), done);
  }
  if (!taken.ok()) done(taken);
}

}  // namespace tocsin::correlation
