// A topic in memory that several registries share, and failures on demand.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "schema-registry/io.h"
#include "schema-registry/registry.h"

namespace tocsin::registry {

// Thread-safe.
class FakeTopic {
 public:
  std::int64_t Append(std::string key, std::optional<std::string> value, RecordNotes notes = {}) {
    MutexLock lock(mutex_);
    const std::int64_t offset = end_++;
    records_.push_back({offset, std::move(key), std::move(value), WallTime{}, std::move(notes)});
    changed_.NotifyAll();
    return offset;
  }
  // The offset of the next record.
  std::int64_t size() const {
    MutexLock lock(mutex_);
    return end_;
  }
  std::vector<LogRecord> records() const {
    MutexLock lock(mutex_);
    return records_;
  }
  std::set<std::string> DistinctKeys() const {
    MutexLock lock(mutex_);
    std::set<std::string> keys;
    for (const LogRecord& record : records_) keys.insert(record.key.value_or(""));
    return keys;
  }
  // As Kafka's cleaner does: of the records before `cut`, each that a later one with its key
  // replaces goes; tombstones too, where `tombstones` is true.
  void Compact(std::int64_t cut, bool tombstones) {
    MutexLock lock(mutex_);
    std::map<std::string, std::int64_t> last;
    for (const LogRecord& record : records_) {
      if (record.offset < cut) last[record.key.value_or("")] = record.offset;
    }
    std::erase_if(records_, [&](const LogRecord& record) {
      if (record.offset >= cut) return false;
      return last.at(record.key.value_or("")) != record.offset || (tombstones && !record.value);
    });
  }
  // The broker answers nobody.
  void SetAway(bool away) {
    MutexLock lock(mutex_);
    away_ = away;
    changed_.NotifyAll();
  }
  bool away() const {
    MutexLock lock(mutex_);
    return away_;
  }
  // The broker answers, but hands out no records. `each_time` runs whenever somebody asks for some.
  void Stall(std::function<void()> each_time) {
    MutexLock lock(mutex_);
    stalled_ = std::move(each_time);
  }
  absl::StatusOr<LogChunk> ReadFrom(std::int64_t offset, std::chrono::milliseconds timeout) {
    MutexLock lock(mutex_);
    if (!away_ && !stalled_ && offset == end_) {
      // Short, so that a registry that stops is not waited for.
      changed_.WaitFor(mutex_, std::min(timeout, std::chrono::milliseconds(5)));
    }
    if (away_) return Unavailable("the broker is away");
    if (stalled_) {
      stalled_();
      changed_.WaitFor(mutex_, std::min(timeout, std::chrono::milliseconds(5)));
      return LogChunk{};
    }
    LogChunk chunk;
    const auto from = std::lower_bound(
        records_.begin(), records_.end(), offset,
        [](const LogRecord& record, std::int64_t wanted) { return record.offset < wanted; });
    chunk.records.assign(from, records_.end());
    chunk.end = end_;
    return chunk;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<LogRecord> records_ ABSL_GUARDED_BY(mutex_);
  std::int64_t end_ ABSL_GUARDED_BY(mutex_) = 0;
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> stalled_ ABSL_GUARDED_BY(mutex_);
};

// One registry's view of it. Failures are set while no call is under way.
class FakeLog final : public RegistryLog {
 public:
  explicit FakeLog(FakeTopic& topic) : topic_(topic) {}

  // Runs once, between the decision and the write.
  void BeforeNextAppend(std::function<void()> hook) { hook_ = std::move(hook); }
  // The same, between every decision and its write.
  void BeforeEachAppend(std::function<void()> hook) { each_hook_ = std::move(hook); }
  // The next `count` records are not confirmed; whether they land all the same is `lands`.
  void FailAppends(int count, bool lands, absl::Status as = Unavailable("not confirmed")) {
    failures_ = count;
    failures_land_ = lands;
    failure_ = std::move(as);
  }
  // From now on each record has one of the fates that a producer can meet, at random.
  void SetChaos(std::uint32_t seed) { chaos_.emplace(seed); }
  void EndChaos() { chaos_.reset(); }
  // What was kept back arrives now.
  void LandLostAppends() {
    for (NewRecord& record : std::exchange(lost_, {})) Land(std::move(record));
  }
  static void WaitUntilReady(const Registry& registry) {
    while (!registry.Ready().ok()) std::this_thread::yield();
  }

  absl::StatusOr<std::int64_t> EndOffset(std::chrono::milliseconds) override {
    if (topic_.away()) return Unavailable("the broker is away");
    return topic_.size();
  }
  std::vector<absl::StatusOr<std::int64_t>> Append(std::vector<NewRecord> records,
                                                   std::chrono::milliseconds) override {
    if (hook_) std::exchange(hook_, nullptr)();
    if (each_hook_) each_hook_();
    // What a producer still holds goes before what it is given now.
    if (chaos_) LandLostAppends();
    std::vector<absl::StatusOr<std::int64_t>> landed;
    for (NewRecord& record : records) landed.push_back(Append(std::move(record)));
    return landed;
  }
  absl::StatusOr<LogChunk> Poll(std::chrono::milliseconds timeout) override {
    auto chunk = topic_.ReadFrom(next_, timeout);
    if (chunk.ok() && chunk->end) next_ = *chunk->end;
    return chunk;
  }
  std::string ClusterId() const override { return "fake"; }

 private:
  std::int64_t Land(NewRecord record) {
    return topic_.Append(std::move(record.key), std::move(record.value), std::move(record.notes));
  }
  absl::StatusOr<std::int64_t> Append(NewRecord record) {
    if (topic_.away()) return Unavailable("the broker is away");
    if (chaos_) {
      if (!lost_.empty()) {
        lost_.push_back(std::move(record));
        return Unavailable("not confirmed");
      }
      switch ((*chaos_)() % 20) {
        case 0:
          Land(std::move(record));
          return Unavailable("not confirmed, and there all the same");
        case 1:
          return Unavailable("not confirmed, and not there");
        case 2:
          lost_.push_back(std::move(record));
          return Unavailable("not confirmed yet");
        default:
          if ((*chaos_)() % 4 == 0) std::this_thread::yield();
          return Land(std::move(record));
      }
    }
    if (failures_ > 0) {
      --failures_;
      if (failures_land_) {
        Land(std::move(record));
      } else {
        lost_.push_back(std::move(record));
      }
      return failure_;
    }
    return Land(std::move(record));
  }

  FakeTopic& topic_;
  std::function<void()> hook_;
  std::function<void()> each_hook_;
  std::optional<std::mt19937> chaos_;
  int failures_ = 0;
  bool failures_land_ = false;
  absl::Status failure_;
  std::vector<NewRecord> lost_;
  std::int64_t next_ = 0;
};

// Keeps what it is told.
class FakeAudit final : public AuditLog {
 public:
  void Record(AuditEntry entry) override {
    MutexLock lock(mutex_);
    entries_.push_back(std::move(entry));
  }
  std::vector<AuditEntry> entries() const {
    MutexLock lock(mutex_);
    return entries_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<AuditEntry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::registry
