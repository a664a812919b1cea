#include "services/ingest/receipts.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/text.h"

namespace tocsin::ingest {
namespace {

constexpr std::chrono::milliseconds kAskWhetherGone{250};

}  // namespace

Publisher::Done BatchReceipts::Open() {
  std::size_t index = 0;
  {
    MutexLock lock(mutex_);
    index = receipts_.size();
    receipts_.emplace_back();
    ++missing_;
  }
  return [self = shared_from_this(), index](v1::Receipt receipt) {
    {
      MutexLock lock(self->mutex_);
      // After Take nobody waits any more.
      if (index < self->receipts_.size()) self->receipts_[index] = std::move(receipt);
      if (self->missing_ > 0) --self->missing_;
    }
    self->changed_.NotifyAll();
  };
}

void BatchReceipts::Withdraw() {
  MutexLock lock(mutex_);
  receipts_.pop_back();
  --missing_;
}

std::size_t BatchReceipts::size() const {
  MutexLock lock(mutex_);
  return receipts_.size();
}

void BatchReceipts::WaitForProgress(std::chrono::nanoseconds timeout) {
  MutexLock lock(mutex_);
  changed_.WaitFor(mutex_, timeout);
}

void BatchReceipts::Wake() {
  // Under the lock: who has asked and does not wait yet must not miss it.
  MutexLock lock(mutex_);
  changed_.NotifyAll();
}

std::size_t BatchReceipts::WaitForAll(std::chrono::nanoseconds timeout,
                                      const std::function<bool()>& gone) {
  const SteadyTime end = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mutex_);
  while (missing_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0) || gone()) break;
    changed_.WaitFor(mutex_, std::min<std::chrono::nanoseconds>(left, kAskWhetherGone));
  }
  return missing_;
}

std::vector<v1::Receipt> BatchReceipts::Take() {
  MutexLock lock(mutex_);
  return std::exchange(receipts_, {});
}

Publisher::Done StreamReceipts::Open(std::string source, std::string id, SteadyTime now) {
  std::uint64_t ticket = 0;
  {
    MutexLock lock(mutex_);
    ticket = next_++;
    waiting_.emplace(ticket,
                     Waiting{.source = std::move(source), .id = std::move(id), .since = now});
  }
  return [self = shared_from_this(), ticket](v1::Receipt receipt) {
    {
      MutexLock lock(self->mutex_);
      // Given up before: its caller has been told to send it again, and must not hear twice.
      if (self->waiting_.erase(ticket) == 0) return;
      self->ready_.push_back(std::move(receipt));
    }
    self->changed_.NotifyAll();
  };
}

void StreamReceipts::Withdraw() {
  MutexLock lock(mutex_);
  waiting_.erase(next_ - 1);
}

std::size_t StreamReceipts::outstanding() const {
  MutexLock lock(mutex_);
  return waiting_.size() + ready_.size();
}

void StreamReceipts::Finish() {
  {
    MutexLock lock(mutex_);
    finished_ = true;
  }
  changed_.NotifyAll();
}

std::vector<v1::Receipt> StreamReceipts::Next(std::chrono::nanoseconds timeout, SteadyTime oldest) {
  MutexLock lock(mutex_);
  if (ready_.empty() && !(finished_ && waiting_.empty())) changed_.WaitFor(mutex_, timeout);
  while (!waiting_.empty() && waiting_.begin()->second.since < oldest) {
    Waiting& given_up = waiting_.begin()->second;
    v1::Receipt receipt;
    receipt.set_source(std::move(given_up.source));
    receipt.set_id(std::move(given_up.id));
    receipt.set_error_code(static_cast<int>(absl::StatusCode::kUnavailable));
    receipt.set_error_message(NotConfirmed(1, 1));
    ready_.push_back(std::move(receipt));
    waiting_.erase(waiting_.begin());
  }
  std::vector<v1::Receipt> result = std::exchange(ready_, {});
  // A reader that waits for room.
  changed_.NotifyAll();
  return result;
}

void StreamReceipts::WaitForProgress(std::chrono::nanoseconds timeout) {
  MutexLock lock(mutex_);
  changed_.WaitFor(mutex_, timeout);
}

void StreamReceipts::Wake() {
  MutexLock lock(mutex_);
  changed_.NotifyAll();
}

bool StreamReceipts::Drained() const {
  MutexLock lock(mutex_);
  return finished_ && waiting_.empty() && ready_.empty();
}

std::string NotConfirmed(std::size_t missing, std::size_t all) {
  if (all == 1) {
    return "Kafka did not confirm the event in time. It may or may not be in the log: send the "
           "same "
           "event again with the same id; copies count once";
  }
  return Concat(
      "Kafka did not confirm ", missing, " of ", all,
      " events in time. They may or may not be in the log: send the same events again with the "
      "same ids; copies count once");
}

}  // namespace tocsin::ingest
