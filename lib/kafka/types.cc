#include "lib/kafka/types.h"

#include <algorithm>

#include "lib/base/text.h"

namespace tocsin::kafka {

std::string Describe(const TopicPartition& where) {
  return Concat(where.topic, "[", where.partition, "]");
}

std::optional<std::string_view> Headers::Find(std::string_view name) const {
  const auto found = std::find_if(entries_.rbegin(), entries_.rend(),
                                  [&](const Entry& entry) { return entry.first == name; });
  if (found == entries_.rend()) return std::nullopt;
  return found->second;
}

void Headers::Set(std::string_view name, std::string_view value) {
  const auto first = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.first == name; });
  if (first == entries_.end()) {
    entries_.emplace_back(name, value);
    return;
  }
  first->second = value;
  entries_.erase(std::remove_if(first + 1, entries_.end(),
                                [&](const Entry& entry) { return entry.first == name; }),
                 entries_.end());
}

void Headers::Remove(std::string_view name) {
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(),
                                [&](const Entry& entry) { return entry.first == name; }),
                 entries_.end());
}

}  // namespace tocsin::kafka
