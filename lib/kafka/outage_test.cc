// The broker is away, stands still, comes back: what the clients do then. Alone on the machine
// (SERIAL), because it freezes the broker that all tests share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>

#include "lib/base/mutex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/read_loop.h"
#include "lib/kafka/testing/broker.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::kafka::testing {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr seconds kPatience{30};
constexpr milliseconds kShort{500};

auto IsAway() {
  return AnyOf(StatusIs(absl::StatusCode::kUnavailable),
               StatusIs(absl::StatusCode::kDeadlineExceeded));
}

Connection Nowhere(std::vector<std::string>* log = nullptr, Mutex* mutex = nullptr) {
  Connection connection;
  connection.bootstrap_servers = "127.0.0.1:9";  // nobody listens on the discard port
  connection.log = [=](LogLevel, std::string_view message) {
    if (log == nullptr) return;
    MutexLock lock(*mutex);
    log->emplace_back(message);
  };
  return connection;
}

TEST(OutageTest, WithoutABrokerTheQueueFillsAndEverythingSaysSo) {
  Mutex mutex;
  std::vector<std::string> log;
  std::atomic<int> cancelled{0};
  {
    auto producer = MakeProducer({.connection = Nowhere(&log, &mutex),
                                  .max_queued_records = 3,
                                  .close_timeout = milliseconds(100)});
    ASSERT_THAT(producer, IsOk());
    const auto produce = [&] {
      return (*producer)->Produce({.topic = "t", .value = "v"}, [&](const auto& outcome) {
        EXPECT_THAT(outcome, StatusIs(absl::StatusCode::kCancelled));
        ++cancelled;
      });
    };
    for (int i = 0; i < 3; ++i) ASSERT_THAT(produce(), IsOk());
    EXPECT_THAT(produce(), StatusIs(absl::StatusCode::kResourceExhausted,
                                    HasSubstr("Kafka is away or too slow")));
    EXPECT_EQ((*producer)->outstanding(), 3U);
    EXPECT_THAT((*producer)->Flush(kShort),
                StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("3 records")));
    EXPECT_THAT((*producer)->Probe(kShort), StatusIs(absl::StatusCode::kUnavailable));
  }
  EXPECT_EQ(cancelled, 3);
  MutexLock lock(mutex);
  EXPECT_THAT(log, ::testing::Contains(HasSubstr("127.0.0.1:9")));
}

TEST(OutageTest, WithoutABrokerAConsumerReportsItAndClosesQuickly) {
  auto consumer = MakeConsumer({.connection = Nowhere(), .group = "g"});
  ASSERT_THAT(consumer, IsOk());
  ASSERT_THAT((*consumer)->Subscribe({"t"}, nullptr), IsOk());
  Batch batch;
  const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
  while (batch.errors.empty() && Clock::Real().SteadyNow() < deadline) {
    batch = (*consumer)->Poll(milliseconds(100));
  }
  ASSERT_FALSE(batch.errors.empty());
  EXPECT_THAT(batch.errors[0].status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_FALSE(batch.errors[0].fatal);
  EXPECT_THAT((*consumer)->QueryEndOffset({"t", 0}, Isolation::kReadCommitted, kShort), IsAway());
  EXPECT_THAT((*consumer)->QueryEndOffset({"t", 0}, Isolation::kReadUncommitted, kShort), IsAway());
  const SteadyTime start = Clock::Real().SteadyNow();
  (*consumer)->Close();
  EXPECT_LT(Clock::Real().SteadyNow() - start, seconds(11));
}

TEST(OutageTest, WithoutABrokerTransactionsAreToBeTriedAgain) {
  auto producer = MakeTransactionalProducer({.connection = Nowhere(),
                                             .transactional_id = "t",
                                             .transaction_timeout = milliseconds(1'000)});
  ASSERT_THAT(producer, IsOk());
  const TransactionResult result = (*producer)->Init();
  EXPECT_EQ(result.error_class, ErrorClass::kRetriable) << tocsin::Describe(result.status);
}

TEST(OutageTest, RecordsWaitForAFrozenBrokerAndArriveOnceInOrder) {
  const std::string topic = UniqueTopic("outage");
  auto producer = MakeProducer({.connection = BrokerConnection()});
  ASSERT_THAT(producer, IsOk());
  ASSERT_THAT((*producer)->Probe(kPatience), IsOk());
  constexpr int kCount = 1'000;
  std::atomic<int> delivered{0};
  const auto produce = [&](int i) {
    return (*producer)->Produce({.topic = topic, .value = std::to_string(i)},
                                [&](const auto& outcome) {
                                  EXPECT_THAT(outcome, IsOk());
                                  ++delivered;
                                });
  };
  for (int i = 0; i < kCount / 2; ++i) ASSERT_THAT(produce(i), IsOk());
  {
    const FrozenBroker frozen;
    for (int i = kCount / 2; i < kCount; ++i) ASSERT_THAT(produce(i), IsOk());
    // Longer than the socket timeout of 6 s, so that requests are repeated on new connections.
    EXPECT_THAT((*producer)->Flush(seconds(8)), StatusIs(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT((*producer)->Probe(kShort), StatusIs(absl::StatusCode::kUnavailable));
  }
  EXPECT_THAT((*producer)->Flush(kPatience), IsOk());
  EXPECT_EQ(delivered, kCount);

  auto consumer = MakeConsumer({.connection = BrokerConnection()});
  ASSERT_THAT(consumer, IsOk());
  ASSERT_THAT((*consumer)->Assign({{{topic, 0}, 0}}), IsOk());
  std::vector<Record> records;
  bool at_end = false;
  const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
  while (!(at_end && records.size() >= kCount) && Clock::Real().SteadyNow() < deadline) {
    Batch batch = (*consumer)->Poll(milliseconds(100));
    std::move(batch.records.begin(), batch.records.end(), std::back_inserter(records));
    at_end = at_end || !batch.ends.empty();
  }
  ASSERT_EQ(records.size(), static_cast<std::size_t>(kCount));
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(records[static_cast<std::size_t>(i)].value, std::to_string(i));
  }
}

TEST(OutageTest, AskingAFrozenBrokerForOffsetsKeepsToItsTimeout) {
  const std::string topic = UniqueTopic("outage");
  auto consumer = MakeConsumer({.connection = BrokerConnection()});
  ASSERT_THAT(consumer, IsOk());
  const TopicPartition where{topic, 0};
  const auto ask = [&](Isolation isolation, milliseconds timeout) {
    return (*consumer)->QueryEndOffset(where, isolation, timeout);
  };
  for (const Isolation isolation : {Isolation::kReadCommitted, Isolation::kReadUncommitted}) {
    EXPECT_THAT(ask(isolation, kPatience), IsOkAndHolds(0)) << "now there is a connection";
  }
  {
    const FrozenBroker frozen;
    const SteadyTime start = Clock::Real().SteadyNow();
    EXPECT_THAT(ask(Isolation::kReadCommitted, kShort), IsAway());
    EXPECT_THAT(ask(Isolation::kReadUncommitted, kShort), IsAway());
    EXPECT_THAT((*consumer)->QueryBeginningOffset(where, kShort), IsAway());
    EXPECT_LT(Clock::Real().SteadyNow() - start, 3 * kShort + seconds(2));
  }
  EXPECT_THAT(ask(Isolation::kReadCommitted, kPatience), IsOkAndHolds(0));
}

TEST(OutageTest, ACommitThatAFrozenBrokerDelaysLeavesDoubtAndANewProducerGoesOn) {
  const std::string topic = UniqueTopic("outage");
  const std::string id = UniqueName("tx");
  const auto make = [&] {
    return MakeTransactionalProducer({.connection = BrokerConnection(), .transactional_id = id})
        .value();
  };
  auto producer = make();
  ASSERT_THAT(producer->Init().status, IsOk());
  ASSERT_THAT(producer->Begin().status, IsOk());
  ASSERT_THAT(producer->Produce({.topic = topic, .value = "v"}).status, IsOk());
  std::future<CommitResult> commit;
  {
    const FrozenBroker frozen;
    commit = std::async(std::launch::async, [&] { return producer->Commit(); });
    EXPECT_EQ(commit.wait_for(milliseconds(2'500)), std::future_status::timeout);
  }
  EXPECT_THAT(commit.get().status, IsOk());
  EXPECT_TRUE(producer->outcome_indefinite());
  EXPECT_FALSE(producer->indefinite_reason().empty());
  producer = make();
  ASSERT_THAT(producer->Init().status, IsOk());
  ASSERT_THAT(producer->Begin().status, IsOk());
  ASSERT_THAT(producer->Produce({.topic = topic, .value = "w"}).status, IsOk());
  EXPECT_THAT(producer->Commit().status, IsOk());
  EXPECT_FALSE(producer->outcome_indefinite()) << producer->indefinite_reason();
}

TEST(OutageTest, AMemberClosesInItsTimeWhileTheBrokerStandsStill) {
  const std::string topic = UniqueTopic("outage");
  auto consumer = MakeConsumer(
      {.connection = BrokerConnection(), .group = UniqueName("group"), .close_timeout = kShort});
  ASSERT_THAT(consumer, IsOk());
  ASSERT_THAT((*consumer)->Subscribe({topic}, nullptr), IsOk());
  const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
  while ((*consumer)->Assignment().empty() && Clock::Real().SteadyNow() < deadline) {
    (*consumer)->Poll(milliseconds(100));
  }
  const FrozenBroker frozen;
  const SteadyTime start = Clock::Real().SteadyNow();
  (*consumer)->Close();
  consumer->reset();
  EXPECT_LT(Clock::Real().SteadyNow() - start, kShort + seconds(1));
}

TEST(OutageTest, AReadLoopSaysThatTheBrokerStandsStillAndThatItAnswersAgain) {
  struct Reader final : LogReader {
    TopicPartition where;
    std::vector<std::string> read;
    absl::StatusOr<std::chrono::nanoseconds> Attach(Consumer& consumer, RebalanceListener&,
                                                    bool) override {
      const absl::Status assigned = consumer.Assign({{where, 0}});
      if (!assigned.ok()) return assigned;
      return kOnce;
    }
    absl::Status Take(Consumer&, const Batch& batch) override {
      for (const Record& record : batch.records) read.push_back(*record.value);
      return absl::OkStatus();
    }
    void OnMoved(const TopicPartition&, std::optional<std::int64_t>, std::int64_t) override {
      ADD_FAILURE() << "nothing is gone";
    }
  };
  Reader reader;
  reader.where = {UniqueTopic("outage"), 0};
  ReadLoop loop(reader, [] { return MakeConsumer({.connection = BrokerConnection()}); },
                {.name = "test", .question = kShort});
  auto producer = MakeProducer({.connection = BrokerConnection()});
  ASSERT_THAT(producer, IsOk());
  const auto step_until = [&](const std::function<bool(const absl::Status&)>& done) {
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    while (!done(loop.Step()) && Clock::Real().SteadyNow() < deadline) continue;
    EXPECT_LT(Clock::Real().SteadyNow(), deadline);
  };
  const auto produce = [&](const std::string& value) {
    ASSERT_THAT((*producer)->Produce({.topic = reader.where.topic, .value = value}, nullptr),
                IsOk());
  };
  produce("before");
  step_until([&](const absl::Status& state) { return state.ok() && reader.read.size() == 1; });
  {
    const FrozenBroker frozen;
    // The client notices when its requests time out; from then on it is not taken back.
    step_until([](const absl::Status& state) { return !state.ok(); });
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(loop.Step().ok());
  }
  step_until([](const absl::Status& state) { return state.ok(); });
  produce("after");
  step_until([&](const absl::Status& state) { return state.ok() && reader.read.size() == 2; });
}

TEST(OutageTest, AMemberWhoseSessionExpiredLosesItsPartitionsAndJoinsAgain) {
  struct Listener final : RebalanceListener {
    int assigned = 0;
    int lost = 0;
    int revoked = 0;
    void OnAssigned(const std::vector<AssignedPartition>&) override { ++assigned; }
    void OnRevoked(const std::vector<TopicPartition>&) override { ++revoked; }
    void OnLost(const std::vector<TopicPartition>&) override { ++lost; }
  };
  const std::string topic = UniqueTopic("outage");
  Listener listener;
  auto made = MakeConsumer({.connection = BrokerConnection(),
                            .group = UniqueName("group"),
                            .session_timeout = seconds(4),
                            .max_poll_interval = seconds(4)});
  ASSERT_THAT(made, IsOk());
  Consumer& consumer = **made;
  ASSERT_THAT(consumer.Subscribe({topic}, &listener), IsOk());
  const auto poll_until = [&](const std::function<bool()>& done) {
    const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
    while (!done() && Clock::Real().SteadyNow() < deadline) consumer.Poll(milliseconds(100));
    EXPECT_TRUE(done());
  };
  poll_until([&] { return listener.assigned == 1; });
  // Not polling for longer than max_poll_interval: the one wait that cannot be had otherwise.
  std::promise<void>().get_future().wait_for(seconds(5));
  EXPECT_THAT(consumer.CurrentGroupMetadata(), StatusIs(absl::StatusCode::kFailedPrecondition));
  poll_until([&] { return listener.assigned == 2; });
  EXPECT_EQ(listener.lost, 1);
  EXPECT_EQ(listener.revoked, 0);
}

}  // namespace
}  // namespace tocsin::kafka::testing
