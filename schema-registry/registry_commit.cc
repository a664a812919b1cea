// The way of a decision into the log. Callers decide at the same time, each on the state as it saw
// it; one thread collects what they decided, takes what still holds and does not get in each
// other's way, gives it consecutive places at the end of the log and writes it at once.
#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "schema-registry/registry.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxRecords = 512;
constexpr std::size_t kMaxBytes = std::size_t{4} << 20;
// How often there is a look at what else is to be done while nobody writes.
constexpr milliseconds kHousekeepingInterval{1'000};
constexpr milliseconds kHousekeepingTimeout{3'000};
constexpr std::size_t kMarksAtOnce = 50;
constexpr std::string_view kSelf = "schema-registry";

const telemetry::Histogram& BatchSizes() {
  static const telemetry::Histogram histogram =
      telemetry::GetHistogram("tocsin_schema_registry_batch_records",
                              "Records that the registry wrote to its topic at once.", {},
                              {1, 2, 4, 8, 16, 32, 64, 128, 256, 512});
  return histogram;
}

const telemetry::Counter& Collisions() {
  static const telemetry::Counter counter = telemetry::GetCounter(
      "tocsin_schema_registry_collisions_total",
      "Writes that another replica was ahead of, and which were decided anew.");
  return counter;
}

absl::Status NotConfirmed(const absl::Status& status) {
  if (status.code() == absl::StatusCode::kInvalidArgument) {
    return MakeError(ErrorCode::kTooLarge,
                     Concat("Kafka does not take the record: ", Message(status)));
  }
  return MakeError(
      CodeOf(status) == ErrorCode::kTimeout ? ErrorCode::kTimeout : ErrorCode::kStore,
      Concat("Kafka did not confirm the write, which may still take effect; try again: ",
             Message(status)));
}

}  // namespace

absl::Status Registry::Commit(Plan plan, bool alone, SteadyTime deadline) {
  auto write = std::make_shared<PendingWrite>();
  write->plan = std::move(plan);
  write->alone = alone;
  write->deadline = deadline;
  MutexLock lock(queue_mutex_);
  if (queue_closed_) return MakeError(ErrorCode::kStore, "the registry is stopping; try another");
  queue_.push_back(write);
  queue_changed_.NotifyAll();
  while (!write->outcome) {
    const auto left = deadline - clock_.SteadyNow();
    if (left <= SteadyTime::duration::zero() && !write->taken) {
      std::erase(queue_, write);
      return TooSlow("waiting for the writes before this one");
    }
    // What is on its way has an outcome soon: the write itself has a deadline.
    write->done.WaitFor(queue_mutex_, std::max<SteadyTime::duration>(left, milliseconds(50)));
  }
  return *write->outcome;
}

void Registry::Finish(const std::vector<std::shared_ptr<PendingWrite>>& writes,
                      const absl::Status& outcome) {
  MutexLock lock(queue_mutex_);
  for (const auto& write : writes) {
    write->outcome = outcome;
    write->done.NotifyAll();
  }
}

std::vector<std::shared_ptr<Registry::PendingWrite>> Registry::NextWrites() {
  std::vector<std::shared_ptr<PendingWrite>> writes;
  MutexLock lock(queue_mutex_);
  if (queue_.empty() && !queue_closed_) queue_changed_.WaitFor(queue_mutex_, kHousekeepingInterval);
  while (!queue_.empty() && writes.size() < kMaxRecords) {
    if (queue_.front()->alone && !writes.empty()) break;
    writes.push_back(queue_.front());
    writes.back()->taken = true;
    queue_.pop_front();
    if (writes.back()->alone) break;
  }
  return writes;
}

void Registry::Commits() {
  for (;;) {
    const auto writes = NextWrites();
    {
      MutexLock lock(queue_mutex_);
      if (queue_closed_) {
        queue_.insert(queue_.begin(), writes.begin(), writes.end());
        for (const auto& write : queue_) {
          write->outcome = MakeError(ErrorCode::kStore, "the registry is stopping; try another");
          write->done.NotifyAll();
        }
        queue_.clear();
        return;
      }
    }
    CommitBatch(writes);
  }
}

void Registry::PlanHousekeeping(const RegistryState& state, Batch& batch) const {
  // Another registry deleted these for good; a record of ours keeps their numbers from being given
  // again when compaction has forgotten them.
  for (const auto& each : state.Forgettables(kMarksAtOnce)) {
    PlannedRecord record;
    record.key.type = KeyType::kSchema;
    record.key.subject = each.subject;
    record.key.version = each.version;
    record.schema = SchemaValue{};
    record.schema->subject = each.subject;
    record.schema->version = each.version;
    record.schema->id = each.id;
    record.schema->type = kAvro;
    record.schema->deleted = true;
    record.notes.actor = kSelf;
    record.notes.content_key = each.content_key;
    batch.records.push_back(std::move(record));
  }
}

void Registry::CommitBatch(const std::vector<std::shared_ptr<PendingWrite>>& writes) {
  struct Part {
    std::shared_ptr<PendingWrite> write;
    // Of the batch's records, those of this write: the first, and the one after the last.
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  Batch batch;
  std::vector<Part> parts;
  std::vector<std::shared_ptr<PendingWrite>> stale;
  std::vector<std::shared_ptr<PendingWrite>> later;
  std::vector<std::string> tombstones;
  std::int64_t position = 0;
  SteadyTime deadline = clock_.SteadyNow() + kHousekeepingTimeout;
  {
    MutexLock lock(mutex_);
    position = state_.position();
    for (const auto& write : writes) {
      const std::size_t begin = batch.records.size();
      const Planned planned =
          batch.bytes >= kMaxBytes ? Planned::kLater : write->plan(state_, batch);
      if (planned == Planned::kStale) stale.push_back(write);
      if (planned == Planned::kLater) later.push_back(write);
      if (planned != Planned::kAdded) continue;
      parts.push_back({write, begin, batch.records.size()});
      deadline = std::max(deadline, write->deadline);
    }
    if (loaded_ && status_.ok()) {
      if (batch.records.empty()) PlanHousekeeping(state_, batch);
      if (clock_.SteadyNow() >= next_tombstones_) {
        tombstones = state_.superseded().Take(
            clock_.SteadyNow(), {options_.tombstone_own_after, options_.tombstone_others_after},
            options_.tombstones_per_second);
        if (!tombstones.empty()) next_tombstones_ = clock_.SteadyNow() + std::chrono::seconds(1);
      }
    }
  }
  if (!later.empty()) {
    MutexLock lock(queue_mutex_);
    for (auto write = later.rbegin(); write != later.rend(); ++write) {
      (*write)->taken = false;
      queue_.push_front(*write);
    }
  }
  Finish(stale, Aborted("the state has changed since the decision"));
  if (batch.records.empty() && tombstones.empty()) return;

  std::vector<NewRecord> records;
  records.reserve(batch.records.size() + tombstones.size());
  for (PlannedRecord& planned : batch.records) {
    const auto place = static_cast<std::int64_t>(records.size());
    planned.key.sequence = Sequence{position + place, options_.node, ++attempts_, place > 0};
    records.push_back({EncodeKey(planned.key),
                       planned.schema ? EncodeSchemaValue(*planned.schema) : planned.value,
                       std::move(planned.notes)});
  }
  const std::size_t counted_records = records.size();
  for (const std::string& key : tombstones) records.push_back({key, std::nullopt, {}});
  const auto landed = log_.Append(std::move(records), Left(deadline));
  BatchSizes().Observe(static_cast<double>(landed.size()));

  std::int64_t applied_to = 0;
  for (const auto& offset : landed) {
    if (offset.ok()) applied_to = std::max(applied_to, *offset + 1);
  }
  std::vector<std::string> unwritten;
  for (std::size_t i = counted_records; i < landed.size(); ++i) {
    if (!landed[i].ok()) unwritten.push_back(tombstones[i - counted_records]);
  }
  if (!unwritten.empty()) {
    MutexLock lock(mutex_);
    state_.superseded().GiveBack(unwritten);
  }
  // Whoever wrote reads what was written, and the next batch begins behind it.
  const absl::Status applied =
      WaitFor(applied_to, std::max(deadline, clock_.SteadyNow() + milliseconds(100)));
  // A record counts if it and all before it lie where they were meant to.
  std::size_t counting = 0;
  while (counting < counted_records && landed[counting].ok() &&
         *landed[counting] == position + static_cast<std::int64_t>(counting)) {
    ++counting;
  }
  for (const Part& part : parts) {
    absl::Status outcome = applied;
    if (part.end > counting) {
      const auto failed = std::find_if(landed.begin() + static_cast<std::ptrdiff_t>(part.begin),
                                       landed.begin() + static_cast<std::ptrdiff_t>(part.end),
                                       [](const auto& offset) { return !offset.ok(); });
      const bool lost = failed == landed.begin() + static_cast<std::ptrdiff_t>(part.end);
      if (lost) {
        collisions_.fetch_add(1, std::memory_order_relaxed);
        Collisions().Increment();
      }
      outcome = lost ? Aborted("another replica was first") : NotConfirmed(failed->status());
    } else if (!applied.ok()) {
      outcome = NotConfirmed(applied);
    }
    Finish({part.write}, outcome);
  }
}

}  // namespace tocsin::registry
