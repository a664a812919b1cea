// Workers on a real broker: they crash, come back with and without their disk, share the partitions
// and take them over, while events come. A worker crashes by being dropped between two steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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
#include "lib/schema/wire_format.h"
#include "services/correlation/testing/oracle.h"
#include "services/correlation/worker/worker.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::BrokerConnection;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Call;
using testing::RuleSpec;

// Each has calls: one without would hold back the others' watermark until silence.
constexpr std::int32_t kPartitions = 5;

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
    specs_ = testing::PublicSafetyRules();
    // Long enough for a machine under load, short enough for a test.
    for (RuleSpec& rule : specs_) rule.idle_timeout = seconds(6);
    kafka::ProducerOptions options;
    options.connection = BrokerConnection();
    auto producer = kafka::MakeProducer(options);
    EXPECT_THAT(producer, IsOk());
    producer_ = *std::move(producer);
    MakeStream();
  }
  ~WorkerBrokerTest() override { std::filesystem::remove_all(folder_); }

  // An empty one, and a group that reads it.
  void MakeStream() {
    stream_ = kafka::testing::UniqueName("calls");
    group_ = kafka::testing::UniqueName("correlation");
    auto set = std::make_shared<RuleSet>();
    set->epoch = 1;
    set->plans = {MakePlan()};
    const RulePlan& plan = *set->plans[0];
    std::vector<std::string> topics = plan.InputTopics();
    for (const std::string& topic : {plan.stream().ChangelogTopic(), plan.stream().ProcessedTopic(),
                                     plan.stream().DeadLetterTopic(), stream_ + "-detections",
                                     stream_ + "-incidents", stream_ + "-aggregates"}) {
      topics.push_back(topic);
    }
    rules_ = std::make_unique<FixedRules>(std::move(set));
    auto admin = kafka::MakeAdmin(BrokerConnection());
    EXPECT_THAT(admin, IsOk());
    std::vector<kafka::TopicSpec> wanted;
    for (const std::string& topic : topics) wanted.push_back({topic, kPartitions, 1, {}});
    wanted.push_back({group_ + "-workers", 1, 1, {}});
    EXPECT_THAT((*admin)->CreateTopics(wanted, seconds(20)), IsOk());
  }

  // With a window rule, over a key that lies in all partitions.
  std::shared_ptr<const RulePlan> MakePlan() const {
    std::vector<RuleEntry> entries;
    for (RuleSpec rule : specs_) {
      rule.stream = stream_;
      entries.push_back({testing::MakeRule(std::move(rule)), 1});
    }
    const FixedStreams streams({{stream_, testing::CallDescriptor(), "township", nullptr}});
    const auto window = CompileRule(Concat("id: agencies\nstream: ", stream_, R"(
order: event_time
idle-timeout: 6s
window:
  type: tumbling
  size: 30m
  grace: 0s
  group-by: [agency]
  aggregates: [{name: n, function: count}, {name: places, function: distinct, field: place}]
  emit: on_change
)"),
                                    "rule.yaml", streams);
    EXPECT_THAT(window.status(), IsOk());
    entries.push_back({*window, 1});
    StreamSpec stream;
    stream.topic = stream_;
    stream.partitions = kPartitions;
    stream.message_type = "test.Call";
    stream.processed = true;
    return RulePlan::Make(stream, entries);
  }

  std::unique_ptr<Runner> Start(const std::string& id, const std::string& disk) {
    WorkerOptions options;
    options.id = id;
    options.group = group_;
    options.state_folder = Concat(folder_, "/", disk);
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    options.task.detections_topic = stream_ + "-detections";
    options.task.incidents_topic = stream_ + "-incidents";
    options.task.aggregate_schema.id = schema::SchemaId(3);
    options.task.aggregates_topic = stream_ + "-aggregates";
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

  // What was told of each key, in order. The stream has another name each time.
  template <typename Message>
  std::map<std::string, std::vector<std::string>> Told(std::string_view topic) {
    std::map<std::string, std::vector<std::string>> told;
    for (const kafka::Record& record : Read(Concat(stream_, topic))) {
      const auto framed = schema::DecodeFrame(record.value.value());
      EXPECT_THAT(framed, IsOk());
      Message message;
      EXPECT_TRUE(message.ParseFromString(std::string(framed->payload)));
      std::string text =
          Concat(record.headers.Find("ce_id").value_or(""), " ", message.ShortDebugString());
      for (std::size_t at = 0; (at = text.find(stream_, at)) != std::string::npos;) {
        text.replace(at, stream_.size(), "stream");
      }
      told[record.key.value_or("")].push_back(std::move(text));
    }
    return told;
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

// The same log for one, two and four workers.
TEST_F(WorkerBrokerTest, AnyNumberOfWorkersTellsTheSame) {
  std::vector<Call> calls = testing::RandomCalls(22, 400);
  // Later ones in every partition close the windows of these.
  constexpr int kLast = 9;
  for (int i = 0; i < kLast; ++i) {
    Call call = calls[399];
    call.time += std::chrono::hours(2);
    call.row += i + 1;
    call.place = Concat("the end ", i);
    call.township = Concat("township ", i);
    call.agency = "Last";
    calls.push_back(call);
  }
  std::vector<std::map<std::string, std::vector<std::string>>> told[3];
  for (const int count : {1, 2, 4}) {
    SCOPED_TRACE(count);
    if (count > 1) MakeStream();
    Publish(calls, 0, calls.size());
    std::vector<std::unique_ptr<Runner>> workers;
    std::vector<const Runner*> all;
    for (int i = 0; i < count; ++i) {
      workers.push_back(Start(Concat(count, "-", i), Concat(count, "-", i)));
      all.push_back(workers.back().get());
    }
    AwaitRunning(all, kPartitions);
    ExpectAnswers(calls, seconds(60));
    const SteadyTime until = Clock::Real().SteadyNow() + seconds(60);
    std::map<std::string, std::vector<std::string>> aggregates;
    // All windows are closed but the last, which has told each of its events.
    const auto complete = [&aggregates] {
      return !aggregates.empty() &&
             std::all_of(aggregates.begin(), aggregates.end(), [](const auto& window) {
               return window.first.find("Last") != std::string::npos
                          ? window.second.size() == kLast
                          : window.second.back().find("final: true") != std::string::npos;
             });
    };
    while (!complete() && Clock::Real().SteadyNow() < until) {
      aggregates = Told<v1::WindowResult>("-aggregates");
    }
    EXPECT_TRUE(complete());
    told[0].push_back(Told<v1::Detection>("-detections"));
    told[1].push_back(Told<incident::v1::Incident>("-incidents"));
    told[2].push_back(std::move(aggregates));
  }
  for (const auto& of_topic : told) {
    EXPECT_GT(of_topic[0].size(), 10U);
    EXPECT_EQ(of_topic[0], of_topic[1]);
    EXPECT_EQ(of_topic[0], of_topic[2]);
  }
}

}  // namespace
}  // namespace tocsin::correlation
