#include "services/correlation/lag/lag_reader.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestQuestion{2'000};
constexpr milliseconds kPoll{100};
constexpr milliseconds kClose{500};
// A reader that was given another assignment may stand still (librdkafka 2.0.2): after so long
// without anything it is given it once more.
constexpr milliseconds kAgain{500};
// One record of each partition is looked at.
constexpr std::size_t kFetchAhead = 1U << 20;

}  // namespace

absl::StatusOr<Lag> LagReader::Read(const RuleSet& rules, SteadyTime deadline) {
  {
    MutexLock lock(mutex_);
    while (busy_) {
      const auto left = deadline - io_.clock->SteadyNow();
      if (left <= std::chrono::nanoseconds(0)) {
        return DeadlineExceeded("others were still asking Kafka; try again");
      }
      free_.WaitFor(mutex_, left);
    }
    busy_ = true;
  }
  absl::StatusOr<Lag> lag = ReadNow(rules, deadline);
  if (!lag.ok()) {
    group_view_.reset();
    reader_.reset();
  }
  MutexLock lock(mutex_);
  busy_ = false;
  free_.NotifyOne();
  return lag;
}

milliseconds LagReader::Patience(SteadyTime deadline) const {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - io_.clock->SteadyNow());
  return std::clamp(left, milliseconds(0), kLongestQuestion);
}

absl::Status LagReader::EnsureClients() {
  if (group_view_ == nullptr) {
    kafka::ConsumerOptions options;
    options.group = group_;
    options.close_timeout = kClose;
    // What is pending in a transaction is not waited for: it is not committed.
    options.isolation = kafka::Isolation::kReadUncommitted;
    TOCSIN_ASSIGN_OR_RETURN(group_view_, io_.make_consumer(std::move(options)));
  }
  if (reader_ == nullptr) {
    kafka::ConsumerOptions options;
    options.max_buffered_bytes = kFetchAhead;
    options.close_timeout = kClose;
    TOCSIN_ASSIGN_OR_RETURN(reader_, io_.make_consumer(std::move(options)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PartitionLag>> LagReader::Partitions(const RuleSet& rules,
                                                                SteadyTime deadline) {
  if (rules.plans.empty()) {
    return Unavailable("the rules are not known yet: the process is starting");
  }
  TOCSIN_ASSIGN_OR_RETURN(const auto topics, io_.admin->ListTopics(Patience(deadline)));
  std::map<std::string, std::string> streams;
  for (const auto& plan : rules.plans) {
    for (const std::string& topic : plan->InputTopics()) streams[topic] = plan->stream().topic;
  }
  std::vector<PartitionLag> partitions;
  for (const auto& [topic, stream] : streams) {
    const auto found = topics.find(topic);
    PartitionLag lag;
    lag.stream = stream;
    lag.where.topic = topic;
    if (found == topics.end()) {
      lag.problem = "there is no such topic";
      partitions.push_back(std::move(lag));
      continue;
    }
    for (; lag.where.partition < found->second.partitions; ++lag.where.partition) {
      partitions.push_back(lag);
    }
  }
  return partitions;
}

void LagReader::FindOwners(std::vector<PartitionLag>& partitions, SteadyTime deadline) {
  const auto members = io_.admin->GroupMembers(group_, Patience(deadline));
  if (!members.ok()) return;
  std::map<kafka::TopicPartition, std::string> owners;
  for (const kafka::GroupMember& member : *members) {
    for (const kafka::TopicPartition& where : member.partitions) {
      owners[where] = member.instance_id.empty() ? member.client_id : member.instance_id;
    }
  }
  for (PartitionLag& lag : partitions) {
    const auto found = owners.find(lag.where);
    if (found != owners.end()) lag.owner = found->second;
  }
}

absl::Status LagReader::FindCommitted(std::vector<PartitionLag>& partitions, SteadyTime deadline) {
  std::vector<kafka::TopicPartition> asked;
  for (const PartitionLag& lag : partitions) {
    if (lag.problem.empty()) asked.push_back(lag.where);
  }
  if (asked.empty()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const kafka::Offsets committed,
                          group_view_->Committed(asked, Patience(deadline)));
  for (PartitionLag& lag : partitions) {
    const auto found = committed.find(lag.where);
    if (found != committed.end()) lag.committed = found->second;
  }
  return absl::OkStatus();
}

absl::Status LagReader::FindEnds(PartitionLag& lag, SteadyTime deadline) {
  if (io_.clock->SteadyNow() >= deadline) {
    return DeadlineExceeded("not asked any more: the time was used up");
  }
  TOCSIN_ASSIGN_OR_RETURN(lag.high_watermark,
                          group_view_->QueryEndOffset(lag.where, kafka::Isolation::kReadUncommitted,
                                                      Patience(deadline)));
  TOCSIN_ASSIGN_OR_RETURN(
      lag.end,
      reader_->QueryEndOffset(lag.where, kafka::Isolation::kReadCommitted, Patience(deadline)));
  // What came between the two questions.
  lag.high_watermark = std::max(lag.high_watermark, lag.end);
  std::int64_t from = 0;
  if (lag.committed.has_value()) {
    from = *lag.committed;
  } else {
    TOCSIN_ASSIGN_OR_RETURN(from, reader_->QueryBeginningOffset(lag.where, Patience(deadline)));
  }
  lag.records = std::max<std::int64_t>(0, lag.end - from);
  return absl::OkStatus();
}

absl::Status LagReader::FindOldest(std::vector<PartitionLag>& partitions, SteadyTime deadline) {
  kafka::Offsets from;
  std::map<kafka::TopicPartition, PartitionLag*> open;
  for (PartitionLag& lag : partitions) {
    if (!lag.problem.empty() || lag.records == 0) continue;
    from[lag.where] = lag.end - lag.records;
    open[lag.where] = &lag;
  }
  if (open.empty()) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(reader_->Assign(from));
  SteadyTime moved = io_.clock->SteadyNow();
  while (!open.empty() && io_.clock->SteadyNow() < deadline) {
    const kafka::ViewBatch batch = reader_->PollViews(std::min(kPoll, Patience(deadline)));
    const std::size_t before = open.size();
    for (const kafka::RecordView& record : batch.records()) {
      const auto found = open.find(record.where());
      if (found == open.end()) continue;
      PartitionLag& lag = *found->second;
      // Retention may have taken what lay before.
      if (record.offset < lag.end) {
        lag.oldest = record.timestamp;
      } else {
        lag.records = 0;
      }
      from.erase(found->first);
      open.erase(found);
    }
    for (const auto& [where, end] : batch.ends()) {
      const auto found = open.find(where);
      if (found == open.end() || end < found->second->end) continue;
      // Markers and aborted records.
      found->second->records = 0;
      from.erase(where);
      open.erase(found);
    }
    for (const kafka::PollError& error : batch.errors()) {
      if (error.fatal) return error.status;
      if (!error.where.has_value() || !open.contains(*error.where)) continue;
      PartitionLag& lag = *open[*error.where];
      if (error.status.code() != absl::StatusCode::kOutOfRange) continue;
      const auto beginning = reader_->QueryBeginningOffset(lag.where, Patience(deadline));
      if (beginning.ok() && *beginning < lag.end) {
        lag.records = lag.end - *beginning;
        from[lag.where] = *beginning;
        TOCSIN_RETURN_IF_ERROR(reader_->Seek(lag.where, *beginning));
        continue;
      }
      lag.problem =
          Concat("the committed offset ", lag.committed.value_or(0), " is not in the log any more");
      from.erase(lag.where);
      open.erase(*error.where);
    }
    if (open.size() < before) moved = io_.clock->SteadyNow();
    if (!open.empty() && io_.clock->SteadyNow() - moved > kAgain) {
      TOCSIN_RETURN_IF_ERROR(reader_->Assign(from));
      moved = io_.clock->SteadyNow();
    }
  }
  // Until the next time nothing is read.
  TOCSIN_RETURN_IF_ERROR(reader_->Assign({}));
  for (const auto& [where, lag] : open) {
    lag->problem = "its first record that is not handled could not be read in time";
  }
  return absl::OkStatus();
}

absl::StatusOr<Lag> LagReader::ReadNow(const RuleSet& rules, SteadyTime deadline) {
  TOCSIN_RETURN_IF_ERROR(EnsureClients());
  Lag lag;
  TOCSIN_ASSIGN_OR_RETURN(lag.partitions, Partitions(rules, deadline));
  FindOwners(lag.partitions, deadline);
  // Committed before the ends, so that nobody seems to have read what is not there.
  TOCSIN_RETURN_IF_ERROR(FindCommitted(lag.partitions, deadline));
  for (PartitionLag& partition : lag.partitions) {
    if (!partition.problem.empty()) continue;
    const absl::Status asked = FindEnds(partition, deadline);
    if (!asked.ok()) partition.problem = Message(asked);
  }
  TOCSIN_RETURN_IF_ERROR(FindOldest(lag.partitions, deadline));
  lag.time = io_.clock->Now();
  for (PartitionLag& partition : lag.partitions) {
    if (!partition.oldest.has_value()) continue;
    partition.behind = std::max(
        std::chrono::microseconds(0),
        std::chrono::duration_cast<std::chrono::microseconds>(lag.time - *partition.oldest));
  }
  return lag;
}

}  // namespace tocsin::correlation
