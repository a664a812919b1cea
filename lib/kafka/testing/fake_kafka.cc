#include "lib/kafka/testing/fake_kafka.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"

namespace tocsin::kafka::testing {
namespace {

using std::chrono::milliseconds;
constexpr std::size_t kSteps = static_cast<std::size_t>(FakeKafka::Step::kAdmin) + 1;

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

bool Visible(const Entry& entry, Isolation isolation) {
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

}  // namespace

struct FakeKafka::State {
  explicit State(const Clock& given) : clock(given) {}

  const Clock& clock;
  mutable Mutex mutex;
  CondVar changed;
  std::map<std::string, std::vector<Partition>> topics ABSL_GUARDED_BY(mutex);
  std::map<std::string, Group> groups ABSL_GUARDED_BY(mutex);
  std::map<std::string, Transaction> transactions ABSL_GUARDED_BY(mutex);
  std::array<std::deque<Planned>, kSteps> planned ABSL_GUARDED_BY(mutex);
  std::array<int, kSteps> calls ABSL_GUARDED_BY(mutex){};
  bool reachable ABSL_GUARDED_BY(mutex) = true;
  bool held ABSL_GUARDED_BY(mutex) = false;
  std::uint64_t next_consumer ABSL_GUARDED_BY(mutex) = 1;
  // How many further assignments of a partition are to read nothing.
  std::map<TopicPartition, int> stalls ABSL_GUARDED_BY(mutex);
  std::int32_t next_partition ABSL_GUARDED_BY(mutex) = 0;

  // The failure planned for this call, if there is one.
  std::optional<Failure> Take(Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
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

  absl::Status Away() const { return Unavailable("kafka does not answer (fake)"); }

  // The failure of a step that is no part of a transaction.
  absl::Status TakeStatus(Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const auto failure = Take(step);
    if (failure.has_value() && !failure->status.ok()) return failure->status;
    return reachable ? absl::OkStatus() : Away();
  }

  absl::StatusOr<Partition*> Find(const TopicPartition& where)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const auto topic = topics.find(where.topic);
    if (topic == topics.end() || where.partition < 0 ||
        where.partition >= static_cast<std::int32_t>(topic->second.size())) {
      return NotFound(Concat("there is no ", kafka::Describe(where)));
    }
    return &topic->second[static_cast<std::size_t>(where.partition)];
  }

  absl::StatusOr<Delivered> AppendRecord(const OutgoingRecord& outgoing, EntryState entry_state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const auto topic = topics.find(outgoing.topic);
    if (topic == topics.end()) return NotFound(Concat("there is no topic ", outgoing.topic));
    const auto count = static_cast<std::int32_t>(topic->second.size());
    TopicPartition where{outgoing.topic, outgoing.partition};
    if (where.partition == kPartitionByKey) {
      where.partition = outgoing.key.has_value() ? PartitionForKey(*outgoing.key, count)
                                                 : next_partition++ % count;
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

  void EndTransaction(Transaction& transaction, bool commit) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
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

  void StartRebalance(Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    group.stable = false;
    ++group.generation;
    for (auto& [id, member] : group.members) member.ready = false;
    changed.NotifyAll();
  }

  // Range assignor: per topic, members in the order of their ids get runs of partitions.
  void Deal(Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
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
};

namespace {

using State = FakeKafka::State;
using Step = FakeKafka::Step;

// --- producer -----------------------------------------------------------------------------------

class FakeProducer final : public Producer {
 public:
  FakeProducer(std::shared_ptr<State> state, ProducerOptions options)
      : state_(std::move(state)), options_(std::move(options)), server_([this] { Serve(); }) {}

  ~FakeProducer() override {
    (void)Flush(options_.close_timeout);
    {
      MutexLock lock(state_->mutex);
      stopping_ = true;
      state_->changed.NotifyAll();
    }
    server_.join();
  }

  absl::Status Produce(OutgoingRecord record, DeliveryCallback done) override {
    MutexLock lock(state_->mutex);
    const auto failure = state_->Take(Step::kProduce);
    if (failure.has_value()) return failure->status;
    if (record.value.has_value() && record.value->size() > options_.max_record_bytes) {
      return InvalidArgument("the record is too large (fake)");
    }
    if (outstanding_ >= options_.max_queued_records) {
      return ResourceExhausted("the queue to Kafka is full (fake)");
    }
    ++outstanding_;
    waiting_.push_back({std::move(record), std::move(done)});
    state_->changed.NotifyAll();
    return absl::OkStatus();
  }

  absl::Status Flush(milliseconds timeout) override {
    const SteadyTime deadline = Clock::Real().SteadyNow() + timeout;
    MutexLock lock(state_->mutex);
    while (outstanding_ > 0) {
      const auto left = deadline - Clock::Real().SteadyNow();
      if (left <= std::chrono::nanoseconds::zero()) {
        return DeadlineExceeded("records are still waiting to be confirmed (fake)");
      }
      state_->changed.WaitFor(state_->mutex, left);
    }
    return absl::OkStatus();
  }

  absl::Status Probe(milliseconds) override {
    MutexLock lock(state_->mutex);
    return state_->TakeStatus(Step::kProbe);
  }

  std::size_t outstanding() const override {
    MutexLock lock(state_->mutex);
    return outstanding_;
  }

 private:
  struct Waiting {
    OutgoingRecord record;
    DeliveryCallback done;
  };

  void Serve() {
    for (;;) {
      Waiting next;
      absl::StatusOr<Delivered> outcome = absl::CancelledError("the producer was closed (fake)");
      {
        MutexLock lock(state_->mutex);
        while (!stopping_ && (waiting_.empty() || state_->held || !state_->reachable)) {
          state_->changed.Wait(state_->mutex);
        }
        if (waiting_.empty()) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
        if (!stopping_) {
          const auto failure = state_->Take(Step::kDelivery);
          if (!failure.has_value() || failure->took_effect) {
            outcome = state_->AppendRecord(next.record, EntryState::kPlain);
          }
          if (failure.has_value()) outcome = failure->status;
        }
      }
      if (next.done) next.done(outcome);
      MutexLock lock(state_->mutex);
      --outstanding_;
      state_->changed.NotifyAll();
    }
  }

  const std::shared_ptr<State> state_;
  const ProducerOptions options_;
  bool stopping_ = false;
  std::size_t outstanding_ = 0;
  std::deque<Waiting> waiting_;
  std::thread server_;
};

// --- transactions -------------------------------------------------------------------------------

class FakeTransactionalProducer final : public TransactionalProducer {
 public:
  FakeTransactionalProducer(std::shared_ptr<State> state, std::string id)
      : state_(std::move(state)), id_(std::move(id)) {}

  TransactionResult Init() override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kInit)) return *std::move(failed);
    Transaction& transaction = state_->transactions[id_];
    if (transaction.open) state_->EndTransaction(transaction, /*commit=*/false);
    epoch_ = ++transaction.epoch;
    return {};
  }

  TransactionResult Begin() override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kBegin)) return *std::move(failed);
    Transaction& transaction = state_->transactions[id_];
    if (epoch_ == 0 || began_) return WrongState("Begin");
    if (transaction.epoch != epoch_) return Fenced();
    began_ = true;
    return {};
  }

  TransactionResult Produce(OutgoingRecord record) override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kTransactionalProduce)) return *std::move(failed);
    if (!began_) return WrongState("Produce");
    Transaction& transaction = state_->transactions[id_];
    if (transaction.epoch != epoch_) return Fenced();
    const auto delivered = state_->AppendRecord(record, EntryState::kOpen);
    if (!delivered.ok()) return {delivered.status(), ErrorClass::kAbort};
    transaction.open = true;
    transaction.where.push_back(delivered->where);
    transaction.offsets.push_back(delivered->offset);
    written_[delivered->where] = delivered->offset + 1;
    return {};
  }

  TransactionResult SendOffsets(const Offsets& next, Consumer& consumer) override {
    auto metadata = consumer.CurrentGroupMetadata();
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kSendOffsets)) return *std::move(failed);
    if (!began_) return WrongState("SendOffsets");
    if (!metadata.ok()) return {metadata.status(), ErrorClass::kAbort};
    Transaction& transaction = state_->transactions[id_];
    if (transaction.epoch != epoch_) return Fenced();
    if (metadata->opaque != std::to_string(state_->groups[metadata->group].generation)) {
      return {Aborted("the group has moved on to another generation (fake)"), ErrorClass::kAbort};
    }
    transaction.open = true;
    transaction.group = metadata->group;
    for (const auto& [where, offset] : next) transaction.sent[where] = offset;
    return {};
  }

  CommitResult Commit() override {
    MutexLock lock(state_->mutex);
    CommitResult result;
    const auto failure = state_->Take(Step::kTransactionCommit);
    Transaction& transaction = state_->transactions[id_];
    if (failure.has_value()) {
      Note(*failure);
      if (failure->took_effect && transaction.epoch == epoch_) {
        state_->EndTransaction(transaction, /*commit=*/true);
      }
      if (!failure->status.ok()) {
        result.status = failure->status;
        result.error_class = failure->error_class;
        return result;
      }
    }
    TransactionResult wrong;
    if (!state_->reachable) {
      wrong = {state_->Away(), ErrorClass::kRetriable};
    } else if (!began_) {
      wrong = WrongState("Commit");
    } else if (transaction.epoch != epoch_) {
      wrong = Fenced();
    }
    if (!wrong.ok()) {
      result.status = wrong.status;
      result.error_class = wrong.error_class;
      return result;
    }
    state_->EndTransaction(transaction, /*commit=*/true);
    began_ = false;
    result.written = std::move(written_);
    written_.clear();
    return result;
  }

  TransactionResult Abort() override {
    MutexLock lock(state_->mutex);
    if (auto failed = Fail(Step::kAbort)) return *std::move(failed);
    Transaction& transaction = state_->transactions[id_];
    if (transaction.epoch != epoch_) return Fenced();
    if (!began_) return WrongState("Abort");
    state_->EndTransaction(transaction, /*commit=*/false);
    began_ = false;
    written_.clear();
    return {};
  }

  bool outcome_indefinite() const override {
    MutexLock lock(state_->mutex);
    return indefinite_;
  }
  std::string indefinite_reason() const override {
    return outcome_indefinite() ? "planned by the test" : "";
  }

 private:
  static TransactionResult WrongState(std::string_view call) {
    return {FailedPrecondition(Concat(call, ": not in this state (fake)")), ErrorClass::kFatal};
  }
  static TransactionResult Fenced() {
    return {FailedPrecondition("fenced by a newer producer with this transactional id (fake)"),
            ErrorClass::kFatal};
  }
  void Note(const FakeKafka::Failure& failure) { indefinite_ = indefinite_ || failure.indefinite; }

  std::optional<TransactionResult> Fail(Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    const auto failure = state_->Take(step);
    if (failure.has_value()) {
      Note(*failure);
      if (!failure->status.ok()) return TransactionResult{failure->status, failure->error_class};
    }
    if (!state_->reachable && step != Step::kBegin) {
      return TransactionResult{state_->Away(), ErrorClass::kRetriable};
    }
    return std::nullopt;
  }

  const std::shared_ptr<State> state_;
  const std::string id_;
  std::int64_t epoch_ = 0;
  bool began_ = false;
  bool indefinite_ = false;
  Offsets written_;
};

// --- consumer -----------------------------------------------------------------------------------

class FakeConsumer final : public Consumer {
 public:
  FakeConsumer(std::shared_ptr<State> state, ConsumerOptions options)
      : state_(std::move(state)), options_(std::move(options)) {
    MutexLock lock(state_->mutex);
    number_ = state_->next_consumer++;
    member_id_ = options_.instance_id.empty() ? Concat("~dynamic-", number_) : options_.instance_id;
  }
  ~FakeConsumer() override { Close(); }

  absl::Status Subscribe(std::vector<std::string> topics, RebalanceListener* listener) override {
    if (options_.group.empty()) return FailedPrecondition("Subscribe needs a group (fake)");
    if (manual_) return FailedPrecondition("Assign was called before (fake)");
    MutexLock lock(state_->mutex);
    listener_ = listener;
    subscribed_ = true;
    Group& group = state_->groups[options_.group];
    const auto [place, is_new] = group.members.try_emplace(member_id_);
    Member& member = place->second;
    const bool returns = !is_new && member.topics == topics;
    member.id = member_id_;
    member.is_static = !options_.instance_id.empty();
    member.consumer = number_;
    member.topics = std::move(topics);
    if (!returns) state_->StartRebalance(group);
    return absl::OkStatus();
  }

  absl::Status Assign(const Offsets& from) override {
    if (subscribed_) return FailedPrecondition("Subscribe was called before (fake)");
    MutexLock lock(state_->mutex);
    manual_ = true;
    places_.clear();
    for (const auto& [where, offset] : from) {
      places_[where].next = offset;
      const auto stalls = state_->stalls.find(where);
      places_[where].stalled = stalls != state_->stalls.end() && stalls->second-- > 0;
    }
    return absl::OkStatus();
  }

  Batch Poll(milliseconds timeout) override {
    const SteadyTime deadline = Clock::Real().SteadyNow() + timeout;
    for (;;) {
      if (closed_) return {};
      Batch batch;
      const bool moved = subscribed_ && FollowGroup(batch);
      MutexLock lock(state_->mutex);
      if (!state_->reachable) {
        if (!std::exchange(told_away_, true)) {
          batch.errors.push_back({state_->Away(), std::nullopt, false});
        }
      } else {
        told_away_ = false;
        for (auto& [where, place] : places_) Read(where, place, batch);
      }
      const auto left = deadline - Clock::Real().SteadyNow();
      if (moved || !batch.empty() || left <= std::chrono::nanoseconds::zero()) return batch;
      state_->changed.WaitFor(state_->mutex, left);
    }
  }

  absl::Status Seek(const TopicPartition& where, std::int64_t offset) override {
    MutexLock lock(state_->mutex);
    const auto place = places_.find(where);
    if (place == places_.end()) return NotAssigned(where);
    place->second = {.next = offset, .position = offset, .paused = place->second.paused};
    return absl::OkStatus();
  }

  absl::Status Pause(const std::vector<TopicPartition>& partitions) override {
    return SetPaused(partitions, true);
  }
  absl::Status Resume(const std::vector<TopicPartition>& partitions) override {
    return SetPaused(partitions, false);
  }

  std::optional<std::int64_t> Position(const TopicPartition& where) const override {
    MutexLock lock(state_->mutex);
    const auto place = places_.find(where);
    return place == places_.end() ? std::nullopt : place->second.position;
  }

  std::vector<TopicPartition> Assignment() const override {
    MutexLock lock(state_->mutex);
    std::vector<TopicPartition> partitions;
    for (const auto& [where, place] : places_) partitions.push_back(where);
    return partitions;
  }

  absl::StatusOr<Offsets> Committed(const std::vector<TopicPartition>& partitions,
                                    milliseconds) override {
    if (options_.group.empty()) return FailedPrecondition("this consumer has no group (fake)");
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kCommitted));
    if (Pending(partitions)) return OffsetsArePending();
    return CommittedOf(partitions);
  }

  absl::Status Commit(const Offsets& next) override {
    if (options_.group.empty()) return FailedPrecondition("this consumer has no group (fake)");
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kConsumerCommit));
    Group& group = state_->groups[options_.group];
    if (subscribed_ && (!assigned_ || generation_ != group.generation)) {
      return Aborted("the group has moved on to another generation (fake)");
    }
    for (const auto& [where, offset] : next) group.committed[where] = offset;
    return absl::OkStatus();
  }

  absl::StatusOr<GroupMetadata> CurrentGroupMetadata() override {
    MutexLock lock(state_->mutex);
    if (!subscribed_ || !assigned_) {
      return FailedPrecondition("this consumer has no assignment now (fake)");
    }
    return GroupMetadata{options_.group, std::to_string(generation_)};
  }

  absl::StatusOr<std::int64_t> QueryEndOffset(const TopicPartition& where, Isolation isolation,
                                              milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kQueryOffset));
    TOCSIN_ASSIGN_OR_RETURN(const Partition* partition, state_->Find(where));
    return partition->end(isolation);
  }

  absl::StatusOr<std::int64_t> QueryBeginningOffset(const TopicPartition& where,
                                                    milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kQueryOffset));
    TOCSIN_ASSIGN_OR_RETURN(const Partition* partition, state_->Find(where));
    return partition->begin;
  }

  void Close() override {
    if (std::exchange(closed_, true) || !subscribed_) return;
    bool lost = false;
    {
      MutexLock lock(state_->mutex);
      lost = state_->groups[options_.group].lost.erase(number_) > 0;
    }
    if (assigned_) TakeAway(lost);
    MutexLock lock(state_->mutex);
    Group& group = state_->groups[options_.group];
    const auto member = group.members.find(member_id_);
    if (member == group.members.end() || member->second.consumer != number_) return;
    if (member->second.is_static) {
      member->second.ready = true;  // keeps its place; a rebalance need not wait for it
      member->second.consumer = 0;
      if (!group.stable) DealIfAllReady(group);
    } else {
      group.members.erase(member);
      state_->StartRebalance(group);
    }
  }

 private:
  struct Place {
    // RD_KAFKA_OFFSET_BEGINNING and _END, as librdkafka takes them: -2 and -1.
    std::int64_t next = 0;
    std::optional<std::int64_t> position = std::nullopt;
    bool paused = false;
    bool stalled = false;
    std::optional<std::int64_t> told_end = std::nullopt;
    bool told_out_of_range = false;
  };

  static absl::Status OffsetsArePending() {
    return Unavailable("offsets are pending in a transaction (fake)");
  }

  static absl::Status NotAssigned(const TopicPartition& where) {
    return FailedPrecondition(Concat(kafka::Describe(where), " is not assigned (fake)"));
  }

  absl::Status SetPaused(const std::vector<TopicPartition>& partitions, bool paused) {
    MutexLock lock(state_->mutex);
    for (const TopicPartition& where : partitions) {
      const auto place = places_.find(where);
      if (place == places_.end()) return NotAssigned(where);
      place->second.paused = paused;
    }
    return absl::OkStatus();
  }

  // Has an open transaction sent offsets for these? Then nobody is told the older ones.
  bool Pending(const std::vector<TopicPartition>& partitions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    if (options_.isolation == Isolation::kReadUncommitted) return false;
    for (const auto& [id, transaction] : state_->transactions) {
      if (!transaction.open || transaction.group != options_.group) continue;
      for (const TopicPartition& where : partitions) {
        if (transaction.sent.contains(where)) return true;
      }
    }
    return false;
  }

  Offsets CommittedOf(const std::vector<TopicPartition>& partitions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    Offsets committed;
    const Group& group = state_->groups[options_.group];
    for (const TopicPartition& where : partitions) {
      const auto found = group.committed.find(where);
      if (found != group.committed.end()) committed.insert(*found);
    }
    return committed;
  }

  void DealIfAllReady(Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    const bool all = std::all_of(group.members.begin(), group.members.end(),
                                 [](const auto& entry) { return entry.second.ready; });
    if (all) state_->Deal(group);
  }

  void TakeAway(bool lost) {
    const std::vector<TopicPartition> gone = Assignment();
    if (listener_ != nullptr) lost ? listener_->OnLost(gone) : listener_->OnRevoked(gone);
    MutexLock lock(state_->mutex);
    assigned_ = false;
    places_.clear();
  }

  // One step of the group's protocol. True when something happened that ends a Poll.
  bool FollowGroup(Batch& batch) {
    bool take_away = false;
    bool lost = false;
    {
      MutexLock lock(state_->mutex);
      if (!state_->reachable) return false;
      Group& group = state_->groups[options_.group];
      const auto member = group.members.find(member_id_);
      if (member == group.members.end() || member->second.consumer != number_) {
        batch.errors.push_back(
            {FailedPrecondition("fenced by another member with this instance id (fake)"),
             std::nullopt, true});
        return true;
      }
      lost = group.lost.erase(number_) > 0;
      take_away = assigned_ && (lost || generation_ != group.generation || !group.stable);
    }
    // The old assignment must be gone before the group can deal anew.
    if (take_away) TakeAway(lost);
    std::vector<AssignedPartition> given;
    {
      MutexLock lock(state_->mutex);
      Group& group = state_->groups[options_.group];
      Member& member = group.members[member_id_];
      if (!group.stable) {
        member.ready = true;
        DealIfAllReady(group);
      }
      if (!group.stable || assigned_) return take_away;
      absl::Status asked = state_->TakeStatus(Step::kCommitted);
      if (asked.ok() && Pending(member.assignment)) asked = OffsetsArePending();
      if (!asked.ok()) {
        // The next Poll asks again.
        batch.errors.push_back({std::move(asked), std::nullopt, false});
        return take_away;
      }
      const Offsets committed = CommittedOf(member.assignment);
      places_.clear();
      for (const TopicPartition& where : member.assignment) {
        AssignedPartition entry{where, std::nullopt};
        const auto found = committed.find(where);
        if (found != committed.end()) entry.committed = found->second;
        places_[where] = {
            .next = entry.committed.value_or(options_.start == StartPosition::kEarliest ? -2 : -1),
            .position = entry.committed};
        given.push_back(std::move(entry));
      }
      assigned_ = true;
      generation_ = group.generation;
    }
    if (listener_ != nullptr) listener_->OnAssigned(given);
    return true;
  }

  void Read(const TopicPartition& where, Place& place, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    if (place.paused || place.stalled || place.told_out_of_range) return;
    const auto found = state_->Find(where);
    if (!found.ok()) {
      batch.errors.push_back({found.status(), where, false});
      return;
    }
    const Partition& partition = **found;
    if (place.next == -2) place.next = partition.begin;
    if (place.next == -1) place.next = partition.end(options_.isolation);
    if (place.next < partition.begin || place.next > partition.high_watermark()) {
      place.told_out_of_range = true;
      batch.errors.push_back({absl::OutOfRangeError(ToAbsl(Concat("offset ", place.next, " of ",
                                                                  kafka::Describe(where),
                                                                  " is not in the log (fake)"))),
                              where, false});
      return;
    }
    const std::int64_t end = partition.end(options_.isolation);
    while (place.next < end && batch.records.size() < options_.max_batch) {
      const Entry& entry = partition.at(place.next++);
      if (!Visible(entry, options_.isolation)) continue;
      batch.records.push_back(entry.record);
      place.position = place.next;
    }
    if (place.next >= end && place.told_end != place.next) {
      place.told_end = place.next;
      place.position = place.next;
      batch.ends[where] = place.next;
    }
  }

  const std::shared_ptr<State> state_;
  const ConsumerOptions options_;
  std::uint64_t number_ = 0;
  std::string member_id_;
  RebalanceListener* listener_ = nullptr;
  bool subscribed_ = false;
  bool manual_ = false;
  bool closed_ = false;
  bool assigned_ = false;
  bool told_away_ = false;
  std::int64_t generation_ = 0;
  std::map<TopicPartition, Place> places_;
};

// --- admin --------------------------------------------------------------------------------------

class FakeAdmin final : public Admin {
 public:
  explicit FakeAdmin(std::shared_ptr<State> state) : state_(std::move(state)) {}

  absl::Status Probe(milliseconds) override {
    MutexLock lock(state_->mutex);
    return state_->TakeStatus(Step::kProbe);
  }

  absl::Status CreateTopics(const std::vector<TopicSpec>& topics, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    for (const TopicSpec& topic : topics) {
      if (topic.partitions < 1) {
        return InvalidArgument(Concat("creating topic ", topic.name, ": it needs a partition"));
      }
      const bool is_new =
          state_->topics
              .try_emplace(topic.name, static_cast<std::size_t>(topic.partitions), Partition{})
              .second;
      if (is_new) configs_[topic.name] = topic.configs;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::map<std::string, TopicDescription>> ListTopics(milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    std::map<std::string, TopicDescription> topics;
    for (const auto& [name, partitions] : state_->topics) topics[name] = DescribeOne(name);
    return topics;
  }

  absl::StatusOr<std::map<std::string, TopicDescription>> DescribeTopics(
      const std::vector<std::string>& names, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    std::map<std::string, TopicDescription> topics;
    for (const std::string& name : names) {
      if (!state_->topics.contains(name)) continue;
      topics[name] = DescribeOne(name);
      topics[name].configs = configs_[name];
    }
    return topics;
  }

  absl::StatusOr<std::int32_t> PartitionCount(const std::string& topic, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    if (!state_->topics.contains(topic)) return NotFound(Concat("there is no topic ", topic));
    return DescribeOne(topic).partitions;
  }

  absl::Status AddPartitions(const std::string& topic, std::int32_t total, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    const auto found = state_->topics.find(topic);
    if (found == state_->topics.end()) return NotFound(Concat("there is no topic ", topic));
    if (static_cast<std::size_t>(total) <= found->second.size()) {
      return InvalidArgument(Concat("topic ", topic, " has that many partitions already"));
    }
    found->second.resize(static_cast<std::size_t>(total));
    return absl::OkStatus();
  }

  absl::Status SetTopicConfigs(const std::string& topic,
                               const std::map<std::string, std::string>& configs,
                               milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    if (!state_->topics.contains(topic)) return NotFound(Concat("there is no topic ", topic));
    for (const auto& [name, value] : configs) configs_[topic][name] = value;
    return absl::OkStatus();
  }

  absl::Status DeleteTopics(const std::vector<std::string>& names, milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kAdmin));
    for (const std::string& name : names) state_->topics.erase(name);
    return absl::OkStatus();
  }

 private:
  TopicDescription DescribeOne(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_->mutex) {
    TopicDescription description;
    description.name = name;
    description.partitions = static_cast<std::int32_t>(state_->topics[name].size());
    description.replication_factor = 1;
    return description;
  }

  const std::shared_ptr<State> state_;
  std::map<std::string, std::map<std::string, std::string>> configs_;
};

}  // namespace

FakeKafka::FakeKafka(const Clock& clock) : state_(std::make_shared<State>(clock)) {}
FakeKafka::~FakeKafka() = default;

std::unique_ptr<Producer> FakeKafka::MakeProducer(ProducerOptions options) {
  return std::make_unique<FakeProducer>(state_, std::move(options));
}
std::unique_ptr<TransactionalProducer> FakeKafka::MakeTransactionalProducer(
    std::string transactional_id) {
  return std::make_unique<FakeTransactionalProducer>(state_, std::move(transactional_id));
}
std::unique_ptr<Consumer> FakeKafka::MakeConsumer(ConsumerOptions options) {
  return std::make_unique<FakeConsumer>(state_, std::move(options));
}
std::unique_ptr<Admin> FakeKafka::MakeAdmin() { return std::make_unique<FakeAdmin>(state_); }

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
