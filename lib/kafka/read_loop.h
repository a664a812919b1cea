// The loop of a process that reads topics for as long as it lives: makes the consumer, polls, hands
// over what was read, and comes back from every error by itself.
//
//   what happens                   what the loop does
//   no consumer, a fatal error     makes one and has it attached, until that works
//   a position is not in the log   asks where the log begins and seeks there, until both have
//                                  worked; the other partitions are read meanwhile
//   Take fails                     offers the same batch again, and reads nothing more until then
//   Kafka does not answer          says so until the contrary is proven: by records, an end, or the
//                                  answer to a question (a poll that brings nothing proves nothing)
//
// What failed is tried again after a back-off with jitter.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/kafka/consumer.h"

namespace tocsin::kafka {

// For whom the loop reads. Everything is called on the thread that the loop runs on, or that closes
// it. The calls of RebalanceListener are for readers that belong to a group.
class LogReader : public RebalanceListener {
 public:
  // What Attach returns where there is nothing to look for later.
  static constexpr std::chrono::nanoseconds kOnce = std::chrono::hours(24 * 365);

  // Names what is read: by Assign, or by Subscribe with `listener`, which passes on to this object.
  // `fresh`: the consumer is new and reads nothing yet. Called again with the same one after the
  // time returned, for topics and partitions that have come. On an error it is called again: with
  // another fresh consumer, or with the same where that one was attached before; it is read
  // meanwhile.
  virtual absl::StatusOr<std::chrono::nanoseconds> Attach(Consumer& consumer,
                                                          RebalanceListener& listener,
                                                          bool fresh) = 0;
  // Before each poll: the place for Pause and Resume.
  virtual void BeforePoll(Consumer& /*consumer*/) {}
  // What a poll brought: records and ends, perhaps neither. (Its errors are the loop's.) An error
  // means that nothing was taken: the same batch comes again.
  virtual absl::Status Take(Consumer& consumer, const Batch& batch) = 0;
  // The log does not hold `position` any more: retention was faster, or the topic was made anew.
  // The consumer stands at `beginning` now.
  virtual void OnMoved(const TopicPartition& where, std::optional<std::int64_t> position,
                       std::int64_t beginning) = 0;
  // After each step of Run: OK, what is to be read is being read; else what is in the way. Many
  // times a second.
  virtual void OnState(const absl::Status& /*state*/) {}
  // Attach subscribes: until the group has given this member its part, nothing is being read.
  virtual bool in_group() const { return false; }

  void OnAssigned(const std::vector<AssignedPartition>& /*partitions*/) override {}
  void OnRevoked(const std::vector<TopicPartition>& /*partitions*/) override {}
  void OnLost(const std::vector<TopicPartition>& /*partitions*/) override {}
};

struct ReadLoopOptions {
  // What is read, for the log: "incidents.correlated".
  std::string name = {};
  // The longest that one poll waits.
  std::chrono::milliseconds poll{200};
  BackoffOptions retry{.initial = std::chrono::milliseconds(100),
                       .maximum = std::chrono::milliseconds(2'000)};
  // The longest that one question to Kafka waits.
  std::chrono::milliseconds question{2'000};
};

// Not thread-safe but for Renew.
class ReadLoop final : private RebalanceListener {
 public:
  using MakeConsumer = std::function<absl::StatusOr<std::unique_ptr<Consumer>>()>;
  // Waits for `pause`; true as soon as the process is stopping.
  using Pause = std::function<bool(std::chrono::nanoseconds pause)>;

  // `reader` and `clock` must outlive the loop.
  ReadLoop(LogReader& reader, MakeConsumer make_consumer, ReadLoopOptions options,
           const Clock& clock = Clock::Real());
  // Calls Close.
  ~ReadLoop() override;
  ReadLoop(const ReadLoop&) = delete;
  ReadLoop& operator=(const ReadLoop&) = delete;

  // Steps until `pause` says stop, and leaves the consumer open for a last commit. After the stop
  // it returns when the step under way has ended: one poll, at most three questions, and what the
  // reader itself takes.
  void Run(const Pause& pause);

  // One step: a consumer where there is none, a poll, and what follows from it. Returns the state
  // as for OnState.
  absl::Status Step();
  // Could the last step read nothing at all? Then a pause is due before the next.
  bool blocked() const { return blocked_; }

  // The next step begins with a new consumer, which goes on from the reader's own positions or from
  // the group's committed offsets. Any thread.
  void Renew() { renew_ = true; }

  // Null before the first step and after Close.
  Consumer* consumer() const { return consumer_.get(); }
  // Closes the consumer; at most its `close_timeout`. A further step makes another.
  void Close();

 private:
  void OnAssigned(const std::vector<AssignedPartition>& partitions) override;
  void OnRevoked(const std::vector<TopicPartition>& partitions) override;
  void OnLost(const std::vector<TopicPartition>& partitions) override;

  // An error: there is no consumer that reads anything.
  absl::Status EnsureAttached();
  // These ask when it is time to ask again.
  void AskWhetherKafkaAnswers();
  void MoveLost();
  absl::Status Move(const TopicPartition& where);
  void Note(const Batch& batch);
  absl::Status State() const;

  LogReader& reader_;
  const MakeConsumer make_consumer_;
  const ReadLoopOptions options_;
  const Clock& clock_;
  std::atomic<bool> renew_{false};

  std::unique_ptr<Consumer> consumer_;
  bool fresh_ = true;
  bool joined_ = false;
  bool blocked_ = false;
  // Polled and not taken yet.
  std::optional<Batch> in_hand_;

  // When to look for what has come, and why that did not work the last time.
  SteadyTime attach_at_;
  absl::Status attach_error_;
  // Partitions whose position is not in the log, and why they have not been moved yet.
  std::set<TopicPartition> lost_;
  absl::Status lost_error_;
  // What the last poll complained of, until the contrary is proven; about which partition.
  absl::Status trouble_;
  std::optional<TopicPartition> trouble_where_;
  // Before these no question of the kind is asked again. Apart, so that a partition that never
  // answers does not keep the others from being moved.
  SteadyTime ask_at_;
  SteadyTime move_at_;
  Backoff attach_backoff_;
  Backoff ask_backoff_;
  Backoff move_backoff_;
};

}  // namespace tocsin::kafka
