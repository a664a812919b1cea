// Workers on a real broker: they crash, come back with and without their disk, share the partitions
// and take them over, while events come. A worker crashes by being dropped between two steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/testing/broker.h"
#include "services/correlation/testing/oracle.h"
#include "services/correlation/worker/worker.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::BrokerConnection;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Call;
using testing::RuleSpec;

constexpr std::int32_t kPartitions = 4;

class FixedRules final : public RuleSource {
 public:
  explicit FixedRules(std::shared_ptr<const RuleSet> rules) : rules_(std::move(rules)) {}
  std::shared_ptr<const RuleSet> Current() const override { return rules_; }

 private:
  const std::shared_ptr<const RuleSet> rules_;
};

// A worker on a thread of its own.
class Runner {
 public:
  Runner(const WorkerOptions& options, const WorkerIo& io)
      : worker_(std::make_unique<Worker>(options, io)), thread_([this] {
          while (!stop_) worker_->Step();
        }) {}
  // As a crash.
  ~Runner() {
    stop_ = true;
    thread_.join();
    worker_.reset();
  }
  WorkerStatus status() const { return worker_->status(); }

 private:
  std::unique_ptr<Worker> worker_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class WorkerBrokerTest : public ::testing::Test {
 protected:
  WorkerBrokerTest() {
    std::string pattern = ::testing::TempDir() + "/tocsin-broker-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    stream_ = kafka::testing::UniqueName("calls");
    group_ = kafka::testing::UniqueName("correlation");
    specs_ = testing::PublicSafetyRules();
    // Long enough for a machine under load, short enough for a test.
    for (RuleSpec& rule : specs_) rule.idle_timeout = seconds(6);
    auto set = std::make_shared<RuleSet>();
    set->epoch = 1;
    set->plans = {testing::MakePlan(specs_, kPartitions, stream_)};
    const RulePlan& plan = *set->plans[0];
    std::vector<std::string> topics = plan.InputTopics();
    for (const std::string& topic :
         {plan.stream().ChangelogTopic(), plan.stream().ProcessedTopic(),
          plan.stream().DeadLetterTopic(), stream_ + "-detections", stream_ + "-incidents"}) {
      topics.push_back(topic);
    }
    rules_ = std::make_unique<FixedRules>(std::move(set));
    auto admin = kafka::MakeAdmin(BrokerConnection());
    EXPECT_THAT(admin, IsOk());
    std::vector<kafka::TopicSpec> wanted;
    for (const std::string& topic : topics) wanted.push_back({topic, kPartitions, 1, {}});
    wanted.push_back({group_ + "-workers", 1, 1, {}});
    EXPECT_THAT((*admin)->CreateTopics(wanted, seconds(20)), IsOk());
    kafka::ProducerOptions options;
    options.connection = BrokerConnection();
    auto producer = kafka::MakeProducer(options);
    EXPECT_THAT(producer, IsOk());
    producer_ = *std::move(producer);
  }
  ~WorkerBrokerTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Runner> Start(const std::string& id, const std::string& disk) {
    WorkerOptions options;
    options.id = id;
    options.group = group_;
    options.state_folder = Concat(folder_, "/", disk);
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    options.task.detections_topic = stream_ + "-detections";
    options.task.incidents_topic = stream_ + "-incidents";
    options.store.lose_unwritten_on_close = true;
    // Transactions of a few records, so that there are many.
    options.max_batch = 40;
    WorkerIo io;
    io.rules = rules_.get();
    io.clock = &Clock::Real();
    io.make_consumer = [](kafka::ConsumerOptions consumer) {
      consumer.connection = BrokerConnection();
      return kafka::MakeConsumer(std::move(consumer));
    };
    io.make_producer = [](std::string transactional_id) {
      kafka::TransactionalProducerOptions producer;
      producer.connection = BrokerConnection();
      producer.transactional_id = std::move(transactional_id);
      return kafka::MakeTransactionalProducer(std::move(producer));
    };
    return std::make_unique<Runner>(options, io);
  }

  void Publish(const std::vector<Call>& calls, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < std::min(end, calls.size()); ++i) {
      kafka::Record record = testing::MakeCallRecord(calls[i]);
      kafka::OutgoingRecord outgoing;
      outgoing.topic = stream_;
      outgoing.key = record.key;
      outgoing.value = record.value;
      outgoing.headers = record.headers;
      ASSERT_THAT(producer_->Produce(outgoing, nullptr), IsOk());
      // Sent twice, now and then.
      if (i % 7 == 0) {
        ASSERT_THAT(producer_->Produce(outgoing, nullptr), IsOk());
      }
    }
    ASSERT_THAT(producer_->Flush(seconds(20)), IsOk());
  }

  // Everything committed in a topic, in the order of its partitions.
  std::vector<kafka::Record> Read(const std::string& topic) {
    kafka::ConsumerOptions options;
    options.connection = BrokerConnection();
    auto consumer = kafka::MakeConsumer(options);
    EXPECT_THAT(consumer, IsOk());
    kafka::Offsets from;
    for (std::int32_t p = 0; p < kPartitions; ++p) from[{topic, p}] = 0;
    EXPECT_THAT((*consumer)->Assign(from), IsOk());
    std::map<std::int32_t, std::vector<kafka::Record>> records;
    std::set<std::int32_t> ended;
    const SteadyTime until = Clock::Real().SteadyNow() + seconds(20);
    while (ended.size() < kPartitions && Clock::Real().SteadyNow() < until) {
      kafka::Batch batch = (*consumer)->Poll(milliseconds(200));
      for (kafka::Record& record : batch.records) {
        records[record.partition].push_back(std::move(record));
      }
      for (const auto& [where, end] : batch.ends) ended.insert(where.partition);
    }
    EXPECT_EQ(ended.size(), kPartitions);
    std::vector<kafka::Record> all;
    for (auto& [partition, of_partition] : records) {
      for (kafka::Record& record : of_partition) all.push_back(std::move(record));
    }
    return all;
  }

  void ExpectAnswers(const std::vector<Call>& calls, seconds patience) {
    const testing::Answers expected = testing::BruteForce(calls, specs_);
    const SteadyTime until = Clock::Real().SteadyNow() + patience;
    std::vector<kafka::Record> detections;
    do {
      detections = Read(stream_ + "-detections");
    } while (detections.size() < expected.detections.size() && Clock::Real().SteadyNow() < until);
    testing::ExpectSame(testing::Observed(detections, Read(stream_ + "-incidents")), expected);
    EXPECT_EQ(Read(rules_->Current()->plans[0]->stream().ProcessedTopic()).size(), calls.size());
  }

  std::string folder_;
  std::string stream_;
  std::string group_;
  std::vector<RuleSpec> specs_;
  std::unique_ptr<FixedRules> rules_;
  std::unique_ptr<kafka::Producer> producer_;
};

void AwaitRunning(const std::vector<const Runner*>& runners, int partitions) {
  const SteadyTime until = Clock::Real().SteadyNow() + seconds(60);
  int running = 0;
  while (running < partitions && Clock::Real().SteadyNow() < until) {
    running = 0;
    for (const Runner* runner : runners) running += runner->status().running;
    std::this_thread::yield();
  }
  ASSERT_EQ(running, partitions) << runners[0]->status().problem;
}

TEST_F(WorkerBrokerTest, OneWorkerFromTheBeginning) {
  const std::vector<Call> calls = testing::RandomCalls(20, 300);
  Publish(calls, 0, calls.size());
  const auto worker = Start("a", "a");
  ExpectAnswers(calls, seconds(60));
}

TEST_F(WorkerBrokerTest, ExactlyOnceThroughCrashesAndRebalances) {
  const std::vector<Call> calls = testing::RandomCalls(21, 600);
  auto a = Start("a", "a");
  Publish(calls, 0, 100);
  AwaitRunning({a.get()}, kPartitions);
  Publish(calls, 100, 200);
  // Another joins: half the partitions move.
  auto b = Start("b", "b");
  Publish(calls, 200, 300);
  AwaitRunning({a.get(), b.get()}, kPartitions);
  // One crashes in the middle, and comes back on its disk.
  Publish(calls, 300, 400);
  a.reset();
  Publish(calls, 400, 450);
  a = Start("a", "a");
  AwaitRunning({a.get(), b.get()}, kPartitions);
  // The other comes back with nothing.
  Publish(calls, 450, 550);
  b.reset();
  b = Start("b", "b, anew");
  Publish(calls, 550, 600);
  AwaitRunning({a.get(), b.get()}, kPartitions);
  ExpectAnswers(calls, seconds(60));
}

}  // namespace
}  // namespace tocsin::correlation
