#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/fetch_reminder.h"
#include "lib/kafka/rd.h"
#include "lib/kafka/rd_offset_query.h"
#include "lib/kafka/rd_view_batch.h"

namespace tocsin::kafka {
namespace {
using internal::BatchPool;
using internal::ConfBuilder;
using internal::ConsumerClient;
using internal::ErrorPtr;
using internal::EventPtr;
using internal::GroupMetadataPtr;
using internal::MessagePtr;
using internal::OffsetQuery;
using internal::PartitionListPtr;
using internal::QueuePtr;
using internal::RdBatchMemory;
using std::chrono::milliseconds;

// Offsets that are pending in somebody's transaction are waited for; the next Poll goes on waiting.
constexpr milliseconds kCommittedTimeout{1'000};
constexpr milliseconds kSeekTimeout{5'000};
constexpr milliseconds kGoodByeProbe{1'000};
constexpr milliseconds kNoTime{0};
// Only that it is asked matters, not the answer.
constexpr milliseconds kReminderTimeout{100};

class RdConsumer final : public Consumer {
 public:
  explicit RdConsumer(ConsumerOptions options)
      : options_(std::move(options)),
        other_isolation_(options_.connection, options_.isolation == Isolation::kReadCommitted
                                                  ? Isolation::kReadUncommitted
                                                  : Isolation::kReadCommitted) {}

  absl::Status Start() {
    ConfBuilder conf(options_.connection);
    // Without a group.id there is no assign(); nothing is ever joined or committed under this one.
    conf.Set("group.id", options_.group.empty() ? std::string_view("tocsin-no-group")
                                                : std::string_view(options_.group))
        .Set("partition.assignment.strategy", std::string_view("range"))
        .Set("session.timeout.ms", options_.session_timeout)
        .Set("heartbeat.interval.ms",
             std::max(milliseconds(100),
                      std::min(milliseconds(1'000), options_.session_timeout / 5)))
        .Set("max.poll.interval.ms",
             std::max(options_.max_poll_interval, options_.session_timeout));
    internal::SetFetching(conf, options_);
    if (!options_.instance_id.empty()) conf.Set("group.instance.id", options_.instance_id);
    rd_kafka_conf_set_rebalance_cb(
        conf.raw(), [](rd_kafka_t* client, rd_kafka_resp_err_t error,
                       rd_kafka_topic_partition_list_t* partitions,
                       void* hooks) { Self(hooks).OnRebalance(client, error, *partitions); });
    rd_kafka_conf_set_error_cb(
        conf.raw(), [](rd_kafka_t* client, int error, const char* reason, void* hooks) {
          Self(hooks).OnError(client, static_cast<rd_kafka_resp_err_t>(error), reason);
        });
    client_->hooks.owner = this;
    TOCSIN_ASSIGN_OR_RETURN(client_->handle, conf.Make(RD_KAFKA_CONSUMER, &client_->hooks));
    handle_ = client_->handle;
    rd_kafka_poll_set_consumer(handle_);
    queue_.reset(rd_kafka_queue_get_consumer(handle_));
    return absl::OkStatus();
  }

  ~RdConsumer() override { Close(); }

  absl::Status Subscribe(std::vector<std::string> topics, RebalanceListener* listener) override {
    if (options_.group.empty()) {
      return FailedPrecondition("kafka: Subscribe needs a consumer with a group");
    }
    if (mode_ == Mode::kAssigned) {
      return FailedPrecondition("kafka: this consumer was given its partitions by Assign");
    }
    mode_ = Mode::kSubscribed;
    listener_ = listener;
    const PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(topics.size())));
    for (const std::string& topic : topics) {
      rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
    }
    return internal::StatusOf(rd_kafka_subscribe(handle_, list.get()), "subscribing");
  }

  absl::Status Assign(const Offsets& from) override {
    if (mode_ == Mode::kSubscribed) {
      return FailedPrecondition("kafka: this consumer gets its partitions from its group");
    }
    mode_ = Mode::kAssigned;
    const PartitionListPtr list = internal::ToList(from);
    EndPauses();
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(Reassign(list.get()), "assigning partitions"));
    positions_.clear();
    for (const auto& [where, offset] : from) {
      positions_[where] = offset >= 0 ? std::optional(offset) : std::nullopt;
    }
    return absl::OkStatus();
  }

  ViewBatch PollViews(milliseconds timeout) override {
    if (closed_) return {};
    std::unique_ptr<RdBatchMemory> batch = batches_->Get();
    slots_.clear();
    polled_ = batch.get();
    if (pending_assignment_.has_value()) CompleteAssignment();
    // A call within Poll may have reported something already.
    const milliseconds wait = errors_.empty() ? timeout : kNoTime;
    // One by itself, which waits and counts for max.poll.interval.ms; the rest at once, which costs
    // a third less. A batch call that waits would wait until it is full.
    MessagePtr first(rd_kafka_consumer_poll(handle_, internal::Milliseconds(wait)));
    if (first != nullptr) {
      Take(std::move(first), *batch);
      TakeAtHand(*batch);
    }
    polled_ = nullptr;
    RemindToFetch(*batch);
    std::move(errors_.begin(), errors_.end(), std::back_inserter(batch->errors));
    errors_.clear();
    return ViewBatch(std::move(batch));
  }

  absl::Status Seek(const TopicPartition& where, std::int64_t offset) override {
    if (!positions_.contains(where)) return NotAssigned(where, "seeking");
    const PartitionListPtr list = internal::ToList(Offsets{{where, offset}});
    const std::string what = Concat("seeking ", Describe(where), " to ", offset);
    const ErrorPtr error(
        rd_kafka_seek_partitions(handle_, list.get(), internal::Milliseconds(kSeekTimeout)));
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(error, what));
    const rd_kafka_resp_err_t result = list->elems[0].err;
    positions_[where] = offset;
    if (result == RD_KAFKA_RESP_ERR__STATE) return StartAgain(what);
    return internal::StatusOf(result, what);
  }

  absl::Status Pause(const std::vector<TopicPartition>& partitions) override {
    TOCSIN_RETURN_IF_ERROR(ForEach(partitions, "pausing", rd_kafka_pause_partitions));
    paused_.insert(partitions.begin(), partitions.end());
    return absl::OkStatus();
  }
  absl::Status Resume(const std::vector<TopicPartition>& partitions) override {
    TOCSIN_RETURN_IF_ERROR(ForEach(partitions, "resuming", rd_kafka_resume_partitions));
    for (const TopicPartition& where : partitions) paused_.erase(where);
    return absl::OkStatus();
  }

  std::optional<std::int64_t> Position(const TopicPartition& where) const override {
    const auto found = positions_.find(where);
    return found == positions_.end() ? std::nullopt : found->second;
  }

  std::vector<TopicPartition> Assignment() const override {
    std::vector<TopicPartition> partitions;
    partitions.reserve(positions_.size());
    for (const auto& [where, position] : positions_) partitions.push_back(where);
    return partitions;
  }

  absl::StatusOr<Offsets> Committed(const std::vector<TopicPartition>& partitions,
                                    milliseconds timeout) override {
    TOCSIN_RETURN_IF_ERROR(NeedsGroup());
    Offsets committed;
    if (partitions.empty()) return committed;
    const std::string what = Concat("asking for the committed offsets of group ", options_.group);
    const PartitionListPtr list = internal::ToList(partitions);
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(
        rd_kafka_committed(handle_, list.get(), internal::Milliseconds(timeout)), what));
    for (int i = 0; i < list->cnt; ++i) {
      const rd_kafka_topic_partition_t& entry = list->elems[i];
      TOCSIN_RETURN_IF_ERROR(internal::StatusOf(entry.err, what));
      if (entry.offset >= 0) committed[{entry.topic, entry.partition}] = entry.offset;
    }
    return committed;
  }

  absl::Status Commit(const Offsets& next) override {
    TOCSIN_RETURN_IF_ERROR(NeedsGroup());
    if (next.empty()) return absl::OkStatus();
    const std::string what = Concat("committing offsets of group ", options_.group);
    const PartitionListPtr list = internal::ToList(next);
    // A queue of its own, because the plain synchronous commit waits without a bound.
    const QueuePtr queue(rd_kafka_queue_new(handle_));
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(
        rd_kafka_commit_queue(handle_, list.get(), queue.get(), nullptr, nullptr), what));
    const EventPtr event(
        rd_kafka_queue_poll(queue.get(), internal::Milliseconds(options_.commit_timeout)));
    if (event == nullptr) return DeadlineExceeded(Concat(what, ": kafka does not answer"));
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(rd_kafka_event_error(event.get()), what));
    const rd_kafka_topic_partition_list_t* result =
        rd_kafka_event_topic_partition_list(event.get());
    for (int i = 0; result != nullptr && i < result->cnt; ++i) {
      TOCSIN_RETURN_IF_ERROR(internal::StatusOf(result->elems[i].err, what));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<GroupMetadata> CurrentGroupMetadata() override {
    TOCSIN_RETURN_IF_ERROR(NeedsGroup());
    const std::string what = Concat("group ", options_.group);
    if (!member_ || rd_kafka_assignment_lost(handle_) != 0) {
      return FailedPrecondition(Concat(what, ": this consumer has no assignment now"));
    }
    const GroupMetadataPtr metadata(rd_kafka_consumer_group_metadata(handle_));
    if (metadata == nullptr) return FailedPrecondition(Concat(what, ": no group metadata"));
    void* buffer = nullptr;
    std::size_t size = 0;
    const ErrorPtr error(rd_kafka_consumer_group_metadata_write(metadata.get(), &buffer, &size));
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(error, what));
    GroupMetadata copy{options_.group, std::string(static_cast<const char*>(buffer), size)};
    rd_kafka_mem_free(nullptr, buffer);
    if (GenerationOf(copy.opaque) < 0) {
      // The coordinator takes offsets of "no generation" without any check: never send it.
      return FailedPrecondition(Concat(what, ": this consumer is joining the group again"));
    }
    return copy;
  }

  absl::Status Probe(milliseconds timeout) override {
    return internal::ProbeCluster(handle_, timeout);
  }

  absl::StatusOr<std::int64_t> QueryEndOffset(const TopicPartition& where, Isolation isolation,
                                              milliseconds timeout) override {
    return isolation == options_.isolation
               ? internal::QueryOffset(handle_, where, internal::LogEdge::kEnd, timeout)
               : other_isolation_.QueryEnd(where, timeout);
  }

  absl::StatusOr<std::int64_t> QueryBeginningOffset(const TopicPartition& where,
                                                    milliseconds timeout) override {
    return internal::QueryOffset(handle_, where, internal::LogEdge::kBeginning, timeout);
  }

  absl::StatusOr<std::optional<std::int64_t>> QueryTimeOffset(const TopicPartition& where,
                                                              WallTime time,
                                                              milliseconds timeout) override {
    return internal::QueryOffset(handle_, where, time, timeout);
  }

  void Close() override {
    if (closed_ || handle_ == nullptr) return;
    closed_ = true;
    pending_assignment_.reset();
    // librdkafka waits 5 s for the answer to its good-bye, in the destructor if not before. So a
    // group is left in good order only where somebody answers; else the session ends by itself.
    const milliseconds patience = std::min(options_.close_timeout / 2, kGoodByeProbe);
    if (mode_ == Mode::kSubscribed && !Probe(patience).ok()) {
      TakeAway(rd_kafka_assignment_lost(handle_) != 0);
      return;
    }
    const QueuePtr queue(rd_kafka_queue_new(handle_));
    const ErrorPtr error(rd_kafka_consumer_close_queue(handle_, queue.get()));
    if (error == nullptr) {
      const SteadyTime deadline = Clock::Real().SteadyNow() + options_.close_timeout;
      // What is left of fetched records comes through this queue too, and goes.
      while (rd_kafka_consumer_closed(handle_) == 0 && Clock::Real().SteadyNow() < deadline) {
        const EventPtr event(rd_kafka_queue_poll(queue.get(), 50));
        if (event == nullptr || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_REBALANCE) {
          continue;
        }
        const rd_kafka_topic_partition_list_t* partitions =
            rd_kafka_event_topic_partition_list(event.get());
        if (partitions != nullptr) {
          OnRebalance(handle_, rd_kafka_event_error(event.get()), *partitions);
        }
      }
    }
    Forget();
  }

 private:
  enum class Mode { kNew, kSubscribed, kAssigned };

  static RdConsumer& Self(void* hooks) {
    return *static_cast<RdConsumer*>(static_cast<ConfBuilder::Hooks*>(hooks)->owner);
  }

  // The generation in librdkafka's serialized group metadata: a mark, then 4 bytes in the machine's
  // order. 0 for a form that is not known.
  static std::int32_t GenerationOf(std::string_view serialized) {
    constexpr std::string_view kMark = "CGMDv2:";
    std::int32_t generation = 0;
    if (serialized.substr(0, kMark.size()) == kMark &&
        serialized.size() >= kMark.size() + sizeof(generation)) {
      std::memcpy(&generation, serialized.data() + kMark.size(), sizeof(generation));
    }
    return generation;
  }

  absl::Status NeedsGroup() const {
    if (!options_.group.empty()) return absl::OkStatus();
    return FailedPrecondition("kafka: this consumer has no group");
  }

  static absl::Status NotAssigned(const TopicPartition& where, std::string_view what) {
    return FailedPrecondition(Concat(what, " ", Describe(where), ": it is not assigned"));
  }

  template <typename Function>
  absl::Status ForEach(const std::vector<TopicPartition>& partitions, std::string_view what,
                       Function function) {
    for (const TopicPartition& where : partitions) {
      if (!positions_.contains(where)) return NotAssigned(where, what);
    }
    const PartitionListPtr list = internal::ToList(partitions);
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(function(handle_, list.get()), what));
    for (int i = 0; i < list->cnt; ++i) {
      TOCSIN_RETURN_IF_ERROR(internal::StatusOf(
          list->elems[i].err, Concat(what, " ", Describe(partitions[static_cast<size_t>(i)]))));
    }
    return absl::OkStatus();
  }

  // A partition whose position was out of range does not run any more, and cannot seek: assign
  // everything anew at the positions that we know. Records that were fetched ahead are fetched
  // again.
  absl::Status StartAgain(std::string_view what) {
    const PartitionListPtr list = internal::ToList(Assignment());
    for (int i = 0; i < list->cnt; ++i) {
      rd_kafka_topic_partition_t& entry = list->elems[i];
      entry.offset = positions_[{entry.topic, entry.partition}].value_or(StartOffset());
    }
    TOCSIN_RETURN_IF_ERROR(internal::StatusOf(Reassign(list.get()), what));
    return ForEach({paused_.begin(), paused_.end()}, "pausing", rd_kafka_pause_partitions);
  }

  // As rd_kafka_assign (nullptr: nothing), and waits, for less than a millisecond, until the
  // client's thread has stopped what was read before and begun what is read now. Without that
  // librdkafka 2.0.2 ends the process when the next assignment comes first (an assertion in
  // rd_kafka_assignment_partition_stopped), and a pause or seek that comes first may undo the
  // start: then neither records nor an end ever come.
  rd_kafka_resp_err_t Reassign(const rd_kafka_topic_partition_list_t* list) {
    const rd_kafka_resp_err_t error = rd_kafka_assign(handle_, list);
    // The end of the group drops questions that it finds in the queue, and nobody answers them.
    if (closed_) return error;
    // Each question waits behind what the one before found in that thread's queue: the orders to
    // stop, that they are done, the orders to start.
    for (int i = 0; i < 3; ++i) {
      rd_kafka_topic_partition_list_t* answer = nullptr;
      (void)rd_kafka_assignment(handle_, &answer);
      const PartitionListPtr ignored(answer);
    }
    return error;
  }

  // In librdkafka a pause outlives the assignment: who is assigned the partition again would never
  // hear of it.
  void EndPauses() {
    if (paused_.empty() || closed_) return;
    const PartitionListPtr list =
        internal::ToList(std::vector<TopicPartition>(paused_.begin(), paused_.end()));
    (void)rd_kafka_resume_partitions(handle_, list.get());
    paused_.clear();
  }

  std::int64_t StartOffset() const {
    return options_.start == StartPosition::kEarliest ? RD_KAFKA_OFFSET_BEGINNING
                                                      : RD_KAFKA_OFFSET_END;
  }

  // What a poll knows of a partition after its first record there. Messages in hand hold the topic,
  // so its address is not used again meanwhile.
  struct Slot {
    const rd_kafka_topic_t* topic = nullptr;
    std::int32_t partition = 0;
    std::string_view name;
    // nullptr: it is not assigned.
    std::optional<std::int64_t>* position = nullptr;
  };

  Slot& SlotOf(const rd_kafka_message_t& message) {
    for (Slot& slot : slots_) {
      if (slot.topic == message.rkt && slot.partition == message.partition) return slot;
    }
    Slot& slot = slots_.emplace_back();
    slot.topic = message.rkt;
    slot.partition = message.partition;
    slot.name = batches_->Intern(rd_kafka_topic_name(message.rkt));
    const auto position = positions_.find({std::string(slot.name), slot.partition});
    if (position != positions_.end()) slot.position = &position->second;
    return slot;
  }

  // What lies in the queue, up to the limit of a batch.
  void TakeAtHand(RdBatchMemory& batch) {
    at_hand_.resize(options_.max_batch);
    while (batch.records.size() < options_.max_batch) {
      const std::size_t room = options_.max_batch - batch.records.size();
      rebalanced_ = false;
      in_batch_call_ = true;
      const ssize_t taken = rd_kafka_consume_batch_queue(queue_.get(), 0, at_hand_.data(), room);
      in_batch_call_ = false;
      if (rebalanced_) {
        // Nobody can tell which of these were read before and which after. None is handed out, and
        // what is assigned now is read from where it stands.
        for (ssize_t i = 0; i < taken; ++i) rd_kafka_message_destroy(at_hand_[ToIndex(i)]);
        if (positions_.empty()) return;
        if (const absl::Status again = StartAgain("starting again"); !again.ok()) {
          errors_.push_back({again, std::nullopt, false});
        }
        return;
      }
      for (ssize_t i = 0; i < taken; ++i) Take(MessagePtr(at_hand_[ToIndex(i)]), batch);
      if (taken < static_cast<ssize_t>(room)) return;
    }
  }

  void RemindToFetch(const RdBatchMemory& batch) {
    std::size_t bytes = 0;
    for (const RecordView& record : batch.records) {
      // What the client counts.
      bytes += record.key.value_or("").size() + record.value.value_or("").size();
    }
    if (positions_.empty() ||
        !fetch_reminder_.Polled(batch.records.size(), bytes, rd_kafka_queue_length(queue_.get()),
                                Clock::Real().SteadyNow())) {
      return;
    }
    // A question to the leader of each partition.
    const PartitionListPtr list = internal::ToList(Assignment());
    for (int i = 0; i < list->cnt; ++i) list->elems[i].offset = RD_KAFKA_OFFSET_END;
    (void)rd_kafka_offsets_for_times(handle_, list.get(), internal::Milliseconds(kReminderTimeout));
  }

  static std::size_t ToIndex(ssize_t i) { return static_cast<std::size_t>(i); }

  // A callback ends the poll that it came from, so that what it has changed is looked at. Not in a
  // batch call: that would lose the message behind it.
  void EndPoll(rd_kafka_t* client) {
    if (!in_batch_call_) rd_kafka_yield(client);
  }

  void Take(MessagePtr taken, RdBatchMemory& batch) {
    const rd_kafka_message_t& message = *taken;
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      const Slot& slot = SlotOf(message);
      if (slot.position != nullptr) *slot.position = message.offset + 1;
      batch.Add(taken.release(), slot.name);
      return;
    }
    std::optional<TopicPartition> where;
    if (message.rkt != nullptr) {
      where = TopicPartition{rd_kafka_topic_name(message.rkt), message.partition};
    }
    if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      const auto position = positions_.find(*where);
      if (position == positions_.end()) return;
      position->second = message.offset;
      batch.ends[*where] = message.offset;
      return;
    }
    const char* detail = rd_kafka_message_errstr(&message);
    PollError error;
    error.fatal = message.err == RD_KAFKA_RESP_ERR__FATAL;
    error.status = internal::StatusOf(
        message.err, where.has_value() ? Concat("reading ", Describe(*where)) : "reading",
        detail == nullptr ? "" : detail);
    error.where = std::move(where);
    batch.errors.push_back(std::move(error));
  }

  void OnError(rd_kafka_t* client, rd_kafka_resp_err_t error, const char* reason) {
    PollError report;
    if (error == RD_KAFKA_RESP_ERR__FATAL) {
      std::array<char, 512> text{};
      const rd_kafka_resp_err_t cause = rd_kafka_fatal_error(client, text.data(), text.size());
      report.fatal = true;
      report.status = internal::StatusOf(cause, Concat("group ", options_.group), text.data());
    } else if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
               error == RD_KAFKA_RESP_ERR__AUTHENTICATION || error == RD_KAFKA_RESP_ERR__SSL) {
      report.status = internal::StatusOf(error, "kafka", reason);
    } else {
      return;  // one broker of several, or transient: the client goes on, and it is in the log
    }
    errors_.push_back(std::move(report));
    EndPoll(client);
  }

  void OnRebalance(rd_kafka_t* client, rd_kafka_resp_err_t event,
                   const rd_kafka_topic_partition_list_t& partitions) {
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !closed_) {
      pending_assignment_ = internal::FromList(partitions);
      CompleteAssignment();
    } else {
      const bool lost = rd_kafka_assignment_lost(client) != 0;
      if (pending_assignment_.has_value()) {
        pending_assignment_.reset();  // the listener never heard of it
        Forget();
      } else {
        TakeAway(lost);
      }
      (void)Reassign(nullptr);
    }
    rebalanced_ = true;
    EndPoll(client);
  }

  // Starts each partition at an offset that we name, so that librdkafka never has to choose one.
  // Where the coordinator does not tell the committed offsets now, the next Poll tries again; the
  // group waits meanwhile.
  void CompleteAssignment() {
    const std::vector<TopicPartition> partitions = *pending_assignment_;
    const auto committed = Committed(partitions, kCommittedTimeout);
    if (!committed.ok()) {
      errors_.push_back({committed.status(), std::nullopt, false});
      return;
    }
    pending_assignment_.reset();
    const PartitionListPtr list = internal::ToList(partitions);
    std::vector<AssignedPartition> assigned;
    positions_.clear();
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      AssignedPartition entry{partitions[i], std::nullopt};
      const auto found = committed->find(partitions[i]);
      if (found != committed->end()) entry.committed = found->second;
      list->elems[i].offset = entry.committed.value_or(options_.start == StartPosition::kEarliest
                                                           ? RD_KAFKA_OFFSET_BEGINNING
                                                           : RD_KAFKA_OFFSET_END);
      positions_[partitions[i]] = entry.committed;
      assigned.push_back(std::move(entry));
    }
    const rd_kafka_resp_err_t error = Reassign(list.get());
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      errors_.push_back({internal::StatusOf(error, "taking the assignment"), std::nullopt, false});
      positions_.clear();
      return;
    }
    member_ = true;
    if (listener_ != nullptr) listener_->OnAssigned(assigned);
  }

  void TakeAway(bool lost) {
    if (member_ && listener_ != nullptr) {
      const std::vector<TopicPartition> gone = Assignment();
      lost ? listener_->OnLost(gone) : listener_->OnRevoked(gone);
    }
    Forget();
  }

  void Forget() {
    member_ = false;
    EndPauses();
    positions_.clear();
    // Eager: everything is taken away, and so is what this poll has in hand.
    slots_.clear();
    if (polled_ != nullptr) {
      polled_->DropRecords();
      polled_->ends.clear();
    }
  }

  const ConsumerOptions options_;
  const std::shared_ptr<ConsumerClient> client_ = std::make_shared<ConsumerClient>();
  const std::shared_ptr<BatchPool> batches_ = std::make_shared<BatchPool>(client_);
  // That of `client_`.
  rd_kafka_t* handle_ = nullptr;
  OffsetQuery other_isolation_;
  Mode mode_ = Mode::kNew;
  bool closed_ = false;
  RebalanceListener* listener_ = nullptr;
  // Has an assignment, perhaps an empty one.
  bool member_ = false;
  std::optional<std::vector<TopicPartition>> pending_assignment_;
  // One entry for each assigned partition.
  std::map<TopicPartition, std::optional<std::int64_t>> positions_;
  std::set<TopicPartition> paused_;
  std::vector<PollError> errors_;
  QueuePtr queue_;
  // Of the poll under way.
  std::vector<rd_kafka_message_t*> at_hand_;
  bool in_batch_call_ = false;
  bool rebalanced_ = false;
  std::vector<Slot> slots_;
  RdBatchMemory* polled_ = nullptr;
  internal::FetchReminder fetch_reminder_{internal::kMaxRecordsAhead, options_.max_buffered_bytes};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Consumer>> MakeConsumer(ConsumerOptions options) {
  if (options.group.empty() && !options.instance_id.empty()) {
    return InvalidArgument("kafka: an instance id without a group makes no sense");
  }
  if (options.max_batch == 0) return InvalidArgument("kafka: max_batch must be at least 1");
  auto consumer = std::make_unique<RdConsumer>(std::move(options));
  TOCSIN_RETURN_IF_ERROR(consumer->Start());
  return consumer;
}

}  // namespace tocsin::kafka
