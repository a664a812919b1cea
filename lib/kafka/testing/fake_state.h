// What the clients of FakeKafka share: the log, the transactions, the groups and the failures that
// a test has planned. Internal to this folder.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/kafka/testing/fake_kafka.h"

namespace tocsin::kafka::testing {
namespace internal {

inline constexpr std::size_t kSteps = static_cast<std::size_t>(FakeKafka::Step::kAdmin) + 1;

enum class EntryState { kPlain, kOpen, kCommitted, kAborted, kMarker };

struct Entry {
  Record record;
  EntryState state = EntryState::kPlain;
};

struct Partition {
  std::int64_t begin = 0;
  std::deque<Entry> entries;

  std::int64_t high_watermark() const { return begin + static_cast<std::int64_t>(entries.size()); }
  std::int64_t end(Isolation isolation) const {
    if (isolation == Isolation::kReadUncommitted) return high_watermark();
    for (const Entry& entry : entries) {
      if (entry.state == EntryState::kOpen) return entry.record.offset;
    }
    return high_watermark();
  }
  const Entry& at(std::int64_t offset) const {
    return entries[static_cast<std::size_t>(offset - begin)];
  }
  Entry& at(std::int64_t offset) { return entries[static_cast<std::size_t>(offset - begin)]; }
};

inline bool Visible(const Entry& entry, Isolation isolation) {
  if (entry.state == EntryState::kMarker) return false;
  return isolation == Isolation::kReadUncommitted || entry.state == EntryState::kPlain ||
         entry.state == EntryState::kCommitted;
}

struct Transaction {
  bool open = false;
  std::int64_t epoch = 0;
  std::vector<TopicPartition> where;
  std::vector<std::int64_t> offsets;
  std::string group;
  Offsets sent;
};

struct Member {
  std::string id;
  bool is_static = false;
  // Whoever speaks for this member now; an older one with the same instance id is fenced.
  std::uint64_t consumer = 0;
  std::vector<std::string> topics;
  std::vector<TopicPartition> assignment;
  // Has given everything back for the rebalance that is under way.
  bool ready = false;
};

struct Group {
  Offsets committed;
  std::map<std::string, Member> members;
  std::int64_t generation = 0;
  bool stable = false;
  // Sessions expired: the members learn that their partitions are lost, not revoked.
  std::set<std::uint64_t> lost;
};

struct Planned {
  FakeKafka::Failure failure;
  int after = 0;
  int times = 0;
};

}  // namespace internal

// Thread-safe under its mutex.
struct FakeKafka::State {
  explicit State(const Clock& given) : clock(given) {}

  const Clock& clock;
  mutable Mutex mutex;
  CondVar changed;
  std::map<std::string, std::vector<internal::Partition>> topics ABSL_GUARDED_BY(mutex);
  std::map<std::string, internal::Group> groups ABSL_GUARDED_BY(mutex);
  std::map<std::string, internal::Transaction> transactions ABSL_GUARDED_BY(mutex);
  std::array<std::deque<internal::Planned>, internal::kSteps> planned ABSL_GUARDED_BY(mutex);
  std::array<int, internal::kSteps> calls ABSL_GUARDED_BY(mutex){};
  bool reachable ABSL_GUARDED_BY(mutex) = true;
  bool held ABSL_GUARDED_BY(mutex) = false;
  std::uint64_t next_consumer ABSL_GUARDED_BY(mutex) = 1;
  // How many further assignments of a partition are to read nothing.
  std::map<TopicPartition, int> stalls ABSL_GUARDED_BY(mutex);
  std::int32_t next_partition ABSL_GUARDED_BY(mutex) = 0;

  // The failure planned for this call, if there is one.
  std::optional<Failure> Take(Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  absl::Status Away() const;
  // The failure of a step that is no part of a transaction.
  absl::Status TakeStatus(Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  absl::StatusOr<internal::Partition*> Find(const TopicPartition& where)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  absl::StatusOr<Delivered> AppendRecord(const OutgoingRecord& outgoing,
                                         internal::EntryState entry_state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void EndTransaction(internal::Transaction& transaction, bool commit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  void StartRebalance(internal::Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Range assignor: per topic, members in the order of their ids get runs of partitions.
  void Deal(internal::Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
};

namespace internal {

std::unique_ptr<Producer> MakeFakeProducer(std::shared_ptr<FakeKafka::State> state,
                                           ProducerOptions options);
std::unique_ptr<TransactionalProducer> MakeFakeTransactionalProducer(
    std::shared_ptr<FakeKafka::State> state, std::string id);
std::unique_ptr<BatchProducer> MakeFakeBatchProducer(std::shared_ptr<FakeKafka::State> state);
std::unique_ptr<Consumer> MakeFakeConsumer(std::shared_ptr<FakeKafka::State> state,
                                           ConsumerOptions options);
std::unique_ptr<Admin> MakeFakeAdmin(std::shared_ptr<FakeKafka::State> state);

}  // namespace internal
}  // namespace tocsin::kafka::testing
