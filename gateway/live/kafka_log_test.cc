// The readers of the log over a Kafka in memory that keeps the real one's words.
#include "gateway/live/kafka_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gateway/live/cursor.h"
#include "lib/base/mutex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/events/own_topic.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace tocsin::gateway {
namespace {

using kafka::testing::FakeKafka;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class KafkaLogTest : public ::testing::Test {
 protected:
  KafkaLogTest()
      : store_({{"detections", live::v1::KIND_DETECTION}, {"alerts.raw", live::v1::KIND_EVENT}},
               1 << 20) {}

  ~KafkaLogTest() override {
    if (tail_ != nullptr) tail_->Stop();
    if (replayer_ != nullptr) replayer_->Stop();
  }

  ConsumerFactory Factory() {
    return [this]() -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer({});
    };
  }

  void StartTail() {
    admin_ = kafka_.MakeAdmin();
    tail_ =
        std::make_unique<LogTail>(store_, *admin_, Factory(),
                                  LogTail::Callbacks{[this](const std::vector<bool>&) { Tell(); },
                                                     [this](const absl::Status& status) {
                                                       MutexLock lock(mutex_);
                                                       health_ = status;
                                                       changed_.NotifyAll();
                                                     }},
                                  Clock::Real());
    tail_->Start();
    Await([this] { return store_.known(); });
  }

  void Tell() {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  }

  // Looks again whenever the tail has news, and twenty times a second.
  template <typename Condition>
  bool Await(Condition condition) {
    for (int i = 0; i < 200; ++i) {
      if (condition()) return true;
      MutexLock lock(mutex_);
      changed_.WaitFor(mutex_, std::chrono::milliseconds(50));
    }
    return condition();
  }

  static kafka::OutgoingRecord Detection(const std::string& id, std::int32_t partition) {
    correlation::v1::Detection detection;
    detection.set_id(id);
    detection.set_rule_id("rule");
    const events::OwnTopic own("detections", detection.GetDescriptor(), "/tocsin/test",
                               {schema::SchemaId(1), {0}});
    events::OwnEnvelope envelope;
    envelope.id = id;
    envelope.key = id;
    envelope.time = WallTime(std::chrono::seconds(1));
    kafka::OutgoingRecord record = own.Encode(detection, envelope);
    record.partition = partition;
    return record;
  }

  static std::vector<std::int64_t> Offsets(const std::vector<EntryPtr>& entries) {
    std::vector<std::int64_t> offsets;
    for (const EntryPtr& entry : entries) offsets.push_back(entry->offset);
    return offsets;
  }

  ChunkPtr Replay(std::size_t partition, std::int64_t from) {
    if (replayer_ == nullptr) {
      replayer_ = std::make_unique<KafkaReplayer>(store_, Factory());
      replayer_->Start();
    }
    std::optional<absl::StatusOr<ChunkPtr>> answer;
    replayer_->Read(partition, from, [&](absl::StatusOr<ChunkPtr> chunk) {
      MutexLock lock(mutex_);
      answer = std::move(chunk);
      changed_.NotifyAll();
    });
    Await([&] {
      MutexLock lock(mutex_);
      return answer.has_value();
    });
    EXPECT_THAT(*answer, IsOk());
    return **answer;
  }

  FakeKafka kafka_;
  LogStore store_;
  std::unique_ptr<kafka::Admin> admin_;
  std::unique_ptr<LogTail> tail_;
  std::unique_ptr<KafkaReplayer> replayer_;
  Mutex mutex_;
  CondVar changed_;
  absl::Status health_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(KafkaLogTest, ReadsFromTheEndOn) {
  kafka_.CreateTopic("detections", 2);
  kafka_.CreateTopic("alerts.raw", 1);
  kafka_.Append(Detection("old", 0));
  StartTail();
  ASSERT_EQ(store_.partition_count(), 3u);
  kafka_.Append(Detection("a", 0));
  kafka_.Append(Detection("b", 1));
  ASSERT_TRUE(Await([&] { return store_.End(0) == 2 && store_.End(1) == 1; }));
  EXPECT_EQ(store_.Read(0, 0, 9).place, LogStore::Window::kBelow);
  EXPECT_THAT(Offsets(store_.Read(0, 1, 9).entries), ElementsAre(1));
  EXPECT_EQ(store_.Read(0, 1, 9).entries[0]->rule_id, "rule");
}

TEST_F(KafkaLogTest, ShowsNothingOfWhatIsNotCommitted) {
  kafka_.CreateTopic("detections", 1);
  kafka_.CreateTopic("alerts.raw", 1);
  StartTail();
  auto producer = kafka_.MakeTransactionalProducer("t");
  ASSERT_TRUE(producer->Init().ok());
  ASSERT_TRUE(producer->Begin().ok());
  ASSERT_TRUE(producer->Produce(Detection("aborted", 0)).ok());
  ASSERT_TRUE(producer->Abort().ok());
  kafka_.Append(Detection("plain", 0));
  ASSERT_TRUE(Await([&] { return !store_.Read(0, 0, 9).entries.empty(); }));
  const auto window = store_.Read(0, 0, 9);
  ASSERT_EQ(window.entries.size(), 1u);
  EXPECT_EQ(window.position, window.entries[0]->offset + 1);
}

TEST_F(KafkaLogTest, TopicsThatAppearAreReadFromTheirBeginning) {
  kafka_.CreateTopic("alerts.raw", 1);
  StartTail();
  EXPECT_EQ(store_.partition_count(), 1u);
  kafka_.CreateTopic("detections", 1);
  kafka_.Append(Detection("first", 0));
  ASSERT_TRUE(Await([&] { return store_.partition_count() == 2 && store_.End(1) == 1; }));
  EXPECT_EQ(store_.partition(1).topic, 0u);
  EXPECT_THAT(Offsets(store_.Read(1, 0, 9).entries), ElementsAre(0));
}

TEST_F(KafkaLogTest, GoesOnAfterAnOutage) {
  kafka_.SetReachable(false);
  kafka_.CreateTopic("detections", 1);
  kafka_.CreateTopic("alerts.raw", 1);
  admin_ = kafka_.MakeAdmin();
  const auto healthy = [this] {
    MutexLock lock(mutex_);
    return health_.ok();
  };
  std::thread later([&] {
    Await([&] { return !healthy(); });
    kafka_.SetReachable(true);
  });
  StartTail();
  later.join();
  ASSERT_TRUE(Await(healthy));
  kafka_.SetReachable(false);
  ASSERT_TRUE(Await([&] { return !healthy(); }));
  kafka_.SetReachable(true);
  kafka_.Append(Detection("after", 0));
  EXPECT_TRUE(Await([&] { return store_.End(0) == 1; }));
  EXPECT_TRUE(Await(healthy));
}

TEST_F(KafkaLogTest, WhenKafkaIsAwayJustAsThePositionIsGoneTheRestIsReadAllTheSame) {
  kafka_.CreateTopic("detections", 1);
  kafka_.CreateTopic("alerts.raw", 1);
  StartTail();
  kafka_.Append(Detection("first", 0));
  ASSERT_TRUE(Await([&] { return store_.End(0) == 1; }));
  kafka_.SetReachable(false);
  for (int i = 0; i < 10; ++i) kafka_.Append(Detection(std::to_string(i), 0));
  kafka_.DeleteBefore({"detections", 0}, 6);
  kafka_.FailNext(FakeKafka::Step::kQueryOffset, {.status = absl::UnavailableError("cut")}, 3);
  kafka_.SetReachable(true);
  EXPECT_TRUE(Await([&] { return store_.End(0) == 11; }));
  EXPECT_THAT(Offsets(store_.Read(0, 6, 9).entries), ElementsAre(6, 7, 8, 9, 10));
  EXPECT_TRUE(Await([this] {
    MutexLock lock(mutex_);
    return health_.ok();
  }));
}

TEST_F(KafkaLogTest, ReplaysChunksThatReachTheEnd) {
  kafka_.CreateTopic("detections", 1);
  kafka_.CreateTopic("alerts.raw", 1);
  for (int i = 0; i < 5000; ++i) kafka_.Append(Detection(std::to_string(i), 0));
  StartTail();
  std::int64_t position = kEarliest;
  std::int64_t expected = 0;
  for (int i = 0; i < 20 && expected < 5000; ++i) {
    const ChunkPtr chunk = Replay(0, position);
    ASSERT_EQ(chunk->found, Chunk::kWhole);
    for (const EntryPtr& entry : chunk->entries) ASSERT_EQ(entry->offset, expected++);
    position = chunk->to;
  }
  EXPECT_EQ(expected, 5000);
  EXPECT_EQ(position, 5000);
  EXPECT_THAT(Replay(0, 5000)->entries, IsEmpty());
  // The same region again is the same memory.
  EXPECT_EQ(Replay(0, 1500), Replay(0, 1501));
}

TEST_F(KafkaLogTest, SaysWhatIsGone) {
  kafka_.CreateTopic("detections", 1);
  kafka_.CreateTopic("alerts.raw", 1);
  for (int i = 0; i < 10; ++i) kafka_.Append(Detection(std::to_string(i), 0));
  kafka_.DeleteBefore({"detections", 0}, 6);
  StartTail();
  const ChunkPtr gone = Replay(0, 2);
  EXPECT_EQ(gone->found, Chunk::kGone);
  EXPECT_EQ(gone->to, 6);
  EXPECT_THAT(Offsets(Replay(0, kEarliest)->entries), ElementsAre(6, 7, 8, 9));
  const ChunkPtr beyond = Replay(0, 1000);
  EXPECT_EQ(beyond->found, Chunk::kBeyondEnd);
  EXPECT_EQ(beyond->to, 6);
}

}  // namespace
}  // namespace tocsin::gateway
