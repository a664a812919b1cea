#include "lib/kafka/record_view.h"

#include <algorithm>

namespace tocsin::kafka {
namespace {

constexpr std::size_t kPieceEntries = 4'096;

std::optional<std::string_view> View(const std::optional<std::string>& text) {
  if (!text.has_value()) return std::nullopt;
  return *text;
}

std::optional<std::string> Copy(const std::optional<std::string_view>& text) {
  if (!text.has_value()) return std::nullopt;
  return std::string(*text);
}

HeaderViews View(const Headers& headers, HeaderMemory& memory) {
  const std::span<HeaderViews::Entry> entries = memory.Take(headers.size());
  std::copy(headers.entries().begin(), headers.entries().end(), entries.begin());
  return HeaderViews(entries);
}

Headers Copy(const HeaderViews& views) {
  Headers headers;
  for (const auto& [name, value] : views.entries()) {
    headers.Append(std::string(name), std::string(value));
  }
  return headers;
}

}  // namespace

std::span<HeaderViews::Entry> HeaderMemory::Take(std::size_t count) {
  while (current_ < pieces_.size() && pieces_[current_].size - used_ < count) {
    ++current_;
    used_ = 0;
  }
  if (current_ == pieces_.size()) {
    const std::size_t size = std::max(count, kPieceEntries);
    pieces_.push_back({std::make_unique<HeaderViews::Entry[]>(size), size});
  }
  HeaderViews::Entry* const first = pieces_[current_].entries.get() + used_;
  used_ += count;
  return {first, count};
}

void HeaderMemory::Clear() {
  current_ = 0;
  used_ = 0;
}

RecordView AsView(const Record& record, HeaderMemory& memory) {
  return {.topic = record.topic,
          .partition = record.partition,
          .offset = record.offset,
          .key = View(record.key),
          .value = View(record.value),
          .headers = View(record.headers, memory),
          .timestamp = record.timestamp};
}

OutgoingView AsView(const OutgoingRecord& record, HeaderMemory& memory) {
  return {.topic = record.topic,
          .partition = record.partition,
          .key = View(record.key),
          .value = View(record.value),
          .headers = View(record.headers, memory)};
}

Record Own(const RecordView& record) {
  return {.topic = std::string(record.topic),
          .partition = record.partition,
          .offset = record.offset,
          .key = Copy(record.key),
          .value = Copy(record.value),
          .headers = Copy(record.headers),
          .timestamp = record.timestamp};
}

OutgoingRecord Own(const OutgoingView& record) {
  return {.topic = std::string(record.topic),
          .partition = record.partition,
          .key = Copy(record.key),
          .value = Copy(record.value),
          .headers = Copy(record.headers)};
}

}  // namespace tocsin::kafka
