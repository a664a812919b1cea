// A topic in memory that several registries share, and failures on demand.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
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
    const auto offset = static_cast<std::int64_t>(records_.size());
    records_.push_back({offset, std::move(key), std::move(value), WallTime{}, std::move(notes)});
    changed_.NotifyAll();
    return offset;
  }
  std::int64_t size() const {
    MutexLock lock(mutex_);
    return static_cast<std::int64_t>(records_.size());
  }
  std::set<std::string> DistinctKeys() const {
    MutexLock lock(mutex_);
    std::set<std::string> keys;
    for (const LogRecord& record : records_) keys.insert(record.key.value_or(""));
    return keys;
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
  absl::StatusOr<LogChunk> ReadFrom(std::int64_t offset, std::chrono::milliseconds timeout) {
    MutexLock lock(mutex_);
    if (!away_ && offset == static_cast<std::int64_t>(records_.size())) {
      // Short, so that a registry that stops is not waited for.
      changed_.WaitFor(mutex_, std::min(timeout, std::chrono::milliseconds(5)));
    }
    if (away_) return Unavailable("the broker is away");
    LogChunk chunk;
    chunk.records.assign(records_.begin() + offset, records_.end());
    chunk.end = static_cast<std::int64_t>(records_.size());
    return chunk;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<LogRecord> records_ ABSL_GUARDED_BY(mutex_);
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
};

// One registry's view of it. Failures are set from the thread that makes the calls.
class FakeLog final : public RegistryLog {
 public:
  explicit FakeLog(FakeTopic& topic) : topic_(topic) {}

  // Runs once, between the decision and the write.
  void BeforeNextAppend(std::function<void()> hook) { hook_ = std::move(hook); }
  // The next `count` appends are not confirmed; whether they land all the same is `lands`.
  void FailAppends(int count, bool lands) {
    failures_ = count;
    failures_land_ = lands;
  }
  // What FailAppends kept back arrives now.
  void LandLostAppends() {
    for (NewRecord& record : std::exchange(lost_, {})) {
      topic_.Append(std::move(record.key), std::move(record.value), std::move(record.notes));
    }
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
    std::vector<absl::StatusOr<std::int64_t>> landed;
    for (NewRecord& record : records) landed.push_back(Append(std::move(record)));
    return landed;
  }
  absl::StatusOr<LogChunk> Poll(std::chrono::milliseconds timeout) override {
    auto chunk = topic_.ReadFrom(next_, timeout);
    if (chunk.ok()) next_ = *chunk->end;
    return chunk;
  }
  std::string ClusterId() const override { return "fake"; }

 private:
  absl::StatusOr<std::int64_t> Append(NewRecord record) {
    if (topic_.away()) return Unavailable("the broker is away");
    if (failures_ > 0) {
      --failures_;
      if (failures_land_) {
        topic_.Append(std::move(record.key), std::move(record.value), std::move(record.notes));
      } else {
        lost_.push_back(std::move(record));
      }
      return Unavailable("not confirmed");
    }
    return topic_.Append(std::move(record.key), std::move(record.value), std::move(record.notes));
  }

  FakeTopic& topic_;
  std::function<void()> hook_;
  int failures_ = 0;
  bool failures_land_ = false;
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
