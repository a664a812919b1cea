#include "services/correlation/tables/table_follower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/time.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/schema/wire_format.h"

namespace tocsin::correlation {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

class TableFollowerTest : public ::testing::Test {
 protected:
  TableFollowerTest() { kafka_.CreateTopic("devices", 2); }

  void Write(const std::string& key, std::optional<std::string> payload,
             const std::string& time = "") {
    constexpr std::int32_t kFirstMessage[] = {0};
    kafka::OutgoingRecord record;
    record.topic = "devices";
    record.key = key;
    if (payload.has_value()) {
      record.value = schema::EncodeFrame(schema::SchemaId(1), kFirstMessage, *payload);
    }
    if (!time.empty()) record.headers.Set("ce_time", time);
    kafka_.Append(record);
  }
  std::unique_ptr<TableFollower> Follow(TableIndex& index) {
    TableFollowerIo io;
    io.make_consumer = [this] { return kafka_.MakeConsumer({}); };
    io.partition_count = [this](const std::string& topic) {
      return kafka_.MakeAdmin()->PartitionCount(topic, milliseconds(100));
    };
    io.clock = &clock_;
    return std::make_unique<TableFollower>(std::vector<std::string>{"devices"}, io, index);
  }
  static absl::Status PollToTheEnd(TableFollower& follower) {
    absl::Status status;
    for (int i = 0; i < 50; ++i) {
      status = follower.Poll(milliseconds(0));
      if (status.ok()) break;
    }
    return status;
  }
  std::string At(const TableIndex& index, std::string_view key) const {
    const auto row = index.Find("devices", key, clock_.Now() + hours(1));
    return row.has_value() ? *row->value : "-";
  }

  FakeClock clock_;
  kafka::testing::FakeKafka kafka_{clock_};
  TableIndex index_{{{"devices", hours(24)}}, 10'000};
};

TEST_F(TableFollowerTest, ReadsTheWholeTableThenWhatComes) {
  for (int i = 0; i < 20; ++i) Write("key" + std::to_string(i), "row" + std::to_string(i));
  Write("key3", std::nullopt);
  const auto follower = Follow(index_);
  EXPECT_FALSE(follower->caught_up());
  EXPECT_THAT(PollToTheEnd(*follower), IsOk());
  EXPECT_TRUE(follower->caught_up());
  EXPECT_EQ(At(index_, "key19"), "row19");
  EXPECT_EQ(At(index_, "key3"), "-");
  Write("key3", "again");
  for (int i = 0; i < 50 && At(index_, "key3") == "-"; ++i) {
    EXPECT_THAT(follower->Poll(milliseconds(0)), IsOk());
  }
  EXPECT_EQ(At(index_, "key3"), "again");
}

TEST_F(TableFollowerTest, TheEventsOwnTimeCounts) {
  Write("k", "old", "2020-01-01T00:00:00Z");
  Write("k", "new", "2021-01-01T00:00:00Z");
  const auto follower = Follow(index_);
  EXPECT_THAT(PollToTheEnd(*follower), IsOk());
  const auto row = index_.Find("devices", "k", *ParseTime("2020-06-01T00:00:00Z"));
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(*row->value, "old");
}

TEST_F(TableFollowerTest, PassesOverWhatIsNoRow) {
  kafka::OutgoingRecord bad;
  bad.topic = "devices";
  bad.key = "k";
  bad.value = "not framed";
  kafka_.Append(bad);
  bad.key.reset();
  kafka_.Append(bad);
  Write("k", "x", "no time");
  Write("k", "good");
  const auto follower = Follow(index_);
  EXPECT_THAT(PollToTheEnd(*follower), IsOk());
  EXPECT_EQ(At(index_, "k"), "good");
}

TEST_F(TableFollowerTest, WaitsWhereThereIsNoRoomAndSaysSo) {
  TableIndex small({{"devices", hours(24)}}, 700);
  Write("a", std::string(300, 'x'));
  Write("a", std::string(300, 'y'));
  const auto follower = Follow(small);
  EXPECT_THAT(PollToTheEnd(*follower), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(follower->caught_up());
  EXPECT_EQ(At(small, "a"), std::string(300, 'x'));
}

TEST_F(TableFollowerTest, ATopicThatIsNotThereIsNamed) {
  TableFollowerIo io;
  io.make_consumer = [this] { return kafka_.MakeConsumer({}); };
  io.partition_count = [this](const std::string& topic) {
    return kafka_.MakeAdmin()->PartitionCount(topic, milliseconds(100));
  };
  io.clock = &clock_;
  TableFollower follower({"absent"}, io, index_);
  EXPECT_THAT(follower.Poll(milliseconds(0)).message(), ::testing::HasSubstr("absent"));
  EXPECT_FALSE(follower.caught_up());
}

}  // namespace
}  // namespace tocsin::correlation
