// What lib/kafka promises, held against the fake (kafka_test) and a real broker
// (kafka_broker_test).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <set>
#include <thread>

#include "lib/base/hash.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/cluster.h"

namespace tocsin::kafka::testing {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr seconds kPatience{30};

struct Listener final : RebalanceListener {
  std::vector<AssignedPartition> assigned;
  int times_assigned = 0;
  int times_revoked = 0;
  int times_lost = 0;
  std::function<void()> on_revoked;
  void OnAssigned(const std::vector<AssignedPartition>& partitions) override {
    assigned = partitions;
    ++times_assigned;
  }
  void OnRevoked(const std::vector<TopicPartition>& partitions) override {
    EXPECT_EQ(partitions.size(), assigned.size());
    if (on_revoked) on_revoked();
    assigned.clear();
    ++times_revoked;
  }
  void OnLost(const std::vector<TopicPartition>& partitions) override {
    EXPECT_EQ(partitions.size(), assigned.size());
    assigned.clear();
    ++times_lost;
  }
};

class ContractTest : public ::testing::Test {
 protected:
  std::string Topic(std::int32_t partitions = 1) {
    const std::string name = cluster_->UniqueName("topic");
    EXPECT_THAT(cluster_->MakeAdmin()->CreateTopics({{name, partitions, 1, {}}}, kPatience),
                IsOk());
    return name;
  }

  Delivered Send(const OutgoingRecord& record) {
    std::promise<absl::StatusOr<Delivered>> promise;
    auto outcome = promise.get_future();
    EXPECT_THAT(producer().Produce(record, [&](const auto& result) { promise.set_value(result); }),
                IsOk());
    absl::StatusOr<Delivered> delivered = outcome.get();
    EXPECT_THAT(delivered, IsOk());
    return delivered.value_or(Delivered{});
  }

  Producer& producer() {
    if (producer_ == nullptr) producer_ = cluster_->MakeProducer();
    return *producer_;
  }

  std::unique_ptr<Consumer> Reader(const TopicPartition& where, std::int64_t from = 0,
                                   Isolation isolation = Isolation::kReadCommitted) {
    auto consumer = cluster_->MakeConsumer({.isolation = isolation});
    EXPECT_THAT(consumer->Assign({{where, from}}), IsOk());
    return consumer;
  }

  // Polls until `done` says so; fails after a long while.
  static Batch PollUntil(Consumer& consumer, const std::function<bool(const Batch&)>& done) {
    Batch all;
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    while (!done(all)) {
      if (Clock::Real().SteadyNow() > deadline) {
        ADD_FAILURE() << "nothing more comes; " << all.records.size() << " records, "
                      << all.errors.size() << " errors: "
                      << (all.errors.empty() ? "" : tocsin::Describe(all.errors.back().status));
        break;
      }
      Batch batch = consumer.Poll(milliseconds(100));
      std::move(batch.records.begin(), batch.records.end(), std::back_inserter(all.records));
      std::move(batch.errors.begin(), batch.errors.end(), std::back_inserter(all.errors));
      for (const auto& [where, end] : batch.ends) all.ends[where] = end;
    }
    return all;
  }
  static Batch PollRecords(Consumer& consumer, std::size_t count) {
    return PollUntil(consumer, [&](const Batch& all) { return all.records.size() >= count; });
  }
  static Batch PollToEnd(Consumer& consumer, std::size_t partitions = 1) {
    return PollUntil(consumer, [&](const Batch& all) { return all.ends.size() >= partitions; });
  }
  static void PollUntilAssigned(Consumer& consumer, const Listener& listener, int times = 1) {
    PollUntil(consumer, [&](const Batch&) { return listener.times_assigned >= times; });
  }

  static std::vector<std::string> Values(const Batch& batch) {
    std::vector<std::string> values;
    for (const Record& record : batch.records) values.push_back(record.value.value_or("(null)"));
    return values;
  }

  static std::vector<ViewBatch> PollViewRecords(Consumer& consumer, std::size_t count) {
    std::vector<ViewBatch> batches;
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    while (All(batches).size() < count) {
      if (Clock::Real().SteadyNow() > deadline) {
        ADD_FAILURE() << "nothing more comes; " << All(batches).size() << " records";
        break;
      }
      ViewBatch batch = consumer.PollViews(milliseconds(100));
      EXPECT_THAT(batch.errors(), IsEmpty());
      if (!batch.records().empty()) batches.push_back(std::move(batch));
    }
    return batches;
  }
  static std::vector<RecordView> All(const std::vector<ViewBatch>& batches) {
    std::vector<RecordView> all;
    for (const ViewBatch& batch : batches) {
      all.insert(all.end(), batch.records().begin(), batch.records().end());
    }
    return all;
  }
  static std::vector<std::string> ViewValues(const std::vector<ViewBatch>& batches) {
    std::vector<std::string> values;
    for (const RecordView& record : All(batches)) {
      values.emplace_back(record.value.value_or("(null)"));
    }
    return values;
  }

  static void ExpectOk(const TransactionResult& result) {
    EXPECT_THAT(result.status, IsOk());
    EXPECT_EQ(result.error_class, ErrorClass::kNone);
  }

  const std::unique_ptr<Cluster> cluster_ = MakeCluster();
  std::unique_ptr<Producer> producer_;
};

TEST_F(ContractTest, ARecordComesBackAsItWasSent) {
  const std::string topic = Topic();
  OutgoingRecord sent{.topic = topic,
                      .key = "key",
                      .value = std::string("a\0b", 3),
                      .headers = {{"ce_id", "1"}, {"twice", "x"}, {"twice", "y"}, {"empty", ""}}};
  EXPECT_EQ(Send(sent).offset, 0);
  const Batch batch = PollRecords(*Reader({topic, 0}), 1);
  ASSERT_EQ(batch.records.size(), 1U);
  const Record& record = batch.records[0];
  EXPECT_EQ(record.topic, topic);
  EXPECT_EQ(record.offset, 0);
  EXPECT_EQ(record.key, "key");
  EXPECT_EQ(record.value, std::string("a\0b", 3));
  EXPECT_EQ(record.headers, sent.headers);
  EXPECT_EQ(record.headers.Find("twice"), "y");
  EXPECT_GT(record.timestamp, WallTime(std::chrono::hours(24 * 365 * 50)));
}

TEST_F(ContractTest, NullAndEmptyAreToldApart) {
  const std::string topic = Topic();
  Send({.topic = topic, .key = std::nullopt, .value = std::nullopt});
  Send({.topic = topic, .key = "", .value = ""});
  const Batch batch = PollRecords(*Reader({topic, 0}), 2);
  EXPECT_EQ(batch.records[0].key, std::nullopt);
  EXPECT_EQ(batch.records[0].value, std::nullopt);
  EXPECT_EQ(batch.records[1].key, "");
  EXPECT_EQ(batch.records[1].value, "");
}

TEST_F(ContractTest, TheKeyChoosesThePartitionAsInJava) {
  const std::string topic = Topic(6);
  for (const std::string key : {"RYERSS AVE", "LOWER MERION", "x", ""}) {
    EXPECT_EQ(Send({.topic = topic, .key = key, .value = "v"}).where.partition,
              PartitionForKey(key, 6))
        << key;
  }
  EXPECT_EQ(Send({.topic = topic, .partition = 4, .key = "x", .value = "v"}).where.partition, 4);
}

TEST_F(ContractTest, ManyRecordsKeepTheirOrderPerPartition) {
  const std::string topic = Topic(2);
  constexpr int kCount = 2'000;
  for (int i = 0; i < kCount; ++i) {
    ASSERT_THAT(producer().Produce({.topic = topic, .partition = i % 2, .value = std::to_string(i)},
                                   [](const auto& outcome) { EXPECT_THAT(outcome, IsOk()); }),
                IsOk());
  }
  ASSERT_THAT(producer().Flush(kPatience), IsOk());
  EXPECT_EQ(producer().outstanding(), 0U);
  const Batch batch = PollRecords(*Reader({topic, 1}), kCount / 2);
  for (int i = 0; i < kCount / 2; ++i) {
    ASSERT_EQ(batch.records[static_cast<std::size_t>(i)].value, std::to_string(2 * i + 1));
  }
}

TEST_F(ContractTest, OffsetsAreFoundByTime) {
  const std::string topic = Topic();
  auto consumer = cluster_->MakeConsumer({});
  const WallTime before = Clock::Real().Now() - seconds(5);
  EXPECT_THAT(consumer->QueryTimeOffset({topic, 0}, before, kPatience), IsOkAndHolds(std::nullopt));
  // Until one is sent in a later millisecond than the first.
  ASSERT_THAT(consumer->Assign({{{topic, 0}, 0}}), IsOk());
  std::vector<Record> records;
  do {
    Send({.topic = topic, .partition = 0, .value = "v"});
    const Batch batch = PollRecords(*consumer, 1);
    ASSERT_EQ(batch.records.size(), 1U);
    records.push_back(batch.records.front());
  } while (records.back().timestamp - records.front().timestamp < milliseconds(2));
  EXPECT_THAT(consumer->QueryTimeOffset({topic, 0}, before, kPatience),
              IsOkAndHolds(std::optional<std::int64_t>(0)));
  EXPECT_THAT(consumer->QueryTimeOffset({topic, 0}, records.back().timestamp, kPatience),
              IsOkAndHolds(std::optional<std::int64_t>(records.back().offset)));
  EXPECT_THAT(
      consumer->QueryTimeOffset({topic, 0}, records.back().timestamp + seconds(60), kPatience),
      IsOkAndHolds(std::nullopt));
}

TEST_F(ContractTest, AnUnknownTopicIsNotFound) {
  std::promise<absl::Status> promise;
  auto outcome = promise.get_future();
  const absl::Status taken =
      producer().Produce({.topic = cluster_->UniqueName("never"), .value = "v"},
                         [&](const auto& result) { promise.set_value(result.status()); });
  EXPECT_THAT(taken.ok() ? outcome.get() : taken, StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ContractTest, ARecordOverTheLimitIsRefusedAtOnce) {
  EXPECT_THAT(producer().Produce({.topic = "any", .value = std::string(3U << 20, 'x')}, nullptr),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ContractTest, TheEndOfAPartitionIsReported) {
  const std::string topic = Topic(2);
  Send({.topic = topic, .partition = 0, .value = "v"});
  auto consumer = cluster_->MakeConsumer({});
  ASSERT_THAT(consumer->Assign({{{topic, 0}, 0}, {{topic, 1}, 0}}), IsOk());
  const Batch batch = PollToEnd(*consumer, 2);
  EXPECT_THAT(Values(batch), ElementsAre("v"));
  EXPECT_THAT(batch.ends,
              ElementsAre(Pair(TopicPartition{topic, 0}, 1), Pair(TopicPartition{topic, 1}, 0)));
  EXPECT_EQ(consumer->Position({topic, 0}), 1);
  EXPECT_EQ(consumer->Position({topic, 1}), 0);
  EXPECT_EQ(consumer->Position({topic, 2}), std::nullopt);
  Send({.topic = topic, .partition = 0, .value = "w"});
  EXPECT_THAT(PollToEnd(*consumer).ends, ElementsAre(Pair(TopicPartition{topic, 0}, 2)));
}

TEST_F(ContractTest, SeekPauseAndResume) {
  const std::string topic = Topic();
  const TopicPartition where{topic, 0};
  for (int i = 0; i < 5; ++i) Send({.topic = topic, .value = std::to_string(i)});
  auto consumer = Reader(where);
  // Right after the assignment, before anything was fetched.
  ASSERT_THAT(consumer->Seek(where, 3), IsOk());
  EXPECT_THAT(Values(PollToEnd(*consumer)), ElementsAre("3", "4"));
  ASSERT_THAT(consumer->Seek(where, 1), IsOk());
  EXPECT_EQ(consumer->Position(where), 1);
  EXPECT_THAT(Values(PollToEnd(*consumer)), ElementsAre("1", "2", "3", "4"));
  ASSERT_THAT(consumer->Pause({where}), IsOk());
  Send({.topic = topic, .value = "5"});
  EXPECT_TRUE(consumer->Poll(milliseconds(300)).records.empty());
  ASSERT_THAT(consumer->Resume({where}), IsOk());
  EXPECT_THAT(Values(PollToEnd(*consumer)), ElementsAre("5"));
  EXPECT_THAT(consumer->Seek({topic, 7}, 0), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ContractTest, PausedBeforeTheFirstFetchNothingComesUntilResumed) {
  const std::string topic = Topic();
  const TopicPartition where{topic, 0};
  for (int i = 0; i < 3; ++i) Send({.topic = topic, .value = std::to_string(i)});
  auto consumer = Reader(where);
  ASSERT_THAT(consumer->Pause({where}), IsOk());
  EXPECT_TRUE(consumer->Poll(milliseconds(500)).records.empty());
  ASSERT_THAT(consumer->Resume({where}), IsOk());
  EXPECT_THAT(Values(PollToEnd(*consumer)), ElementsAre("0", "1", "2"));
}

TEST_F(ContractTest, APositionThatIsGoneIsAnErrorAndNotAJump) {
  const std::string topic = Topic();
  const TopicPartition where{topic, 0};
  for (int i = 0; i < 5; ++i) Send({.topic = topic, .value = std::to_string(i)});
  cluster_->DeleteBefore(where, 3);
  for (const std::int64_t gone : {1, 99}) {
    auto consumer = Reader(where, gone);
    const Batch batch = PollUntil(*consumer, [](const Batch& all) { return !all.errors.empty(); });
    EXPECT_TRUE(batch.records.empty());
    EXPECT_THAT(batch.errors[0].status, StatusIs(absl::StatusCode::kOutOfRange));
    EXPECT_EQ(batch.errors[0].where, where);
    EXPECT_FALSE(batch.errors[0].fatal);
    ASSERT_THAT(consumer->Seek(where, 3), IsOk());
    EXPECT_THAT(Values(PollToEnd(*consumer)), ElementsAre("3", "4"));
  }
  EXPECT_THAT(Reader(where)->QueryBeginningOffset(where, kPatience), IsOkAndHolds(3));
}

TEST_F(ContractTest, AGroupStartsWhereItSaysAndGoesOnWhereItCommitted) {
  const std::string topic = Topic(2);
  const std::string group = cluster_->UniqueName("group");
  Send({.topic = topic, .partition = 0, .value = "a"});
  Send({.topic = topic, .partition = 0, .value = "b"});
  Send({.topic = topic, .partition = 1, .value = "c"});
  {
    Listener listener;
    auto consumer = cluster_->MakeConsumer({.group = group});
    ASSERT_THAT(consumer->Subscribe({topic}, &listener), IsOk());
    EXPECT_THAT(consumer->CurrentGroupMetadata(), StatusIs(absl::StatusCode::kFailedPrecondition));
    const Batch batch = PollToEnd(*consumer, 2);
    EXPECT_THAT(Values(batch), UnorderedElementsAre("a", "b", "c"));
    ASSERT_EQ(listener.times_assigned, 1);
    EXPECT_EQ(consumer->Assignment().size(), 2U);
    EXPECT_THAT(consumer->CurrentGroupMetadata(), IsOk());
    ASSERT_THAT(consumer->Commit({{{topic, 0}, 1}}), IsOk());
    EXPECT_THAT(*consumer->Committed({{topic, 0}, {topic, 1}}, kPatience),
                ElementsAre(Pair(TopicPartition{topic, 0}, 1)));
    consumer->Close();
    EXPECT_EQ(listener.times_revoked, 1);
    EXPECT_THAT(listener.assigned, IsEmpty());
  }
  Listener listener;
  auto consumer = cluster_->MakeConsumer({.group = group, .start = StartPosition::kLatest});
  ASSERT_THAT(consumer->Subscribe({topic}, &listener), IsOk());
  // Partition 0 from its commit on; partition 1 has none, and starts at its end.
  EXPECT_THAT(Values(PollToEnd(*consumer, 2)), ElementsAre("b"));
  std::set<std::optional<std::int64_t>> committed;
  for (const AssignedPartition& assigned : listener.assigned) committed.insert(assigned.committed);
  EXPECT_THAT(committed, ElementsAre(std::nullopt, 1));
}

TEST_F(ContractTest, AConsumerWithoutGroupRefusesWhatNeedsOne) {
  auto consumer = cluster_->MakeConsumer({});
  EXPECT_THAT(consumer->Subscribe({"t"}, nullptr), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(consumer->Commit({{{"t", 0}, 1}}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(consumer->Committed({{"t", 0}}, kPatience),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ContractTest, ASecondMemberTakesItsShareAndGivesItBack) {
  const std::string topic = Topic(4);
  const std::string group = cluster_->UniqueName("group");
  Listener first_heard;
  auto first = cluster_->MakeConsumer({.group = group});
  ASSERT_THAT(first->Subscribe({topic}, &first_heard), IsOk());
  PollUntilAssigned(*first, first_heard);
  EXPECT_EQ(first_heard.assigned.size(), 4U);

  Listener second_heard;
  auto second = cluster_->MakeConsumer({.group = group});
  ASSERT_THAT(second->Subscribe({topic}, &second_heard), IsOk());
  PollUntil(*second, [&](const Batch&) {
    first->Poll(milliseconds(10));
    return second_heard.times_assigned >= 1 && first_heard.times_assigned >= 2;
  });
  EXPECT_EQ(first_heard.times_revoked, 1);
  EXPECT_EQ(first_heard.assigned.size(), 2U);
  EXPECT_EQ(second_heard.assigned.size(), 2U);

  second->Close();
  PollUntilAssigned(*first, first_heard, 3);
  EXPECT_EQ(first_heard.assigned.size(), 4U);
  EXPECT_EQ(first_heard.times_lost, 0);
}

TEST_F(ContractTest, AStaticMemberComesBackWithoutARebalance) {
  const std::string topic = Topic(4);
  const std::string group = cluster_->UniqueName("group");
  Listener stays_heard;
  auto stays = cluster_->MakeConsumer(
      {.group = group, .instance_id = "worker-0", .session_timeout = kPatience});
  ASSERT_THAT(stays->Subscribe({topic}, &stays_heard), IsOk());
  Listener goes_heard;
  auto goes = cluster_->MakeConsumer(
      {.group = group, .instance_id = "worker-1", .session_timeout = kPatience});
  ASSERT_THAT(goes->Subscribe({topic}, &goes_heard), IsOk());
  PollUntil(*goes, [&](const Batch&) {
    stays->Poll(milliseconds(10));
    return goes_heard.assigned.size() == 2 && stays_heard.assigned.size() == 2;
  });
  const int before = stays_heard.times_assigned;
  const std::vector<TopicPartition> had = goes->Assignment();

  goes.reset();
  EXPECT_EQ(goes_heard.times_revoked + goes_heard.times_lost, goes_heard.times_assigned);
  Listener back_heard;
  auto back = cluster_->MakeConsumer(
      {.group = group, .instance_id = "worker-1", .session_timeout = kPatience});
  ASSERT_THAT(back->Subscribe({topic}, &back_heard), IsOk());
  PollUntil(*back, [&](const Batch&) {
    stays->Poll(milliseconds(10));
    return back_heard.times_assigned >= 1;
  });
  EXPECT_EQ(back->Assignment(), had);
  stays->Poll(milliseconds(500));
  EXPECT_EQ(stays_heard.times_assigned, before);
  EXPECT_EQ(stays_heard.times_revoked, before - 1);
}

TEST_F(ContractTest, TwoLiveMembersWithOneIdFenceEachOther) {
  const std::string topic = Topic();
  const std::string group = cluster_->UniqueName("group");
  Listener old_heard;
  auto old_one = cluster_->MakeConsumer({.group = group, .instance_id = "worker-0"});
  ASSERT_THAT(old_one->Subscribe({topic}, &old_heard), IsOk());
  PollUntilAssigned(*old_one, old_heard);
  Listener new_heard;
  auto new_one = cluster_->MakeConsumer({.group = group, .instance_id = "worker-0"});
  ASSERT_THAT(new_one->Subscribe({topic}, &new_heard), IsOk());
  PollUntilAssigned(*new_one, new_heard);
  const Batch batch = PollUntil(*old_one, [](const Batch& all) { return !all.errors.empty(); });
  EXPECT_TRUE(batch.errors[0].fatal);
  EXPECT_THAT(batch.errors[0].status, StatusIs(absl::StatusCode::kFailedPrecondition));
}

// --- views
// ----------------------------------------------------------------------------------------

TEST_F(ContractTest, AViewShowsTheRecordAsItWasSent) {
  const std::string topic = Topic();
  Send({.topic = topic,
        .key = "key",
        .value = std::string("a\0b", 3),
        .headers = {{"ce_id", "1"}, {"twice", "x"}, {"twice", "y"}, {"empty", ""}}});
  Send({.topic = topic, .key = std::nullopt, .value = std::nullopt, .headers = {{"only", "1"}}});
  Send({.topic = topic, .key = "", .value = ""});
  Send({.topic = topic, .key = std::nullopt, .value = "v", .headers = {{"", "nameless"}}});
  const auto consumer = Reader({topic, 0});
  const std::vector<ViewBatch> batches = PollViewRecords(*consumer, 4);
  const std::vector<RecordView> records = All(batches);
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0].topic, topic);
  EXPECT_EQ(records[0].partition, 0);
  EXPECT_EQ(records[0].offset, 0);
  EXPECT_EQ(records[0].key, "key");
  EXPECT_EQ(records[0].value, std::string_view("a\0b", 3));
  using Entry = HeaderViews::Entry;
  EXPECT_THAT(records[0].headers.entries(), ElementsAre(Entry("ce_id", "1"), Entry("twice", "x"),
                                                        Entry("twice", "y"), Entry("empty", "")));
  EXPECT_EQ(records[0].headers.Find("twice"), "y");
  EXPECT_EQ(records[0].headers.Find("none"), std::nullopt);
  EXPECT_GT(records[0].timestamp, WallTime(std::chrono::hours(24 * 365 * 50)));
  EXPECT_EQ(records[1].key, std::nullopt);
  EXPECT_EQ(records[1].value, std::nullopt);
  EXPECT_THAT(records[1].headers.entries(), ElementsAre(Entry("only", "1")));
  EXPECT_EQ(records[2].key, "");
  EXPECT_EQ(records[2].value, "");
  EXPECT_TRUE(records[2].headers.empty());
  EXPECT_EQ(records[3].key, std::nullopt);
  EXPECT_EQ(records[3].value, "v");
  EXPECT_THAT(records[3].headers.entries(), ElementsAre(Entry("", "nameless")));
}

TEST_F(ContractTest, ViewsLiveAsLongAsTheirBatchWhateverTheConsumerDoes) {
  const std::string topic = Topic();
  const TopicPartition where{topic, 0};
  for (int i = 0; i < 3; ++i) {
    Send({.topic = topic, .key = "k", .value = std::to_string(i), .headers = {{"n", "1"}}});
  }
  auto consumer = Reader(where);
  std::vector<ViewBatch> first = PollViewRecords(*consumer, 3);
  ASSERT_THAT(consumer->Seek(where, 1), IsOk());
  std::vector<ViewBatch> second = PollViewRecords(*consumer, 2);
  // The same topic is the same bytes, from one batch to the next.
  EXPECT_EQ(All(first)[0].topic.data(), All(second)[0].topic.data());
  EXPECT_THAT(ViewValues(second), ElementsAre("1", "2"));
  // What was handed out before the seek stays as it was.
  EXPECT_THAT(ViewValues(first), ElementsAre("0", "1", "2"));
  consumer.reset();
  EXPECT_THAT(ViewValues(second), ElementsAre("1", "2"));
  EXPECT_EQ(All(second)[1].topic, topic);
  EXPECT_EQ(All(second)[1].headers.Find("n"), "1");
  // Another thread may have the last of it.
  std::thread([batches = std::move(second)]() mutable { batches.clear(); }).join();
  EXPECT_THAT(ViewValues(first), ElementsAre("0", "1", "2"));
}

TEST_F(ContractTest, AMovedBatchLeavesAnEmptyOne) {
  const std::string topic = Topic();
  Send({.topic = topic, .value = "v"});
  const auto consumer = Reader({topic, 0});
  std::vector<ViewBatch> batches = PollViewRecords(*consumer, 1);
  ViewBatch taken = std::move(batches.back());
  EXPECT_FALSE(taken.empty());
  EXPECT_TRUE(batches.back().empty());  // NOLINT(bugprone-use-after-move): what is tested
  taken = ViewBatch();
  EXPECT_TRUE(taken.empty());
}

TEST_F(ContractTest, ABatchHoldsNoMoreThanItsLimitAndTheNextTheRest) {
  const std::string topic = Topic(2);
  for (int i = 0; i < 10; ++i) {
    Send({.topic = topic, .partition = i % 2, .value = std::to_string(i)});
  }
  auto consumer = cluster_->MakeConsumer({.max_batch = 3});
  ASSERT_THAT(consumer->Assign({{{topic, 0}, 0}, {{topic, 1}, 0}}), IsOk());
  const std::vector<ViewBatch> batches = PollViewRecords(*consumer, 10);
  std::vector<std::int64_t> next{0, 0};
  for (const ViewBatch& batch : batches) {
    EXPECT_LE(batch.records().size(), 3U);
    for (const RecordView& record : batch.records()) {
      EXPECT_EQ(record.offset, next[static_cast<std::size_t>(record.partition)]++);
    }
  }
  EXPECT_THAT(next, ElementsAre(5, 5));
  EXPECT_EQ(consumer->Position({topic, 1}), 5);
}

TEST_F(ContractTest, AViewIsProducedAsItStands) {
  const std::string topic = Topic(6);
  auto producer = cluster_->MakeTransactionalProducer(cluster_->UniqueName("tx"));
  ExpectOk(producer->Init());
  ExpectOk(producer->Begin());
  {
    // Needed during the call only.
    const std::string name = topic;
    std::string key = "RYERSS AVE";
    std::string value("a\0b", 3);
    const std::vector<HeaderViews::Entry> headers{{"x", key}, {"x", "2"}, {"empty", ""}};
    ExpectOk(producer->ProduceView(
        {.topic = name, .key = key, .value = value, .headers = HeaderViews(headers)}));
    ExpectOk(producer->ProduceView({.topic = name, .partition = 1}));
    ExpectOk(producer->ProduceView({.topic = name, .partition = 1, .key = "", .value = ""}));
    key.assign("overwritten");
    value.assign("overwritten");
  }
  const std::int32_t chosen = PartitionForKey("RYERSS AVE", 6);
  ASSERT_NE(chosen, 1);
  const CommitResult result = producer->Commit();
  ASSERT_THAT(result.status, IsOk());
  EXPECT_THAT(result.written, UnorderedElementsAre(Pair(TopicPartition{topic, chosen}, 1),
                                                   Pair(TopicPartition{topic, 1}, 2)));
  const Batch keyed = PollRecords(*Reader({topic, chosen}), 1);
  ASSERT_EQ(keyed.records.size(), 1U);
  EXPECT_EQ(keyed.records[0].key, "RYERSS AVE");
  EXPECT_EQ(keyed.records[0].value, std::string("a\0b", 3));
  EXPECT_EQ(keyed.records[0].headers, (Headers{{"x", "RYERSS AVE"}, {"x", "2"}, {"empty", ""}}));
  const Batch bare = PollRecords(*Reader({topic, 1}), 2);
  ASSERT_EQ(bare.records.size(), 2U);
  EXPECT_EQ(bare.records[0].key, std::nullopt);
  EXPECT_EQ(bare.records[0].value, std::nullopt);
  EXPECT_EQ(bare.records[1].key, "");
  EXPECT_EQ(bare.records[1].value, "");
}

TEST_F(ContractTest, ABatchIsInTheLogWhenFlushSaysSo) {
  const std::string topic = Topic(2);
  auto producer = cluster_->MakeBatchProducer();
  for (int i = 0; i < 100; ++i) {
    ExpectOk(producer->Produce({.topic = topic,
                                .partition = i % 2,
                                .key = "k",
                                .value = std::to_string(i),
                                .headers = {{"n", std::to_string(i)}}}));
  }
  CommitResult result = producer->Flush(kPatience);
  ASSERT_THAT(result.status, IsOk());
  EXPECT_THAT(result.written,
              ElementsAre(Pair(TopicPartition{topic, 0}, 50), Pair(TopicPartition{topic, 1}, 50)));
  const Batch batch = PollRecords(*Reader({topic, 1}), 50);
  ASSERT_EQ(batch.records.size(), 50U);
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(batch.records[i].value, std::to_string(2 * i + 1));
    EXPECT_EQ(batch.records[i].headers.Find("n"), std::to_string(2 * i + 1));
  }
  // Each flush tells of its own batch alone.
  ExpectOk(producer->ProduceView({.topic = topic, .partition = 1, .value = "last"}));
  result = producer->Flush(kPatience);
  EXPECT_THAT(result.written, ElementsAre(Pair(TopicPartition{topic, 1}, 51)));
  result = producer->Flush(kPatience);
  ASSERT_THAT(result.status, IsOk());
  EXPECT_THAT(result.written, IsEmpty());
}

TEST_F(ContractTest, ABatchWithARecordThatCannotBeWrittenIsToBeDoneAgain) {
  const std::string topic = Topic();
  auto producer = cluster_->MakeBatchProducer();
  ExpectOk(producer->ProduceView({.topic = topic, .value = "good"}));
  const TransactionResult sent =
      producer->ProduceView({.topic = cluster_->UniqueName("never"), .value = "v"});
  const CommitResult flushed = producer->Flush(kPatience);
  EXPECT_EQ(sent.ok() ? flushed.error_class : sent.error_class, ErrorClass::kAbort);
  EXPECT_THAT(sent.ok() ? flushed.status : sent.status, StatusIs(absl::StatusCode::kNotFound));
  ExpectOk(producer->ProduceView({.topic = topic, .value = "again"}));
  EXPECT_THAT(producer->Flush(kPatience).status, IsOk());
}

// --- transactions
// ---------------------------------------------------------------------------------

TEST_F(ContractTest, ACommittedTransactionIsSeenWholeAndReportsWhereItLies) {
  const std::string topic = Topic(2);
  auto producer = cluster_->MakeTransactionalProducer(cluster_->UniqueName("tx"));
  ExpectOk(producer->Init());
  auto committed = Reader({topic, 0});
  auto uncommitted = Reader({topic, 0}, 0, Isolation::kReadUncommitted);
  ExpectOk(producer->Begin());
  ExpectOk(producer->Produce({.topic = topic, .partition = 0, .value = "a"}));
  ExpectOk(producer->Produce({.topic = topic, .partition = 1, .value = "b"}));
  ExpectOk(producer->Produce({.topic = topic, .partition = 0, .value = "c"}));
  EXPECT_THAT(Values(PollRecords(*uncommitted, 2)), ElementsAre("a", "c"));
  EXPECT_THAT(committed->Poll(milliseconds(300)).records, IsEmpty());
  EXPECT_THAT(committed->QueryEndOffset({topic, 0}, Isolation::kReadCommitted, kPatience),
              IsOkAndHolds(0));
  EXPECT_THAT(committed->QueryEndOffset({topic, 0}, Isolation::kReadUncommitted, kPatience),
              IsOkAndHolds(2));
  EXPECT_THAT(uncommitted->QueryEndOffset({topic, 0}, Isolation::kReadCommitted, kPatience),
              IsOkAndHolds(0));
  const CommitResult result = producer->Commit();
  ASSERT_THAT(result.status, IsOk());
  EXPECT_THAT(result.written,
              ElementsAre(Pair(TopicPartition{topic, 0}, 2), Pair(TopicPartition{topic, 1}, 1)));
  EXPECT_THAT(Values(PollRecords(*committed, 2)), ElementsAre("a", "c"));
  // The marker takes an offset of its own, and the end counts it.
  PollUntil(*committed, [&](const Batch&) { return committed->Position({topic, 0}) == 3; });
  EXPECT_THAT(committed->QueryEndOffset({topic, 0}, Isolation::kReadCommitted, kPatience),
              IsOkAndHolds(3));
  EXPECT_FALSE(producer->outcome_indefinite()) << producer->indefinite_reason();
}

TEST_F(ContractTest, AnAbortedTransactionIsNeverSeenAndTheNextOneIs) {
  const std::string topic = Topic();
  auto producer = cluster_->MakeTransactionalProducer(cluster_->UniqueName("tx"));
  ExpectOk(producer->Init());
  ExpectOk(producer->Begin());
  ExpectOk(producer->Produce({.topic = topic, .value = "no"}));
  ExpectOk(producer->Abort());
  auto reader = Reader({topic, 0});
  // The end is reported although no record could be.
  PollUntil(*reader, [&](const Batch& all) {
    EXPECT_THAT(all.records, IsEmpty());
    return reader->Position({topic, 0}) == 2;
  });
  ExpectOk(producer->Begin());
  ExpectOk(producer->Produce({.topic = topic, .value = "yes"}));
  const CommitResult result = producer->Commit();
  ASSERT_THAT(result.status, IsOk());
  EXPECT_THAT(result.written, ElementsAre(Pair(TopicPartition{topic, 0}, 3)));
  EXPECT_THAT(Values(PollRecords(*reader, 1)), ElementsAre("yes"));
}

TEST_F(ContractTest, AbortRightAfterTheFirstProduceLeavesTheProducerUsable) {
  const std::string topic = Topic();
  auto producer = cluster_->MakeTransactionalProducer(cluster_->UniqueName("tx"));
  ExpectOk(producer->Init());
  for (int i = 0; i < 5; ++i) {
    ExpectOk(producer->Begin());
    ExpectOk(producer->Produce({.topic = topic, .value = "no"}));
    ExpectOk(producer->Abort());
  }
  ExpectOk(producer->Begin());
  ExpectOk(producer->Abort());  // nothing was produced
}

TEST_F(ContractTest, OffsetsAreCommittedWithTheTransactionOrNotAtAll) {
  const std::string input = Topic();
  const std::string output = Topic();
  const std::string group = cluster_->UniqueName("group");
  Send({.topic = input, .value = "1"});
  Send({.topic = input, .value = "2"});
  Listener listener;
  auto consumer = cluster_->MakeConsumer({.group = group, .instance_id = "w"});
  ASSERT_THAT(consumer->Subscribe({input}, &listener), IsOk());
  PollRecords(*consumer, 2);
  auto producer = cluster_->MakeTransactionalProducer(cluster_->UniqueName("tx"));
  ExpectOk(producer->Init());

  ExpectOk(producer->Begin());
  ExpectOk(producer->Produce({.topic = output, .value = "x"}));
  ExpectOk(producer->SendOffsets({{{input, 0}, 1}}, *consumer));
  ExpectOk(producer->Abort());
  EXPECT_THAT(*consumer->Committed({{input, 0}}, kPatience), IsEmpty());

  ExpectOk(producer->Begin());
  ExpectOk(producer->Produce({.topic = output, .value = "y"}));
  ExpectOk(producer->SendOffsets({{{input, 0}, 2}}, *consumer));
  ASSERT_THAT(producer->Commit().status, IsOk());
  EXPECT_THAT(*consumer->Committed({{input, 0}}, kPatience),
              ElementsAre(Pair(TopicPartition{input, 0}, 2)));

  // Offsets alone, without any record, are a transaction too.
  ExpectOk(producer->Begin());
  ExpectOk(producer->SendOffsets({{{input, 0}, 1}}, *consumer));
  ASSERT_THAT(producer->Commit().status, IsOk());
  EXPECT_THAT(*consumer->Committed({{input, 0}}, kPatience),
              ElementsAre(Pair(TopicPartition{input, 0}, 1)));
}

TEST_F(ContractTest, AnHeirStartsOnlyWhenOffsetsThatArePendingAreDecided) {
  const std::string input = Topic();
  const std::string group = cluster_->UniqueName("group");
  const std::string id = cluster_->UniqueName("tx");
  Send({.topic = input, .value = "1"});
  Send({.topic = input, .value = "2"});
  auto dies = cluster_->MakeTransactionalProducer(id);
  {
    auto consumer = cluster_->MakeConsumer({.group = group, .instance_id = "w"});
    ASSERT_THAT(consumer->Subscribe({input}, nullptr), IsOk());
    PollRecords(*consumer, 2);
    ASSERT_THAT(consumer->Commit({{{input, 0}, 1}}), IsOk());
    ExpectOk(dies->Init());
    ExpectOk(dies->Begin());
    ExpectOk(dies->SendOffsets({{{input, 0}, 2}}, *consumer));
  }
  Listener listener;
  auto heir = cluster_->MakeConsumer({.group = group, .instance_id = "w"});
  ASSERT_THAT(heir->Subscribe({input}, &listener), IsOk());
  for (int i = 0; i < 3; ++i) EXPECT_THAT(heir->Poll(milliseconds(100)).records, IsEmpty());
  EXPECT_EQ(listener.times_assigned, 0);
  // The heir's producer aborts what is open.
  ExpectOk(cluster_->MakeTransactionalProducer(id)->Init());
  EXPECT_THAT(Values(PollToEnd(*heir)), ElementsAre("2"));
  EXPECT_EQ(listener.assigned[0].committed, 1);
}

TEST_F(ContractTest, OffsetsOfAGroupThatHasMovedOnAskForAnAbort) {
  const std::string input = Topic(2);
  const std::string group = cluster_->UniqueName("group");
  Listener first_heard;
  auto first = cluster_->MakeConsumer({.group = group});
  ASSERT_THAT(first->Subscribe({input}, &first_heard), IsOk());
  PollUntilAssigned(*first, first_heard);
  auto producer = cluster_->MakeTransactionalProducer(cluster_->UniqueName("tx"));
  ExpectOk(producer->Init());
  ExpectOk(producer->Begin());
  Listener second_heard;
  auto second = cluster_->MakeConsumer({.group = group});
  ASSERT_THAT(second->Subscribe({input}, &second_heard), IsOk());
  PollUntil(*second, [&](const Batch&) {
    first->Poll(milliseconds(10));
    return second_heard.times_assigned >= 1 && first_heard.times_assigned >= 2;
  });
  first->Close();
  const TransactionResult result = producer->SendOffsets({{{input, 0}, 1}}, *first);
  EXPECT_EQ(result.error_class, ErrorClass::kAbort) << tocsin::Describe(result.status);
  ExpectOk(producer->Abort());
}

TEST_F(ContractTest, ANewProducerWithTheSameIdFencesTheOldOneAndAbortsWhatItLeft) {
  const std::string topic = Topic();
  const std::string id = cluster_->UniqueName("tx");
  auto old_one = cluster_->MakeTransactionalProducer(id);
  ExpectOk(old_one->Init());
  ExpectOk(old_one->Begin());
  ExpectOk(old_one->Produce({.topic = topic, .value = "ghost"}));
  auto uncommitted = Reader({topic, 0}, 0, Isolation::kReadUncommitted);
  PollRecords(*uncommitted, 1);

  auto new_one = cluster_->MakeTransactionalProducer(id);
  ExpectOk(new_one->Init());
  ExpectOk(new_one->Begin());
  ExpectOk(new_one->Produce({.topic = topic, .value = "heir"}));
  ASSERT_THAT(new_one->Commit().status, IsOk());
  EXPECT_THAT(Values(PollRecords(*Reader({topic, 0}), 1)), ElementsAre("heir"));

  const CommitResult result = old_one->Commit();
  EXPECT_EQ(result.error_class, ErrorClass::kFatal) << tocsin::Describe(result.status);
  EXPECT_THAT(result.written, IsEmpty());
}

TEST_F(ContractTest, AProducerThatDiesInATransactionBlocksReadersUntilItsHeirComes) {
  const std::string topic = Topic();
  const std::string id = cluster_->UniqueName("tx");
  {
    auto dies = cluster_->MakeTransactionalProducer(id);
    ExpectOk(dies->Init());
    ExpectOk(dies->Begin());
    ExpectOk(dies->Produce({.topic = topic, .value = "ghost"}));
    PollRecords(*Reader({topic, 0}, 0, Isolation::kReadUncommitted), 1);
  }
  Send({.topic = topic, .value = "behind"});
  auto reader = Reader({topic, 0});
  EXPECT_THAT(reader->Poll(milliseconds(500)).records, IsEmpty());
  ExpectOk(cluster_->MakeTransactionalProducer(id)->Init());
  EXPECT_THAT(Values(PollRecords(*reader, 1)), ElementsAre("behind"));
}

TEST_F(ContractTest, TheMembersOfAGroupAndWhatTheyHave) {
  const std::string topic = Topic(2);
  const std::string group = cluster_->UniqueName("group");
  auto admin = cluster_->MakeAdmin();
  EXPECT_THAT(admin->GroupMembers(group, kPatience), IsOkAndHolds(IsEmpty()));
  Listener heard;
  auto consumer = cluster_->MakeConsumer({.group = group, .instance_id = "worker-7"});
  ASSERT_THAT(consumer->Subscribe({topic}, &heard), IsOk());
  PollUntilAssigned(*consumer, heard);
  const auto members = admin->GroupMembers(group, kPatience);
  ASSERT_THAT(members, IsOk());
  ASSERT_EQ(members->size(), 1U);
  EXPECT_EQ(members->front().instance_id, "worker-7");
  EXPECT_THAT(members->front().partitions,
              UnorderedElementsAre(TopicPartition{topic, 0}, TopicPartition{topic, 1}));
}

// --- admin
// ----------------------------------------------------------------------------------------

TEST_F(ContractTest, TopicsAreCreatedDescribedChangedAndDeleted) {
  auto admin = cluster_->MakeAdmin();
  EXPECT_THAT(admin->Probe(kPatience), IsOk());
  const std::string name = cluster_->UniqueName("admin");
  const std::vector<TopicSpec> spec{
      {name, 3, 1, {{"cleanup.policy", "compact"}, {"retention.ms", "1000"}}}};
  ASSERT_THAT(admin->CreateTopics(spec, kPatience), IsOk());
  ASSERT_THAT(admin->CreateTopics(spec, kPatience), IsOk());  // exists: left as it is
  EXPECT_THAT(admin->PartitionCount(name, kPatience), IsOkAndHolds(3));
  auto described = admin->DescribeTopics({name, "no-such-topic"}, kPatience);
  ASSERT_THAT(described, IsOk());
  ASSERT_EQ(described->size(), 1U);
  EXPECT_EQ(described->at(name).partitions, 3);
  EXPECT_EQ(described->at(name).replication_factor, 1);
  EXPECT_THAT(described->at(name).configs,
              ElementsAre(Pair("cleanup.policy", "compact"), Pair("retention.ms", "1000")));
  ASSERT_THAT(admin->SetTopicConfigs(name, {{"retention.ms", "2000"}}, kPatience), IsOk());
  ASSERT_THAT(admin->AddPartitions(name, 5, kPatience), IsOk());
  EXPECT_THAT(admin->AddPartitions(name, 5, kPatience),
              StatusIs(absl::StatusCode::kInvalidArgument));
  described = admin->DescribeTopics({name}, kPatience);
  ASSERT_THAT(described, IsOk());
  EXPECT_EQ(described->at(name).partitions, 5);
  EXPECT_THAT(described->at(name).configs,
              ElementsAre(Pair("cleanup.policy", "compact"), Pair("retention.ms", "2000")));
  ASSERT_THAT(admin->DeleteTopics({name}, kPatience), IsOk());
  ASSERT_THAT(admin->DeleteTopics({name}, kPatience), IsOk());
  EXPECT_THAT(admin->CreateTopics({{cluster_->UniqueName("bad"), 0, 1, {}}}, kPatience),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(admin->PartitionCount("no-such-topic", kPatience),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no-such-topic")));
}

}  // namespace
}  // namespace tocsin::kafka::testing
