#include "services/correlation/engine/state_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs All(const StateReader& state, std::string_view begin, std::string_view end,
          std::size_t limit = 1'000) {
  Pairs pairs;
  state.Range(begin, end, [&](std::string_view key, std::string_view value) {
    pairs.emplace_back(key, value);
    return pairs.size() < limit;
  });
  return pairs;
}

TEST(OverlayTest, ShowsChangesOverTheBase) {
  MemoryState base;
  base.Apply({{"a", "1"}, {"c", "3"}, {"e", "5"}});
  Overlay overlay(base);
  EXPECT_TRUE(overlay.empty());
  overlay.Put("b", "2");
  overlay.Put("c", "33");
  overlay.Delete("e");
  overlay.Put("f", "6");
  EXPECT_EQ(overlay.Get("a"), "1");
  EXPECT_EQ(overlay.Get("c"), "33");
  EXPECT_EQ(overlay.Get("e"), std::nullopt);
  EXPECT_EQ(All(overlay, "", ""), (Pairs{{"a", "1"}, {"b", "2"}, {"c", "33"}, {"f", "6"}}));
  EXPECT_EQ(All(overlay, "b", "f"), (Pairs{{"b", "2"}, {"c", "33"}}));
  EXPECT_EQ(All(overlay, "", "", 2), (Pairs{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(base.Get("c"), "3") << "the base is untouched";
}

// Against a plain map with the changes applied.
TEST(OverlayTest, RangesAgreeWithApplying) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 500; ++round) {
    MemoryState base;
    const auto key = [&] {
      return std::string(1 + random() % 2, static_cast<char>('a' + random() % 6));
    };
    StateChanges initial;
    for (std::size_t n = random() % 8; n > 0; --n) initial[key()] = "base";
    base.Apply(initial);
    Overlay overlay(base);
    for (std::size_t n = random() % 8; n > 0; --n) {
      if (random() % 3 == 0) {
        overlay.Delete(key());
      } else {
        overlay.Put(key(), "new");
      }
    }
    MemoryState applied = base;
    applied.Apply(overlay.changes());
    const std::string begin = key();
    const std::string end = random() % 2 == 0 ? "" : key();
    const std::size_t limit = 1 + random() % 4;
    EXPECT_EQ(All(overlay, begin, end, limit), All(applied, begin, end, limit));
  }
}

TEST(KeysTest, PrefixEnd) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd("a\xff"), "b");
  EXPECT_EQ(PrefixEnd("\xff"), "");
}

TEST(KeysTest, NumbersSortAsBytes) {
  const std::vector<std::int64_t> ascending = {INT64_MIN, -5, -1, 0, 1, 255, 256, INT64_MAX};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    EXPECT_EQ(DecodeInt64(EncodeInt64(ascending[i])), ascending[i]);
    if (i > 0) {
      EXPECT_LT(EncodeInt64(ascending[i - 1]), EncodeInt64(ascending[i]));
    }
  }
  EXPECT_EQ(DecodeInt64("short"), std::nullopt);
}

// The order of release: event time, ce_sequence byte by byte with absent first, partition, offset.
TEST(KeysTest, HeldEventsSortInTheOrderOfRelease) {
  using std::string_literals::operator""s;
  struct Event {
    std::int64_t time;
    std::string sequence;
    std::int32_t partition;
    std::int64_t offset;
  };
  const std::vector<Event> ascending = {
      {-1, "9", 0, 0},       {0, "", 0, 7},     {0, "", 1, 3},  {0, "\0"s, 0, 0},
      {0, "\0\0"s, 0, 0},    {0, "\x01", 0, 0}, {0, "1", 5, 0}, {0, "1", 5, 1},
      {0, "1\0"s, 0, 0},     {0, "10", 0, 0},   {0, "2", 0, 0}, {0, "\xff", 0, 0},
      {0, "\xff\xff", 0, 0}, {1, "", 0, 0}};
  const std::string prefix = RulePrefix("rule", 3, "0123456789abcdef0123");
  for (std::size_t i = 1; i < ascending.size(); ++i) {
    const auto key = [&](const Event& event) {
      return HeldKey(prefix, FromMicros(event.time), event.sequence, event.partition, event.offset);
    };
    EXPECT_LT(key(ascending[i - 1]), key(ascending[i])) << i;
  }
  EXPECT_LT(HeldKeyFloor(prefix, FromMicros(0)), HeldKey(prefix, FromMicros(0), "", 0, 0));
  EXPECT_GT(HeldKeyFloor(prefix, FromMicros(1)), HeldKey(prefix, FromMicros(0), "\xff", 9, 9));
}

TEST(KeysTest, RulePrefixesTellIdAndVersion) {
  const std::string prefix = RulePrefix("area-surge", 258, "0123456789abcdef0123");
  EXPECT_EQ(RuleIdOfPrefix(prefix), "area-surge");
  EXPECT_EQ(VersionOfPrefix(prefix), 258);
  EXPECT_NE(prefix, RulePrefix("area-surge", 258, "1123456789abcdef0123"));
}

}  // namespace
}  // namespace tocsin::correlation
