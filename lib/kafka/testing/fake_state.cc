#include "lib/kafka/testing/fake_state.h"

#include <algorithm>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::kafka::testing {

using internal::Entry;
using internal::EntryState;
using internal::Group;
using internal::Member;
using internal::Partition;
using internal::Transaction;

std::optional<FakeKafka::Failure> FakeKafka::State::Take(Step step) {
  const auto index = static_cast<std::size_t>(step);
  ++calls[index];
  auto& queue = planned[index];
  if (queue.empty()) return std::nullopt;
  if (queue.front().after > 0) {
    --queue.front().after;
    return std::nullopt;
  }
  Failure failure = queue.front().failure;
  if (--queue.front().times == 0) queue.pop_front();
  return failure;
}

absl::Status FakeKafka::State::Away() const { return Unavailable("kafka does not answer (fake)"); }

absl::Status FakeKafka::State::TakeStatus(Step step) {
  const auto failure = Take(step);
  if (failure.has_value() && !failure->status.ok()) return failure->status;
  return reachable ? absl::OkStatus() : Away();
}

absl::StatusOr<Partition*> FakeKafka::State::Find(const TopicPartition& where) {
  const auto topic = topics.find(where.topic);
  if (topic == topics.end() || where.partition < 0 ||
      where.partition >= static_cast<std::int32_t>(topic->second.size())) {
    return NotFound(Concat("there is no ", kafka::Describe(where)));
  }
  return &topic->second[static_cast<std::size_t>(where.partition)];
}

absl::StatusOr<Delivered> FakeKafka::State::AppendRecord(const OutgoingRecord& outgoing,
                                                         EntryState entry_state) {
  const auto topic = topics.find(outgoing.topic);
  if (topic == topics.end()) return NotFound(Concat("there is no topic ", outgoing.topic));
  const auto count = static_cast<std::int32_t>(topic->second.size());
  TopicPartition where{outgoing.topic, outgoing.partition};
  if (where.partition == kPartitionByKey) {
    where.partition =
        outgoing.key.has_value() ? PartitionForKey(*outgoing.key, count) : next_partition++ % count;
  }
  TOCSIN_ASSIGN_OR_RETURN(Partition * partition, Find(where));
  Entry entry;
  entry.state = entry_state;
  entry.record.topic = where.topic;
  entry.record.partition = where.partition;
  entry.record.offset = partition->high_watermark();
  entry.record.key = outgoing.key;
  entry.record.value = outgoing.value;
  entry.record.headers = outgoing.headers;
  entry.record.timestamp = clock.Now();
  partition->entries.push_back(std::move(entry));
  changed.NotifyAll();
  return Delivered{std::move(where), partition->high_watermark() - 1};
}

void FakeKafka::State::EndTransaction(Transaction& transaction, bool commit) {
  std::set<TopicPartition> touched;
  for (std::size_t i = 0; i < transaction.where.size(); ++i) {
    const auto partition = Find(transaction.where[i]);
    // Retention or the deletion of the topic may have been quicker.
    if (!partition.ok() || transaction.offsets[i] < (*partition)->begin) continue;
    (*partition)->at(transaction.offsets[i]).state =
        commit ? EntryState::kCommitted : EntryState::kAborted;
    touched.insert(transaction.where[i]);
  }
  for (const TopicPartition& where : touched) {
    OutgoingRecord marker;
    marker.topic = where.topic;
    marker.partition = where.partition;
    (void)AppendRecord(marker, EntryState::kMarker);
  }
  if (commit) {
    for (const auto& [where, offset] : transaction.sent) {
      groups[transaction.group].committed[where] = offset;
    }
  }
  const std::int64_t epoch = transaction.epoch;
  transaction = {};
  transaction.epoch = epoch;
  changed.NotifyAll();
}

void FakeKafka::State::StartRebalance(Group& group) {
  group.stable = false;
  ++group.generation;
  for (auto& [id, member] : group.members) member.ready = false;
  changed.NotifyAll();
}

void FakeKafka::State::Deal(Group& group) {
  std::set<std::string> subscribed;
  for (auto& [id, member] : group.members) {
    member.assignment.clear();
    subscribed.insert(member.topics.begin(), member.topics.end());
  }
  for (const std::string& topic : subscribed) {
    std::vector<Member*> takers;
    for (auto& [id, member] : group.members) {
      if (std::find(member.topics.begin(), member.topics.end(), topic) != member.topics.end()) {
        takers.push_back(&member);
      }
    }
    const auto found = topics.find(topic);
    if (found == topics.end()) continue;
    const std::size_t count = found->second.size();
    const std::size_t each = count / takers.size();
    const std::size_t more = count % takers.size();
    std::size_t next = 0;
    for (std::size_t m = 0; m < takers.size(); ++m) {
      const std::size_t share = each + (m < more ? 1 : 0);
      for (std::size_t i = 0; i < share; ++i) {
        takers[m]->assignment.push_back({topic, static_cast<std::int32_t>(next++)});
      }
    }
  }
  group.stable = true;
  changed.NotifyAll();
}

}  // namespace tocsin::kafka::testing
