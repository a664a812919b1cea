// Records where they lie: keys, values and headers as views of bytes that somebody else owns. What
// a hot path reads (Consumer::PollViews) and writes (Produce of an OutgoingView) without copies.
//
// Views are plain values: copying one copies pointers. They die with the bytes that they show; each
// source says how long those live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {

// The headers of one record, in their order; a name may stand more than once, a null value reads as
// an empty one.
class HeaderViews {
 public:
  using Entry = std::pair<std::string_view, std::string_view>;

  HeaderViews() = default;
  explicit HeaderViews(std::span<const Entry> entries) : entries_(entries) {}

  // The last value of that name; nullopt where there is none. Walks the entries.
  std::optional<std::string_view> Find(std::string_view name) const {
    for (std::size_t i = entries_.size(); i > 0; --i) {
      if (entries_[i - 1].first == name) return entries_[i - 1].second;
    }
    return std::nullopt;
  }

  std::span<const Entry> entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }

 private:
  std::span<const Entry> entries_;
};

// A record as read.
struct RecordView {
  // Outlives the rest: see Consumer::PollViews.
  std::string_view topic = {};
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::optional<std::string_view> key = std::nullopt;
  // nullopt is a tombstone.
  std::optional<std::string_view> value = std::nullopt;
  HeaderViews headers = {};
  // When it was sent (or appended, where the topic says so): never event time.
  WallTime timestamp{};

  TopicPartition where() const { return {std::string(topic), partition}; }
};

// A record to be written. The bytes are needed during the call of Produce only.
struct OutgoingView {
  std::string_view topic = {};
  std::int32_t partition = kPartitionByKey;
  std::optional<std::string_view> key = std::nullopt;
  // nullopt writes a tombstone.
  std::optional<std::string_view> value = std::nullopt;
  HeaderViews headers = {};
};

// Room for the header entries of many records, in pieces that never move. Not thread-safe.
class HeaderMemory {
 public:
  HeaderMemory() = default;
  HeaderMemory(HeaderMemory&&) = default;
  HeaderMemory& operator=(HeaderMemory&&) = default;

  // `count` entries side by side, to be filled by the caller. They live until Clear or the end of
  // this object.
  std::span<HeaderViews::Entry> Take(std::size_t count);
  // Gives back the last `count` entries of the latest Take.
  void Return(std::size_t count) { used_ -= count; }
  // Ends all that was taken and keeps the room for what comes.
  void Clear();

 private:
  struct Piece {
    std::unique_ptr<HeaderViews::Entry[]> entries;
    std::size_t size = 0;
  };
  std::vector<Piece> pieces_;
  std::size_t current_ = 0;
  // Of the current piece.
  std::size_t used_ = 0;
};

// Views of an owned record; they live as long as it and `memory` do, and end when it changes.
RecordView AsView(const Record& record, HeaderMemory& memory);
OutgoingView AsView(const OutgoingRecord& record, HeaderMemory& memory);

// An owned copy.
Record Own(const RecordView& record);
OutgoingRecord Own(const OutgoingView& record);

}  // namespace tocsin::kafka
