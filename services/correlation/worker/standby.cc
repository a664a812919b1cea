#include "services/correlation/worker/standby.h"

#include <algorithm>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"

namespace tocsin::correlation {

using std::chrono::milliseconds;

Standby::Standby(WorkerOptions options, StandbyIo io)
    : options_(std::move(options)), io_(std::move(io)) {}

std::string Standby::Folder(const Id& id) const {
  return Concat(options_.state_folder, "/", id.first, "/", id.second);
}

void Standby::Claim(const std::string& stream, std::int32_t partition) {
  MutexLock lock(mutex_);
  const Id id{stream, partition};
  not_now_[id] = std::nullopt;
  const auto copy = copies_.find(id);
  if (copy == copies_.end()) return;
  // Closed before anybody else opens it.
  copies_.erase(copy);
  changed_ = true;
}

void Standby::GiveBack(const std::string& stream, std::int32_t partition) {
  MutexLock lock(mutex_);
  not_now_[{stream, partition}] = io_.clock->SteadyNow() + kPause;
}

Standby::Standing Standby::standing() const {
  MutexLock lock(mutex_);
  Standing standing;
  standing.copies = static_cast<int>(copies_.size());
  for (const auto& [id, copy] : copies_) {
    const auto end = ends_.find(copy.changelog);
    if (end == ends_.end()) continue;
    standing.behind += std::max<std::int64_t>(0, end->second - copy.store->position().value_or(0));
  }
  return standing;
}

void Standby::OpenOne() {
  const std::shared_ptr<const RuleSet> rules = io_.rules->Current();
  const SteadyTime now = io_.clock->SteadyNow();
  MutexLock lock(mutex_);
  for (const auto& plan : rules->plans) {
    for (std::int32_t p = 0; p < plan->stream().partitions; ++p) {
      const Id id{plan->stream().topic, p};
      if (copies_.contains(id)) continue;
      const auto [wait, is_new] = not_now_.try_emplace(id, now);
      if (!is_new && (!wait->second.has_value() || now < *wait->second)) continue;
      StateStoreOptions options = options_.store;
      options.folder = Folder(id);
      auto store = StateStore::Open(options, io_.clock->Now());
      if (store.status().code() == absl::StatusCode::kDataLoss &&
          StateStore::Wipe(options.folder).ok()) {
        store = StateStore::Open(options, io_.clock->Now());
      }
      if (!store.ok()) {
        telemetry::LogWarning("a warm copy cannot be opened; it is tried again",
                              {{"folder", options.folder}, {"error", store.status()}});
        wait->second = now + kPause;
        return;
      }
      copies_[id] = {{plan->stream().ChangelogTopic(), p}, *std::move(store)};
      changed_ = true;
      return;
    }
  }
}

absl::Status Standby::Follow() {
  kafka::Offsets from;
  {
    MutexLock lock(mutex_);
    if (!changed_) return absl::OkStatus();
    for (const auto& [id, copy] : copies_) {
      from[copy.changelog] = copy.store->position().value_or(-1);
    }
    changed_ = false;
  }
  const auto again = [this](absl::Status status) {
    MutexLock lock(mutex_);
    changed_ = true;
    return status;
  };
  for (auto& [where, offset] : from) {
    if (offset >= 0) continue;
    const auto beginning = consumer_->QueryBeginningOffset(where, options_.query_timeout);
    if (!beginning.ok()) return again(beginning.status());
    offset = *beginning;
  }
  if (const absl::Status assigned = consumer_->Assign(from); !assigned.ok()) {
    return again(assigned);
  }
  return absl::OkStatus();
}

absl::Status Standby::Step(milliseconds wait) {
  if (consumer_ == nullptr) {
    TOCSIN_ASSIGN_OR_RETURN(consumer_, io_.make_consumer({}));
    MutexLock lock(mutex_);
    changed_ = true;
  }
  OpenOne();
  TOCSIN_RETURN_IF_ERROR(Follow());
  const kafka::Batch batch = consumer_->Poll(wait);
  MutexLock lock(mutex_);
  // What was claimed meanwhile is not here any more, and what comes back is read from its position.
  Apply(batch);
  for (const kafka::PollError& error : batch.errors) {
    if (!error.fatal) continue;
    consumer_.reset();
    return error.status;
  }
  return absl::OkStatus();
}

void Standby::Apply(const kafka::Batch& batch) {
  std::map<kafka::TopicPartition, std::pair<StateChanges, std::int64_t>> changes;
  for (const kafka::Record& record : batch.records) {
    if (!record.key.has_value()) continue;
    auto& [of_partition, position] = changes[record.where()];
    of_partition.insert_or_assign(*record.key, record.value);
    position = record.offset + 1;
  }
  for (const auto& [where, end] : batch.ends) ends_[where] = end;
  for (auto copy = copies_.begin(); copy != copies_.end();) {
    const auto read = changes.find(copy->second.changelog);
    const bool gone = std::any_of(batch.errors.begin(), batch.errors.end(), [&](const auto& error) {
      return error.where == copy->second.changelog &&
             error.status.code() == absl::StatusCode::kOutOfRange;
    });
    absl::Status status;
    if (gone) status = DataLoss("the changelog does not hold its position any more");
    if (status.ok() && read != changes.end()) {
      status = copy->second.store->Apply(read->second.first, read->second.second, io_.clock->Now());
    }
    // Behind the last record lies at least the marker of its transaction.
    const auto end = batch.ends.find(copy->second.changelog);
    if (status.ok() && end != batch.ends.end() &&
        end->second > copy->second.store->position().value_or(0)) {
      status = copy->second.store->Apply({}, end->second, io_.clock->Now());
    }
    if (status.ok()) {
      ++copy;
      continue;
    }
    telemetry::LogWarning("a warm copy is made anew",
                          {{"folder", Folder(copy->first)}, {"error", status}});
    const Id id = copy->first;
    copy = copies_.erase(copy);
    not_now_[id] = io_.clock->SteadyNow() + kPause;
    changed_ = true;
    if (gone) (void)StateStore::Wipe(Folder(id));
  }
}

}  // namespace tocsin::correlation
