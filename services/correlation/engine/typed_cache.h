// State as objects: what a task has read and changed of one kind of state value, kept from batch to
// batch, so that a value is parsed when it is first met and written once per transaction.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "lib/base/text.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

// `Value` has
//   static Value Load(const StateReader&, std::string_view key, bool& stored)
//                                 `stored`: the state has a value under that key
//   bool empty() const            an empty value is not kept in the state
//   void Save(StateView&, std::string_view key, bool stored)
//   std::size_t memory() const    what it holds besides itself
template <typename Value>
class TypedCache {
 public:
  struct Entry {
    Value value;
    // It may differ from the state.
    bool changed = false;
    // The state has it.
    bool stored = false;
    bool used = false;
    std::size_t bytes = 0;
  };

  // State keys are `prefix` and a name behind it.
  explicit TypedCache(std::string prefix) : prefix_(std::move(prefix)) {}

  // The value of `name`, to be changed: Flush writes it. The reference is good until Flush, Forget
  // or Drop.
  Value& Change(const StateReader& state, std::string_view name) {
    auto found = entries_.find(ToAbsl(name));
    if (found == entries_.end()) {
      found = entries_.try_emplace(std::string(name)).first;
      found->second.value = Value::Load(state, Concat(prefix_, name), found->second.stored);
    }
    Entry& entry = found->second;
    entry.used = true;
    if (!entry.changed) {
      entry.changed = true;
      changed_.push_back(&*found);
    }
    return entry.value;
  }

  // Writes what was changed.
  void Flush(StateView& state) {
    for (Node* node : changed_) {
      Entry& entry = node->second;
      bytes_ -= entry.bytes;
      entry.value.Save(state, Concat(prefix_, node->first), entry.stored);
      if (entry.value.empty()) {
        entries_.erase(entries_.find(node->first));
        continue;
      }
      entry.changed = false;
      entry.stored = true;
      entry.bytes = sizeof(Node) + node->first.size() + entry.value.memory();
      bytes_ += entry.bytes;
    }
    changed_.clear();
  }

  // Forgets values that were not asked for lately, until at most `bytes` are held. Behind a Flush.
  void Shrink(std::size_t bytes) {
    if (bytes_ <= bytes) return;
    // Twice round: the first may only have asked who was used.
    for (int round = 0; round < 2 && bytes_ > bytes / 4 * 3; ++round) {
      for (auto at = entries_.begin(); at != entries_.end() && bytes_ > bytes / 4 * 3;) {
        const auto next = std::next(at);
        if (!std::exchange(at->second.used, false)) {
          bytes_ -= at->second.bytes;
          entries_.erase(at);
        }
        at = next;
      }
    }
  }

  // The state has lost this one. Behind a Flush.
  void Forget(std::string_view name) {
    const auto found = entries_.find(ToAbsl(name));
    if (found == entries_.end()) return;
    bytes_ -= found->second.bytes;
    entries_.erase(found);
  }

  // Forgets all, changes too.
  void Drop() {
    entries_.clear();
    changed_.clear();
    bytes_ = 0;
  }

  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  using Entries = absl::node_hash_map<std::string, Entry>;
  using Node = typename Entries::value_type;

  std::string prefix_;
  Entries entries_;
  std::vector<Node*> changed_;
  std::size_t bytes_ = 0;
};

}  // namespace tocsin::correlation
