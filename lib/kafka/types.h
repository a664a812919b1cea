// The words that all of lib/kafka speaks: where a record lies, what it holds, how a client is
// connected.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/clock.h"

namespace tocsin::kafka {

struct TopicPartition {
  std::string topic = {};
  std::int32_t partition = 0;
  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

// "alerts.raw[3]", for messages.
std::string Describe(const TopicPartition& where);

// Partition → offset. Everywhere in this library an offset that is committed, sent or sought is the
// *next* one to read: that of the last record handled + 1.
using Offsets = std::map<TopicPartition, std::int64_t>;

// Record headers: ordered, and a name may stand more than once, as in Kafka. A null value reads as
// an empty one.
class Headers {
 public:
  using Entry = std::pair<std::string, std::string>;

  Headers() = default;
  Headers(std::initializer_list<Entry> entries) : entries_(entries) {}

  // The last value of that name; nullopt where there is none. The view lives until the next change.
  std::optional<std::string_view> Find(std::string_view name) const;
  // Takes the place of every entry of that name.
  void Set(std::string_view name, std::string_view value);
  void Append(std::string name, std::string value) {
    entries_.emplace_back(std::move(name), std::move(value));
  }
  void Remove(std::string_view name);

  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  friend bool operator==(const Headers&, const Headers&) = default;

 private:
  std::vector<Entry> entries_;
};

// A record as read.
struct Record {
  std::string topic = {};
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::optional<std::string> key = std::nullopt;
  // nullopt is a tombstone.
  std::optional<std::string> value = std::nullopt;
  Headers headers = {};
  // When it was sent (or appended, where the topic says so): never event time.
  WallTime timestamp{};

  TopicPartition where() const { return {topic, partition}; }
};

// The partition is chosen by the key, as Java's default partitioner does (`murmur2_random`: without
// a key any partition).
inline constexpr std::int32_t kPartitionByKey = -1;

// A record to be written.
struct OutgoingRecord {
  std::string topic = {};
  std::int32_t partition = kPartitionByKey;
  std::optional<std::string> key = std::nullopt;
  // nullopt writes a tombstone.
  std::optional<std::string> value = std::nullopt;
  Headers headers = {};
};

enum class Isolation {
  // What was written outside transactions, or inside committed ones; nothing beyond the first open
  // transaction. Every consumer of a topic that correlation writes uses this.
  kReadCommitted,
  kReadUncommitted,
};

enum class LogLevel { kDebug, kInfo, kWarning, kError };
// Called from the client's own threads; must be thread-safe and quick.
using LogSink = std::function<void(LogLevel level, std::string_view message)>;

// How any client reaches the cluster.
struct Connection {
  // host:port, comma separated.
  std::string bootstrap_servers = {};
  // Names this client in the broker's log and quotas.
  std::string client_id = "tocsin";
  // Where the client library's own words go: "broker down", "fenced", …. Empty: warnings and errors
  // on stderr.
  LogSink log = nullptr;
  // Further librdkafka properties, applied last; for tests and for operators with special needs.
  // INVALID_ARGUMENT from the factory names a property that does not exist.
  std::map<std::string, std::string> overrides = {};
};

}  // namespace tocsin::kafka
