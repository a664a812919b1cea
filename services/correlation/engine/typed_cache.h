// State as objects: what a task has read and changed of one kind of state value, kept from batch to
// batch, so that a value is parsed when it is first met and written once per transaction.
//
// Names are found by their hash, which the caller computes once: it asks early for the memory that
// it will need (Expect), for many names, before it works on the first.
//
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "lib/base/text.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

// `Value` has
//   static Value Load(const StateReader&, std::string_view key, bool& stored)
//                                 `stored`: the state has a value under that key
//   bool empty() const            an empty value is not kept in the state
//   void Save(StateView&, std::string_view key, bool stored)
//   std::size_t memory() const    what it holds besides itself
//   void Prefetch() const         it will be changed soon
template <typename Value>
class TypedCache {
 public:
  // On lines of the processor's cache of its own.
  struct alignas(64) Entry {
    Value value;
    std::string name;
    std::uint64_t hash = 0;
    std::size_t bytes = 0;
    // It may differ from the state.
    bool changed = false;
    // The state has it.
    bool stored = false;
    bool used = false;
    // Not waiting to be used again.
    bool live = false;
  };

  // State keys are `prefix` and a name behind it.
  explicit TypedCache(std::string prefix) : prefix_(std::move(prefix)) {}
  TypedCache(TypedCache&&) noexcept = default;
  TypedCache& operator=(TypedCache&&) noexcept = default;

  static std::uint64_t Hash(std::string_view name) {
    return absl::Hash<absl::string_view>()(ToAbsl(name));
  }

  // Three steps, each for many names, before Change is called for the first.
  void ExpectSoon(std::uint64_t hash) const {
    if (!places_.empty()) __builtin_prefetch(&places_[Home(hash)]);
  }
  // What most likely is the entry, or nullptr.
  const Entry* Expect(std::uint64_t hash) const {
    if (places_.empty()) return nullptr;
    for (std::size_t at = Home(hash); places_[at].entry != nullptr; at = Next(at)) {
      if (places_[at].hash != hash) continue;
      const auto* const begin = reinterpret_cast<const char*>(places_[at].entry);
      for (std::size_t line = 0; line < sizeof(Entry); line += 64) {
        __builtin_prefetch(begin + line, 1);
      }
      return places_[at].entry;
    }
    return nullptr;
  }

  // The value of `name`, to be changed: Flush writes it. `hash`: its Hash. The reference is good
  // until Flush, Forget or Drop.
  Value& Change(const StateReader& state, std::string_view name, std::uint64_t hash) {
    Entry* entry = Find(name, hash);
    if (entry == nullptr) {
      entry = Add(name, hash);
      entry->value = Value::Load(state, Concat(prefix_, name), entry->stored);
    }
    entry->used = true;
    if (!entry->changed) {
      entry->changed = true;
      changed_.push_back({First8(name), entry});
    }
    return entry->value;
  }

  // Writes what was changed, in the order of the names.
  void Flush(StateView& state) {
    std::sort(changed_.begin(), changed_.end(), [](const Changed& a, const Changed& b) {
      return a.first8 != b.first8 ? a.first8 < b.first8 : a.entry->name < b.entry->name;
    });
    constexpr std::size_t kAhead = 8;
    std::string key = prefix_;
    for (std::size_t i = 0; i < changed_.size(); ++i) {
      if (i + 2 * kAhead < changed_.size()) Touch(*changed_[i + 2 * kAhead].entry);
      if (i + kAhead < changed_.size()) changed_[i + kAhead].entry->value.Prefetch();
      Entry& entry = *changed_[i].entry;
      key.resize(prefix_.size());
      key.append(entry.name);
      entry.value.Save(state, key, entry.stored);
      if (entry.value.empty()) {
        Erase(entry);
        continue;
      }
      entry.changed = false;
      entry.stored = true;
      bytes_ -= entry.bytes;
      entry.bytes = sizeof(Entry) + 2 * sizeof(Place) + entry.name.size() + entry.value.memory();
      bytes_ += entry.bytes;
    }
    changed_.clear();
  }

  // Forgets values that were not asked for lately, until at most `bytes` are held. Behind a Flush.
  void Shrink(std::size_t bytes) {
    if (bytes_ <= bytes) return;
    // Twice round: the first may only have asked who was used.
    for (int round = 0; round < 2; ++round) {
      for (Entry& entry : entries_) {
        if (bytes_ <= bytes / 4 * 3) return;
        if (entry.live && !std::exchange(entry.used, false)) Erase(entry);
      }
    }
  }

  // The state has lost this one. Behind a Flush.
  void Forget(std::string_view name) {
    Entry* const entry = Find(name, Hash(name));
    if (entry != nullptr) Erase(*entry);
  }

  // Forgets all, changes too.
  void Drop() {
    entries_.clear();
    free_.clear();
    places_.clear();
    changed_.clear();
    size_ = 0;
    bytes_ = 0;
  }

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return bytes_; }

 private:
  // Open addressing with linear probing; their number is a power of two.
  struct Place {
    std::uint64_t hash = 0;
    // nullptr: free.
    Entry* entry = nullptr;
  };
  struct Changed {
    std::uint64_t first8 = 0;
    Entry* entry = nullptr;
  };

  // The first bytes of a name, as a number that sorts like them.
  static std::uint64_t First8(std::string_view name) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      number = (number << 8) | (i < name.size() ? static_cast<unsigned char>(name[i]) : 0U);
    }
    return number;
  }
  static void Touch(const Entry& entry) {
    for (std::size_t line = 0; line < sizeof(Entry); line += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(&entry) + line, 1);
    }
  }

  std::size_t Home(std::uint64_t hash) const { return hash & (places_.size() - 1); }
  std::size_t Next(std::size_t at) const { return (at + 1) & (places_.size() - 1); }

  Entry* Find(std::string_view name, std::uint64_t hash) {
    if (places_.empty()) return nullptr;
    for (std::size_t at = Home(hash); places_[at].entry != nullptr; at = Next(at)) {
      if (places_[at].hash == hash && places_[at].entry->name == name) return places_[at].entry;
    }
    return nullptr;
  }

  Entry* Add(std::string_view name, std::uint64_t hash) {
    if (2 * (size_ + 1) > places_.size()) Grow();
    Entry* entry = nullptr;
    if (free_.empty()) {
      entry = &entries_.emplace_back();
    } else {
      entry = free_.back();
      free_.pop_back();
    }
    entry->name = name;
    entry->hash = hash;
    entry->live = true;
    Put({hash, entry});
    ++size_;
    return entry;
  }

  void Put(const Place& place) {
    std::size_t at = Home(place.hash);
    while (places_[at].entry != nullptr) at = Next(at);
    places_[at] = place;
  }

  void Grow() {
    constexpr std::size_t kSmallest = 64;
    std::vector<Place> old(places_.empty() ? kSmallest : 2 * places_.size());
    std::swap(old, places_);
    for (const Place& place : old) {
      if (place.entry != nullptr) Put(place);
    }
  }

  void Erase(Entry& entry) {
    std::size_t hole = Home(entry.hash);
    while (places_[hole].entry != &entry) hole = Next(hole);
    // Whoever stands behind the hole and could stand nearer to its home moves up.
    const std::size_t mask = places_.size() - 1;
    for (std::size_t at = Next(hole); places_[at].entry != nullptr; at = Next(at)) {
      const std::size_t from_home = (at - Home(places_[at].hash)) & mask;
      if (from_home >= ((at - hole) & mask)) {
        places_[hole] = places_[at];
        hole = at;
      }
    }
    places_[hole] = {};
    --size_;
    bytes_ -= entry.bytes;
    entry = Entry();
    free_.push_back(&entry);
  }

  std::string prefix_;
  // They do not move.
  std::deque<Entry> entries_;
  // Of entries_, to be used again.
  std::vector<Entry*> free_;
  std::vector<Place> places_;
  std::vector<Changed> changed_;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace tocsin::correlation
