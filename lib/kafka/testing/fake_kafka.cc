#include "lib/kafka/testing/fake_kafka.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/testing/fake_state.h"

namespace tocsin::kafka::testing {

using internal::Entry;
using internal::EntryState;
using internal::Group;
using internal::Partition;

FakeKafka::FakeKafka(const Clock& clock) : state_(std::make_shared<State>(clock)) {}
FakeKafka::~FakeKafka() = default;

std::unique_ptr<Producer> FakeKafka::MakeProducer(ProducerOptions options) {
  return internal::MakeFakeProducer(state_, std::move(options));
}
std::unique_ptr<BatchProducer> FakeKafka::MakeBatchProducer() {
  return internal::MakeFakeBatchProducer(state_);
}
std::unique_ptr<TransactionalProducer> FakeKafka::MakeTransactionalProducer(
    std::string transactional_id) {
  return internal::MakeFakeTransactionalProducer(state_, std::move(transactional_id));
}
std::unique_ptr<Consumer> FakeKafka::MakeConsumer(ConsumerOptions options) {
  return internal::MakeFakeConsumer(state_, std::move(options));
}
std::unique_ptr<Admin> FakeKafka::MakeAdmin() { return internal::MakeFakeAdmin(state_); }

void FakeKafka::CreateTopic(const std::string& name, std::int32_t partitions) {
  MutexLock lock(state_->mutex);
  state_->topics.try_emplace(name, static_cast<std::size_t>(partitions), Partition{});
}

std::int64_t FakeKafka::Append(const OutgoingRecord& record) {
  MutexLock lock(state_->mutex);
  return state_->AppendRecord(record, EntryState::kPlain).value().offset;
}

std::vector<Record> FakeKafka::Log(std::string_view topic, Isolation isolation) const {
  MutexLock lock(state_->mutex);
  std::vector<Record> records;
  const auto found = state_->topics.find(std::string(topic));
  if (found == state_->topics.end()) return records;
  for (const Partition& partition : found->second) {
    const std::int64_t end = partition.end(isolation);
    for (const Entry& entry : partition.entries) {
      if (entry.record.offset < end && Visible(entry, isolation)) records.push_back(entry.record);
    }
  }
  return records;
}

std::int64_t FakeKafka::EndOffset(const TopicPartition& where, Isolation isolation) const {
  MutexLock lock(state_->mutex);
  return state_->Find(where).value()->end(isolation);
}

Offsets FakeKafka::Committed(std::string_view group) const {
  MutexLock lock(state_->mutex);
  return state_->groups[std::string(group)].committed;
}

void FakeKafka::SetCommitted(std::string_view group, const Offsets& offsets) {
  MutexLock lock(state_->mutex);
  state_->groups[std::string(group)].committed = offsets;
}

void FakeKafka::TruncateTo(const TopicPartition& where, std::int64_t offset) {
  MutexLock lock(state_->mutex);
  Partition& partition = *state_->Find(where).value();
  while (partition.high_watermark() > offset && !partition.entries.empty()) {
    partition.entries.pop_back();
  }
  state_->changed.NotifyAll();
}

void FakeKafka::DeleteBefore(const TopicPartition& where, std::int64_t offset) {
  MutexLock lock(state_->mutex);
  Partition& partition = *state_->Find(where).value();
  while (partition.begin < offset && !partition.entries.empty()) {
    partition.entries.pop_front();
    ++partition.begin;
  }
}

void FakeKafka::FailNext(Step step, Failure failure, int times, int after) {
  MutexLock lock(state_->mutex);
  state_->planned[static_cast<std::size_t>(step)].push_back({std::move(failure), after, times});
}

int FakeKafka::calls(Step step) const {
  MutexLock lock(state_->mutex);
  return state_->calls[static_cast<std::size_t>(step)];
}

void FakeKafka::SetReachable(bool reachable) {
  MutexLock lock(state_->mutex);
  state_->reachable = reachable;
  state_->changed.NotifyAll();
}

void FakeKafka::StallReaders(const TopicPartition& where, int assigns) {
  MutexLock lock(state_->mutex);
  state_->stalls[where] = assigns;
}

void FakeKafka::HoldDeliveries(bool hold) {
  MutexLock lock(state_->mutex);
  state_->held = hold;
  state_->changed.NotifyAll();
}

void FakeKafka::ExpireTransactions() {
  MutexLock lock(state_->mutex);
  for (auto& [id, transaction] : state_->transactions) {
    if (!transaction.open) continue;
    state_->EndTransaction(transaction, /*commit=*/false);
    ++transaction.epoch;
  }
}

void FakeKafka::Rebalance(std::string_view group) {
  MutexLock lock(state_->mutex);
  state_->StartRebalance(state_->groups[std::string(group)]);
}

void FakeKafka::ExpireSessions(std::string_view group) {
  MutexLock lock(state_->mutex);
  Group& expired = state_->groups[std::string(group)];
  for (auto& [id, member] : expired.members) expired.lost.insert(member.consumer);
  state_->StartRebalance(expired);
}

void FakeKafka::ForgetMember(std::string_view group, std::string_view instance_id) {
  MutexLock lock(state_->mutex);
  Group& left = state_->groups[std::string(group)];
  left.members.erase(std::string(instance_id));
  state_->StartRebalance(left);
}

}  // namespace tocsin::kafka::testing
