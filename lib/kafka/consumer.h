// Reads records from Kafka: as a member of a group (eager assignment, static membership) or from
// partitions and offsets that the caller names.
//
// Delivery: nothing is committed unless the caller does it, by Commit or in a transaction
// (transactional_producer.h), so a record is handed out again after a crash: at least once, or
// exactly once with a transaction.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/kafka/record_view.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {

// Where to begin in a partition for which the group has committed nothing.
enum class StartPosition { kEarliest, kLatest };

struct ConsumerOptions {
  Connection connection = {};
  // Empty: no group; Assign is the only way to read, and Commit and Committed are refused.
  std::string group = {};
  // Static membership: stable and unique among the members. A member that comes back under the same
  // id within the session timeout gets its partitions back without a rebalance; two live members
  // with one id fence each other (FAILED_PRECONDITION, fatal). Empty: dynamic membership.
  std::string instance_id = {};
  Isolation isolation = Isolation::kReadCommitted;
  StartPosition start = StartPosition::kEarliest;
  // Silence after which the group gives this member's partitions away.
  std::chrono::milliseconds session_timeout{10'000};
  // The longest time between two calls of Poll or PollViews; beyond it the member is thrown out.
  std::chrono::milliseconds max_poll_interval{300'000};
  // Most records that one Poll returns.
  std::size_t max_batch = 1'000;
  // Bound of what is fetched ahead, in all.
  std::size_t max_buffered_bytes = 32U << 20;
  // The longest that Commit and Close wait for a broker that does not answer. A process that must
  // stop within a time gives a part of that time to each.
  std::chrono::milliseconds commit_timeout{10'000};
  std::chrono::milliseconds close_timeout{10'000};
};

struct AssignedPartition {
  TopicPartition where = {};
  // The group's committed offset; nullopt where there is none.
  std::optional<std::int64_t> committed = std::nullopt;
};

// Called from within Poll and PollViews, Close and the destructor, on their thread. Eager: every
// rebalance first takes all partitions away, then gives the new ones.
class RebalanceListener {
 public:
  virtual ~RebalanceListener() = default;
  // The consumer has been assigned these (perhaps none) and reads each from its committed offset or
  // else from the start position. The listener may call Pause, Seek and the queries; it must not
  // restore state here, but pause and do it outside.
  virtual void OnAssigned(const std::vector<AssignedPartition>& partitions) = 0;
  // About to be taken away, in good order: finish and commit what is in hand, or abort it.
  virtual void OnRevoked(const std::vector<TopicPartition>& partitions) = 0;
  // Already lost (session expired, fenced): another member may own them. Abort, commit nothing.
  virtual void OnLost(const std::vector<TopicPartition>& partitions) = 0;
};

struct PollError {
  // FAILED_PRECONDITION      fatal: fenced by another member with this instance id. Discard the
  //                          consumer.
  // OUT_OF_RANGE             the position in `where` is not in the log any more (or not yet). The
  //                          partition stays paused by the error until the caller seeks.
  // NOT_FOUND                no such topic or partition; the client goes on trying.
  // PERMISSION_DENIED, UNAUTHENTICATED
  // DATA_LOSS                a batch failed its checksum.
  // UNAVAILABLE              brokers cannot be reached; the client goes on trying.
  // RESOURCE_EXHAUSTED       `max_poll_interval` was exceeded; the next Poll joins again.
  absl::Status status = absl::OkStatus();
  // Which partition it is about, where it is about one.
  std::optional<TopicPartition> where = std::nullopt;
  bool fatal = false;
};

struct Batch {
  // Per partition in the order of offsets.
  std::vector<Record> records;
  // Partitions whose end was reached, and the offset of the end: that of the next record to be
  // written there. It counts what `records` cannot show (markers and aborted transactions). With
  // kReadCommitted the end is the last stable offset. Stands after the partition's records.
  Offsets ends;
  std::vector<PollError> errors;

  bool empty() const { return records.empty() && ends.empty() && errors.empty(); }
};

// What one PollViews has found, as in Batch, and the client's memory in which it lies.
//
// Its views live until it is destroyed or assigned to. It may outlive later polls, seeks and
// revocations, so that one batch is computed while the next is fetched, and may be moved to and
// released on another thread. What it holds is not bounded by `max_buffered_bytes`: release batches
// in step with polling. It may even outlive the consumer, whose connections then end with the last
// batch: release all before making a successor with the same instance id.
class ViewBatch {
 public:
  // Who makes batches derives from it. Not for others.
  class Memory {
   public:
    virtual ~Memory() = default;
    // The batch ends: delete this object or keep it for another batch. Any thread.
    virtual void Release() { delete this; }

    std::vector<RecordView> records;
    Offsets ends;
    std::vector<PollError> errors;
  };

  ViewBatch() = default;
  explicit ViewBatch(std::unique_ptr<Memory> memory) : memory_(memory.release()) {}

  // Per partition in the order of offsets.
  std::span<const RecordView> records() const {
    return memory_ == nullptr ? std::span<const RecordView>() : memory_->records;
  }
  const Offsets& ends() const { return memory_ == nullptr ? Nothing().ends : memory_->ends; }
  const std::vector<PollError>& errors() const {
    return memory_ == nullptr ? Nothing().errors : memory_->errors;
  }
  bool empty() const { return records().empty() && ends().empty() && errors().empty(); }

 private:
  struct Releaser {
    void operator()(Memory* memory) const { memory->Release(); }
  };
  static const Memory& Nothing();

  std::unique_ptr<Memory, Releaser> memory_;
};

// Opaque proof of membership at one moment, for TransactionalProducer::SendOffsets.
struct GroupMetadata {
  std::string group = {};
  std::string opaque = {};
};

// One thread at a time, but for the queries marked "any thread". The destructor calls Close.
class Consumer {
 public:
  virtual ~Consumer() = default;

  // Joins the group. `listener` may be null and must outlive the consumer or the call of Close.
  // FAILED_PRECONDITION without a group, or when Assign was called before.
  virtual absl::Status Subscribe(std::vector<std::string> topics, RebalanceListener* listener) = 0;

  // Reads exactly these from these offsets on, instead of what was read before. Not to be mixed
  // with Subscribe.
  virtual absl::Status Assign(const Offsets& from) = 0;

  // Waits at most `timeout` for the first thing to report, then takes what else is at hand, up to
  // `max_batch` records. May call the rebalance listener, and takes as long as that takes. For a
  // new assignment it asks the coordinator for the committed offsets, for at most 1 s at a time,
  // and gives no partition before it knows them: offsets that are pending in the transaction of a
  // dead predecessor hold it up until that is aborted. So call TransactionalProducer::Init (which
  // aborts it) before the first Poll, or else it waits for the transaction's timeout.
  //
  // What it returns was read under the assignment that holds when it returns: where partitions were
  // taken away meanwhile, nothing of theirs is handed out any more.
  //
  // The views' topics are the same bytes for the same topic (data() is equal), and live as long as
  // the consumer and its batches.
  virtual ViewBatch PollViews(std::chrono::milliseconds timeout) = 0;
  // PollViews, copied.
  Batch Poll(std::chrono::milliseconds timeout);

  // The next Poll continues here. Records already handed out stay handed out. The partition must be
  // assigned (FAILED_PRECONDITION). At most 5 s.
  virtual absl::Status Seek(const TopicPartition& where, std::int64_t offset) = 0;
  // Paused partitions stay assigned and report nothing. A pause ends with its assignment.
  virtual absl::Status Pause(const std::vector<TopicPartition>& partitions) = 0;
  virtual absl::Status Resume(const std::vector<TopicPartition>& partitions) = 0;

  // The next offset that Poll would hand out, as far as is known: behind the last record, the last
  // end mark or the last seek, whichever came later. nullopt where nothing of these has happened or
  // the partition is not assigned.
  virtual std::optional<std::int64_t> Position(const TopicPartition& where) const = 0;
  virtual std::vector<TopicPartition> Assignment() const = 0;

  // The group's committed offsets; partitions without one are left out. With kReadCommitted waits
  // for pending transactional offsets to be decided. UNAVAILABLE / DEADLINE_EXCEEDED: try again.
  virtual absl::StatusOr<Offsets> Committed(const std::vector<TopicPartition>& partitions,
                                            std::chrono::milliseconds timeout) = 0;
  // Synchronous, at most `commit_timeout`. ABORTED: a rebalance is under way or took the partition
  // away: the records will be read again by whoever owns it then. UNAVAILABLE / DEADLINE_EXCEEDED:
  // try again.
  virtual absl::Status Commit(const Offsets& next) = 0;

  // Fetch it anew for each use: the generation changes without a callback. FAILED_PRECONDITION
  // while this consumer is not a member with an assignment.
  virtual absl::StatusOr<GroupMetadata> CurrentGroupMetadata() = 0;

  // OK when a broker answers within `timeout`: for readiness. Any thread. UNAVAILABLE otherwise.
  virtual absl::Status Probe(std::chrono::milliseconds timeout) = 0;

  // Asks the partition's leader, so OK also proves that the broker answers. kReadCommitted: the
  // last stable offset; kReadUncommitted: the high watermark. Any thread. UNAVAILABLE /
  // DEADLINE_EXCEEDED: not within `timeout`. NOT_FOUND: no such partition.
  virtual absl::StatusOr<std::int64_t> QueryEndOffset(const TopicPartition& where,
                                                      Isolation isolation,
                                                      std::chrono::milliseconds timeout) = 0;
  // The first offset that is still in the log. Any thread, errors as above.
  virtual absl::StatusOr<std::int64_t> QueryBeginningOffset(const TopicPartition& where,
                                                            std::chrono::milliseconds timeout) = 0;
  // The first offset whose record has this Kafka timestamp (in milliseconds) or a later one;
  // nullopt: none has, as far as this consumer's isolation sees. Any thread, errors as above.
  virtual absl::StatusOr<std::optional<std::int64_t>> QueryTimeOffset(
      const TopicPartition& where, WallTime time, std::chrono::milliseconds timeout) = 0;

  // Stops reading: calls OnRevoked (or OnLost) for what is assigned. With an instance id the place
  // in the group is kept until the session times out; else the group is left, where a broker
  // answers. Idempotent. At most about `close_timeout`; the destructor waits besides for the answer
  // to a commit under way, which comes or times out within 6 s of its sending.
  virtual void Close() = 0;
};

// INVALID_ARGUMENT: an option does not make sense. Does not wait for the broker.
absl::StatusOr<std::unique_ptr<Consumer>> MakeConsumer(ConsumerOptions options);

}  // namespace tocsin::kafka
