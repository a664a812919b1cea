#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_state.h"

namespace tocsin::kafka::testing::internal {
namespace {

using State = FakeKafka::State;
using Step = FakeKafka::Step;
using std::chrono::milliseconds;

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

  ViewBatch PollViews(milliseconds timeout) override {
    auto memory = std::make_unique<Memory>();
    memory->owned = PollOwned(timeout);
    for (const Record& record : memory->owned.records) {
      RecordView view = AsView(record, memory->headers);
      view.topic = *topics_->insert(record.topic).first;
      memory->records.push_back(view);
    }
    memory->ends = std::move(memory->owned.ends);
    memory->errors = std::move(memory->owned.errors);
    memory->topics = topics_;
    return ViewBatch(std::move(memory));
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

  absl::Status Probe(milliseconds) override {
    MutexLock lock(state_->mutex);
    return state_->TakeStatus(Step::kProbe);
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

  absl::StatusOr<std::optional<std::int64_t>> QueryTimeOffset(const TopicPartition& where,
                                                              WallTime time,
                                                              milliseconds) override {
    MutexLock lock(state_->mutex);
    TOCSIN_RETURN_IF_ERROR(state_->TakeStatus(Step::kQueryOffset));
    TOCSIN_ASSIGN_OR_RETURN(const Partition* partition, state_->Find(where));
    for (std::int64_t at = partition->begin; at < partition->end(options_.isolation); ++at) {
      const Entry& entry = partition->at(at);
      if (entry.state != EntryState::kMarker && entry.record.timestamp >= time) {
        return std::optional(at);
      }
    }
    return std::optional<std::int64_t>();
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
  // Only grows, on the consumer's thread; batches keep it alive.
  using Topics = std::set<std::string, std::less<>>;
  struct Memory final : ViewBatch::Memory {
    Batch owned;
    HeaderMemory headers;
    std::shared_ptr<const Topics> topics;
  };

  struct Place {
    // RD_KAFKA_OFFSET_BEGINNING and _END, as librdkafka takes them: -2 and -1.
    std::int64_t next = 0;
    std::optional<std::int64_t> position = std::nullopt;
    bool paused = false;
    bool stalled = false;
    std::optional<std::int64_t> told_end = std::nullopt;
    bool told_out_of_range = false;
  };

  Batch PollOwned(milliseconds timeout) {
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
  const std::shared_ptr<Topics> topics_ = std::make_shared<Topics>();
};

}  // namespace

std::unique_ptr<Consumer> MakeFakeConsumer(std::shared_ptr<State> state, ConsumerOptions options) {
  return std::make_unique<FakeConsumer>(std::move(state), std::move(options));
}

}  // namespace tocsin::kafka::testing::internal
