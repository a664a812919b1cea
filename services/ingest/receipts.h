// Receipts on their way from the producer's callbacks to the call that waits for them. Callbacks
// may come after the call has ended, hence shared ownership.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "services/ingest/publisher.h"
#include "tocsin/ingest/v1/ingest.pb.h"

namespace tocsin::ingest {

// For a call that answers once, with all receipts in the order of its events. Thread-safe.
class BatchReceipts : public std::enable_shared_from_this<BatchReceipts> {
 public:
  // A place for the next event. The callback fills it.
  Publisher::Done Open();
  // The last place opened was not used: its event was not taken.
  void Withdraw();
  std::size_t size() const;

  // Waits until a receipt comes, at most `timeout`.
  void WaitForProgress(std::chrono::nanoseconds timeout);
  // Ends the waits for progress, and has `gone` asked.
  void Wake();
  // How many are missing, after waiting until none is, `timeout` has passed, or `gone` (asked a few
  // times a second, and at Wake) says that nobody waits any more.
  std::size_t WaitForAll(std::chrono::nanoseconds timeout, const std::function<bool()>& gone);
  // Those that came; the others are empty.
  std::vector<v1::Receipt> Take();

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<v1::Receipt> receipts_ ABSL_GUARDED_BY(mutex_);
  std::size_t missing_ ABSL_GUARDED_BY(mutex_) = 0;
  // A callback for a place that was withdrawn must not count; there is none by Publish's contract.
};

// For a call that passes receipts on as they come. Thread-safe.
class StreamReceipts : public std::enable_shared_from_this<StreamReceipts> {
 public:
  // As above; `source` and `id` name the event, should it have to be given up.
  Publisher::Done Open(std::string source, std::string id, SteadyTime now);
  void Withdraw();
  std::size_t outstanding() const;

  // No more events will come.
  void Finish();

  // Receipts that have come, after waiting for the first of them at most `timeout`. Events that
  // were taken before `oldest` are given up: their receipt says to send them again.
  std::vector<v1::Receipt> Next(std::chrono::nanoseconds timeout, SteadyTime oldest);
  // Waits until something changes, at most `timeout`.
  void WaitForProgress(std::chrono::nanoseconds timeout);
  // Ends these waits.
  void Wake();
  // Finished, and every receipt handed out.
  bool Drained() const;

 private:
  struct Waiting {
    std::string source;
    std::string id;
    SteadyTime since;
  };

  mutable Mutex mutex_;
  CondVar changed_;
  std::uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Receipt> ready_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

// "12 events were not confirmed by Kafka in time …": what a caller reads.
std::string NotConfirmed(std::size_t missing, std::size_t all);

}  // namespace tocsin::ingest
