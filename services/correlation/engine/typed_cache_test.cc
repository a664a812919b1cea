#include "services/correlation/engine/typed_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace tocsin::correlation {
namespace {

// A number as text.
struct Number {
  static Number Load(const StateReader& state, std::string_view key, bool& stored) {
    const std::optional<std::string> text = state.Get(key);
    stored = text.has_value();
    return {stored ? std::stoi(*text) : 0};
  }
  bool empty() const { return number == 0; }
  void Save(StateView& state, std::string_view key, bool stored) const {
    if (!empty()) {
      state.Put(key, std::to_string(number));
    } else if (stored) {
      state.Delete(key);
    }
  }
  std::size_t memory() const { return 0; }
  void Prefetch() const {}

  int number = 0;
};
using Cache = TypedCache<Number>;

Number& Change(Cache& cache, const StateReader& state, const std::string& name) {
  const std::uint64_t hash = Cache::Hash(name);
  cache.ExpectSoon(hash);
  if (const Cache::Entry* expected = cache.Expect(hash); expected != nullptr) {
    EXPECT_EQ(expected->name, name);
  }
  return cache.Change(state, name, hash);
}

// Against a map, through flushes, losses of what is old, aborts and removals behind its back.
TEST(TypedCacheTest, HoldsWhatTheStateHolds) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    MemoryState state;
    Cache cache("p");
    std::map<std::string, int> expected;
    for (int batch = 0; batch < 60; ++batch) {
      std::map<std::string, int> next = expected;
      Overlay overlay(state);
      for (std::uint64_t i = random() % 40; i > 0; --i) {
        std::string name = std::to_string(random() % 200);
        if (random() % 2 == 0) name.insert(0, "a common beginning ");
        const int number = static_cast<int>(random() % 4);
        Number& value = Change(cache, overlay, name);
        ASSERT_EQ(value.number, next.contains(name) ? next[name] : 0);
        value.number = number;
        next[name] = number;
        if (number == 0) next.erase(name);
      }
      if (random() % 10 == 0) {
        cache.Drop();
        continue;
      }
      cache.Flush(overlay);
      if (random() % 5 == 0) cache.Shrink(random() % 10'000);
      if (random() % 5 == 0 && !next.empty()) {
        const std::string name = next.begin()->first;
        overlay.Delete("p" + name);
        cache.Forget(name);
        next.erase(name);
      }
      state.Apply(overlay.changes());
      expected = next;
      std::map<std::string, int> held;
      for (const auto& [key, text] : state.entries()) held[key.substr(1)] = std::stoi(text);
      ASSERT_EQ(held, expected) << "seed " << seed << " batch " << batch;
    }
  }
}

TEST(TypedCacheTest, WhatWasNotAskedForLatelyGoesFirst) {
  MemoryState state;
  Cache cache("p");
  for (int round = 0; round < 2; ++round) {
    Overlay overlay(state);
    for (int i = round * 90; i < 100; ++i) Change(cache, overlay, std::to_string(i)).number = 1;
    cache.Flush(overlay);
    state.Apply(overlay.changes());
    // Asks who was used.
    if (round == 0) cache.Shrink(cache.bytes() - 1);
  }
  EXPECT_GT(cache.size(), 50U);
  cache.Shrink(cache.bytes() / 4);
  EXPECT_LT(cache.size(), 30U);
  for (int i = 90; i < 100; ++i) {
    EXPECT_NE(cache.Expect(Cache::Hash(std::to_string(i))), nullptr) << i;
  }
}

}  // namespace
}  // namespace tocsin::correlation
