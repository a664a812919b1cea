#include "schema-registry/superseded_keys.h"

#include <utility>

namespace tocsin::registry {

void SupersededKeys::Add(const RecordKey& key, bool urgent) {
  if (!key.sequence || waiting_.size() >= max_keys_) return;
  std::string bytes = EncodeKey(key);
  if (!waiting_.insert(bytes).second) return;
  if (urgent) urgent_waiting_.insert(bytes);
  auto& entries = urgent ? urgent_ : key.sequence->node == node_ ? own_ : others_;
  entries.push_back({std::move(bytes), now_});
}

void SupersededKeys::Remove(const RecordKey& key) {
  const std::string bytes = EncodeKey(key);
  waiting_.erase(bytes);
  urgent_waiting_.erase(bytes);
}

std::vector<std::string> SupersededKeys::Take(SteadyTime now, const Delays& delays,
                                              std::size_t max) {
  std::vector<std::string> taken;
  TakeFrom(urgent_, now - delays.own, max, taken);
  if (!urgent_waiting_.empty()) return taken;
  TakeFrom(own_, now - delays.own, max, taken);
  TakeFrom(others_, now - delays.others, max, taken);
  return taken;
}

void SupersededKeys::TakeFrom(std::deque<Entry>& entries, SteadyTime until, std::size_t max,
                              std::vector<std::string>& taken) {
  while (!entries.empty() && taken.size() < max && entries.front().since <= until) {
    // Another replica may have been first.
    if (waiting_.contains(entries.front().key)) taken.push_back(std::move(entries.front().key));
    entries.pop_front();
  }
}

void SupersededKeys::GiveBack(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (!waiting_.contains(key)) continue;
    auto& entries = urgent_waiting_.contains(key) ? urgent_ : own_;
    entries.push_back({key, now_});
  }
}

}  // namespace tocsin::registry
