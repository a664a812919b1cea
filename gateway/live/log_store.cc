#include "gateway/live/log_store.h"

#include <algorithm>
#include <utility>

namespace tocsin::gateway {

LogStore::LogStore(std::vector<LiveTopic> topics, std::size_t max_bytes)
    : topics_(std::move(topics)), max_bytes_(max_bytes), partitions_of_topic_(topics_.size()) {}

std::size_t LogStore::AddPartition(std::size_t topic, std::int64_t start) {
  MutexLock lock(mutex_);
  Ring ring;
  ring.id = {topic, partitions_of_topic_[topic]++};
  ring.start = ring.next = start;
  rings_.push_back(std::move(ring));
  count_ = rings_.size();
  return rings_.size() - 1;
}

void LogStore::Append(std::size_t partition, const std::vector<EntryPtr>& entries,
                      std::int64_t next) {
  MutexLock lock(mutex_);
  Ring& ring = rings_[partition];
  for (const EntryPtr& entry : entries) {
    if (entry->offset < ring.next) continue;
    ring.entries.push_back(entry);
    ring.next = entry->offset + 1;
    bytes_ += entry->memory();
    order_.push_back(partition);
  }
  ring.next = std::max(ring.next, next);
  while (bytes_ > max_bytes_ && !order_.empty()) {
    Ring& oldest = rings_[order_.front()];
    order_.pop_front();
    bytes_ -= oldest.entries.front()->memory();
    oldest.start = oldest.entries.front()->offset + 1;
    oldest.entries.pop_front();
  }
}

void LogStore::Restart(std::size_t partition, std::int64_t start) {
  MutexLock lock(mutex_);
  Ring& ring = rings_[partition];
  for (const EntryPtr& entry : ring.entries) bytes_ -= entry->memory();
  std::erase(order_, partition);
  ring.entries.clear();
  ring.start = ring.next = start;
}

LogStore::Partition LogStore::partition(std::size_t index) const {
  MutexLock lock(mutex_);
  return rings_[index].id;
}

LogStore::Window LogStore::Read(std::size_t partition, std::int64_t position,
                                std::size_t max) const {
  MutexLock lock(mutex_);
  const Ring& ring = rings_[partition];
  Window window;
  window.position = position;
  window.start = ring.start;
  window.end = ring.next;
  if (position < ring.start) {
    window.place = Window::kBelow;
    return window;
  }
  if (position > ring.next) {
    window.place = Window::kAbove;
    return window;
  }
  const auto first = std::lower_bound(
      ring.entries.begin(), ring.entries.end(), position,
      [](const EntryPtr& entry, std::int64_t offset) { return entry->offset < offset; });
  const auto left = static_cast<std::size_t>(ring.entries.end() - first);
  const auto last = first + static_cast<std::ptrdiff_t>(std::min(left, max));
  window.entries.assign(first, last);
  // Where nothing is left the position moves on over what no reader is shown: markers of
  // transactions and what they took back.
  window.position = last == ring.entries.end() ? ring.next : (*last)->offset;
  return window;
}

std::int64_t LogStore::End(std::size_t partition) const {
  MutexLock lock(mutex_);
  return rings_[partition].next;
}

std::size_t LogStore::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace tocsin::gateway
