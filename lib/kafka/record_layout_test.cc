#include "lib/kafka/record_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/kafka/rd_sender.h"

namespace tocsin::kafka::internal {
namespace {
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using Entry = HeaderViews::Entry;
using Text = std::optional<std::string>;

void AppendVarint(std::string& out, std::int64_t number) {
  auto rest = (static_cast<std::uint64_t>(number) << 1) ^ static_cast<std::uint64_t>(number >> 63);
  for (; rest >= 0x80; rest >>= 7) out.push_back(static_cast<char>(rest | 0x80));
  out.push_back(static_cast<char>(rest));
}

void AppendText(std::string& out, const Text& text) {
  AppendVarint(out, text.has_value() ? static_cast<std::int64_t>(text->size()) : -1);
  if (text.has_value()) out += *text;
}

// One record alone in memory of exactly its size, so that a sanitizer sees any byte read outside.
struct Encoded {
  Text key = "key";
  Text value = "value";
  std::vector<std::pair<Text, Text>> headers = {};
  std::int64_t time_delta = 300;
  std::int64_t offset_delta = 70;
  std::int64_t count = -2;  // -2: as many as there are; -3: the record ends before it
  std::int64_t longer = 0;  // what the length lies
  char attributes = 0;

  std::unique_ptr<char[]> bytes = nullptr;
  std::optional<std::string_view> key_view = std::nullopt;
  std::optional<std::string_view> value_view = std::nullopt;

  Encoded& Encode() {
    std::string body(1, attributes);
    AppendVarint(body, time_delta);
    AppendVarint(body, offset_delta);
    AppendText(body, key);
    const std::size_t key_end = body.size();
    AppendText(body, value);
    const std::size_t value_end = body.size();
    if (count != -3) {
      AppendVarint(body, count == -2 ? static_cast<std::int64_t>(headers.size()) : count);
    }
    for (const auto& [name, text] : headers) {
      AppendText(body, name);
      AppendText(body, text);
    }
    std::string record;
    AppendVarint(record, static_cast<std::int64_t>(body.size()) + longer);
    const std::size_t prefix = record.size();
    record += body;
    bytes = std::make_unique<char[]>(record.size());
    std::copy(record.begin(), record.end(), bytes.get());
    const auto view = [&](const Text& text, std::size_t end) -> std::optional<std::string_view> {
      if (!text.has_value()) return std::nullopt;
      if (text->empty()) return "";  // as librdkafka: not inside of the record
      return std::string_view(bytes.get() + prefix + end - text->size(), text->size());
    };
    key_view = view(key, key_end);
    value_view = view(value, value_end);
    return *this;
  }

  std::optional<std::vector<Entry>> Read(HeaderMemory& memory) {
    Encode();
    const auto found = HeadersInPlace(key_view, value_view, memory);
    if (!found.has_value()) return std::nullopt;
    return std::vector<Entry>(found->entries().begin(), found->entries().end());
  }
};

TEST(RecordLayoutTest, HeadersAreReadBehindTheValue) {
  HeaderMemory memory;
  for (const Text& key : {Text("key"), Text(""), Text()}) {
    for (const Text& value : {Text("value"), Text(std::string(10'000, 'v')), Text(""), Text()}) {
      for (const std::int64_t delta : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{1} << 40}) {
        Encoded record{.key = key,
                       .value = value,
                       .headers = {{"ce_id", "1"}, {"ce_id", "2"}, {"none", Text()}, {"", ""}},
                       .time_delta = delta,
                       .offset_delta = 100'000};
        const auto read = record.Read(memory);
        if (key.value_or("").empty() && value.value_or("").empty()) {
          EXPECT_EQ(read, std::nullopt);
          continue;
        }
        ASSERT_TRUE(read.has_value());
        EXPECT_THAT(*read, ElementsAre(Entry("ce_id", "1"), Entry("ce_id", "2"), Entry("none", ""),
                                       Entry("", "")));
      }
    }
  }
}

TEST(RecordLayoutTest, ARecordWithoutHeadersHasNone) {
  HeaderMemory memory;
  EXPECT_THAT(Encoded{}.Read(memory), ::testing::Optional(IsEmpty()));
}

TEST(RecordLayoutTest, WhatIsNoSuchRecordIsNotRead) {
  HeaderMemory memory;
  const std::vector<std::pair<Text, Text>> one{{"a", "b"}};
  EXPECT_EQ((Encoded{.headers = one, .attributes = 1}.Read(memory)), std::nullopt);
  EXPECT_EQ((Encoded{.headers = one, .longer = -1}.Read(memory)), std::nullopt);
  EXPECT_EQ((Encoded{.headers = one, .count = 0}.Read(memory)), std::nullopt);
  for (const std::size_t size : {1, 100, 753}) {
    EXPECT_EQ((Encoded{.value = std::string(size, 'v'), .count = -3}.Read(memory)), std::nullopt);
  }
  EXPECT_EQ((Encoded{.headers = one, .count = 2}.Read(memory)), std::nullopt);
  EXPECT_EQ((Encoded{.headers = one, .count = -1}.Read(memory)), std::nullopt);
  EXPECT_EQ((Encoded{.headers = one, .count = 1'000'000'000}.Read(memory)), std::nullopt);
  EXPECT_EQ((Encoded{.headers = {{Text(), "b"}}}.Read(memory)), std::nullopt);
}

TEST(RecordLayoutTest, NoByteThatDiffersGoesUnseenOrLeadsOutside) {
  HeaderMemory memory;
  Encoded record{.headers = {{"name", "text"}, {"n", std::string(90, 't')}}};
  record.Encode();
  const std::string_view key = *record.key_view;
  const std::string_view value = *record.value_view;
  // From the length to the key's first byte, and all of the header block's own numbers.
  for (char* at = record.bytes.get(); at != key.data(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      *at = static_cast<char>(*at ^ (1 << bit));
      const auto found = HeadersInPlace(key, value, memory);
      // Only what times and offsets are does not matter, as long as they are numbers.
      EXPECT_EQ(found.has_value() ? found->size() : 2U, 2U);
      *at = static_cast<char>(*at ^ (1 << bit));
    }
  }
  EXPECT_TRUE(HeadersInPlace(key, value, memory).has_value());
}

TEST(HeaderMemoryTest, WhatWasTakenStaysWhereItIs) {
  HeaderMemory memory;
  std::vector<std::span<Entry>> taken;
  for (std::size_t i = 0; i < 300; ++i) {
    taken.push_back(memory.Take(i % 100 == 99 ? 5'000 : i % 50));
    for (Entry& entry : taken.back())
      entry.first = std::string_view("0123456789").substr(i % 10, 1);
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    for (const Entry& entry : taken[i]) {
      ASSERT_EQ(entry.first, std::string_view("0123456789").substr(i % 10, 1));
    }
  }
  const Entry* const first = taken[1].data();
  memory.Clear();
  EXPECT_EQ(memory.Take(3).data(), first);
}

TEST(DeliveredOffsetsTest, TheHighestOfEachPartitionIsTakenOnce) {
  DeliveredOffsets delivered;
  delivered.Note(0, 5);
  delivered.Note(0, 3);
  delivered.Note(70'000, 1);
  delivered.Note(-1, 9);
  Offsets offsets;
  delivered.Take("t", offsets);
  EXPECT_THAT(offsets,
              ElementsAre(Pair(TopicPartition{"t", 0}, 5), Pair(TopicPartition{"t", 70'000}, 1)));
  offsets.clear();
  delivered.Take("t", offsets);
  EXPECT_THAT(offsets, IsEmpty());
}

}  // namespace
}  // namespace tocsin::kafka::internal
