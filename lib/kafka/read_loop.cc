#include "lib/kafka/read_loop.h"

#include <algorithm>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"

namespace tocsin::kafka {
namespace {

bool Brings(const Batch& batch, const std::optional<TopicPartition>& where) {
  if (!where.has_value()) return !batch.records.empty() || !batch.ends.empty();
  return batch.ends.contains(*where) ||
         std::any_of(batch.records.begin(), batch.records.end(),
                     [&](const Record& record) { return record.where() == *where; });
}

}  // namespace

ReadLoop::ReadLoop(LogReader& reader, MakeConsumer make_consumer, ReadLoopOptions options,
                   const Clock& clock)
    : reader_(reader),
      make_consumer_(std::move(make_consumer)),
      options_(std::move(options)),
      clock_(clock),
      // Seeded by the name, so that the loops of one process do not retry in step.
      attach_backoff_(options_.retry, Murmur2(options_.name)),
      ask_backoff_(options_.retry, Murmur2(options_.name) + 1U),
      move_backoff_(options_.retry, Murmur2(options_.name) + 2U) {}

ReadLoop::~ReadLoop() { Close(); }

void ReadLoop::Close() {
  // The listener is called from within, and may still use the consumer.
  if (consumer_ != nullptr) consumer_->Close();
  consumer_.reset();
  fresh_ = true;
  joined_ = false;
  // Comes again with the next consumer.
  in_hand_.reset();
  lost_.clear();
  attach_error_ = lost_error_ = trouble_ = absl::OkStatus();
  ask_at_ = move_at_ = {};
}

void ReadLoop::Run(const Pause& pause) {
  Backoff backoff(options_.retry, Murmur2(options_.name) + 3U);
  bool disturbed = false;
  while (!pause(std::chrono::nanoseconds(0))) {
    const absl::Status state = Step();
    reader_.OnState(state);
    if (!state.ok() && !disturbed) {
      telemetry::LogWarning("reading is disturbed", {{"reading", options_.name}, {"error", state}});
    }
    if (state.ok() && disturbed) {
      telemetry::LogInfo("reading goes on", {{"reading", options_.name}});
    }
    disturbed = !state.ok();
    if (!blocked_) {
      backoff.Reset();
    } else if (pause(backoff.Next())) {
      return;
    }
  }
}

absl::Status ReadLoop::Step() {
  blocked_ = true;
  if (renew_.exchange(false)) Close();
  if (!in_hand_.has_value()) {
    TOCSIN_RETURN_IF_ERROR(EnsureAttached());
    AskWhetherKafkaAnswers();
    reader_.BeforePoll(*consumer_);
    in_hand_ = consumer_->Poll(options_.poll);
  }
  // First what was read: an error may move the position.
  TOCSIN_RETURN_IF_ERROR(reader_.Take(*consumer_, *in_hand_));
  const Batch batch = *std::move(in_hand_);
  in_hand_.reset();
  for (const PollError& error : batch.errors) {
    if (!error.fatal) continue;
    telemetry::LogError("a consumer is of no use any more and is made anew",
                        {{"reading", options_.name}, {"error", error.status}});
    Close();
    return error.status;
  }
  Note(batch);
  MoveLost();
  blocked_ = false;
  return State();
}

absl::Status ReadLoop::EnsureAttached() {
  if (consumer_ == nullptr) {
    TOCSIN_ASSIGN_OR_RETURN(consumer_, make_consumer_());
    fresh_ = true;
  }
  if (!fresh_ && clock_.SteadyNow() < attach_at_) return absl::OkStatus();
  const auto next = reader_.Attach(*consumer_, *this, fresh_);
  if (next.ok()) {
    fresh_ = false;
    attach_error_ = absl::OkStatus();
    attach_backoff_.Reset();
    attach_at_ = clock_.SteadyNow() + std::min(*next, LogReader::kOnce);
    return absl::OkStatus();
  }
  if (fresh_) {
    // A client made while the broker stood still has been seen to answer "unknown partition" for a
    // minute after the broker was back; a new one knows nothing wrong.
    Close();
    return next.status();
  }
  attach_error_ = next.status();
  attach_at_ = clock_.SteadyNow() + attach_backoff_.Next();
  return absl::OkStatus();
}

void ReadLoop::AskWhetherKafkaAnswers() {
  if (trouble_.ok() || clock_.SteadyNow() < ask_at_) return;
  const absl::Status answer =
      trouble_where_.has_value()
          ? consumer_->QueryBeginningOffset(*trouble_where_, options_.question).status()
          : consumer_->Probe(options_.question);
  if (answer.ok()) {
    trouble_ = absl::OkStatus();
    ask_backoff_.Reset();
  } else {
    ask_at_ = clock_.SteadyNow() + ask_backoff_.Next();
  }
}

void ReadLoop::MoveLost() {
  if (lost_.empty() || clock_.SteadyNow() < move_at_) return;
  while (!lost_.empty()) {
    lost_error_ = Move(*lost_.begin());
    if (!lost_error_.ok()) {
      move_at_ = clock_.SteadyNow() + move_backoff_.Next();
      return;
    }
    lost_.erase(lost_.begin());
  }
  move_backoff_.Reset();
}

absl::Status ReadLoop::Move(const TopicPartition& where) {
  const auto position = consumer_->Position(where);
  const auto beginning = consumer_->QueryBeginningOffset(where, options_.question);
  absl::Status moved = beginning.ok() ? consumer_->Seek(where, *beginning) : beginning.status();
  if (!moved.ok()) {
    return Annotate(moved, Concat("the log does not hold the position in ", Describe(where),
                                  " any more, and where it begins is not known yet"));
  }
  reader_.OnMoved(where, position, *beginning);
  return absl::OkStatus();
}

void ReadLoop::Note(const Batch& batch) {
  if (Brings(batch, trouble_where_)) trouble_ = absl::OkStatus();
  for (const PollError& error : batch.errors) {
    if (error.status.code() == absl::StatusCode::kOutOfRange && error.where.has_value()) {
      lost_.insert(*error.where);
      lost_error_ = error.status;
      continue;
    }
    trouble_ = error.status;
    trouble_where_ = error.where;
  }
}

absl::Status ReadLoop::State() const {
  if (!trouble_.ok()) return trouble_;
  if (!lost_error_.ok()) return lost_error_;
  if (!attach_error_.ok()) return attach_error_;
  if (reader_.in_group() && !joined_) {
    return Unavailable(Concat("the group has not yet given out the partitions of ", options_.name));
  }
  return absl::OkStatus();
}

void ReadLoop::OnAssigned(const std::vector<AssignedPartition>& partitions) {
  joined_ = true;
  lost_.clear();
  lost_error_ = trouble_ = absl::OkStatus();
  reader_.OnAssigned(partitions);
}

void ReadLoop::OnRevoked(const std::vector<TopicPartition>& partitions) {
  reader_.OnRevoked(partitions);
  // Whoever gets them next finds out for himself.
  lost_.clear();
  lost_error_ = absl::OkStatus();
}

void ReadLoop::OnLost(const std::vector<TopicPartition>& partitions) {
  reader_.OnLost(partitions);
  lost_.clear();
  lost_error_ = absl::OkStatus();
}

}  // namespace tocsin::kafka
