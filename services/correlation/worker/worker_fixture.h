// Workers on a Kafka in memory, for the tests of this folder.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/telemetry/metrics.h"
#include "services/correlation/testing/oracle.h"
#include "services/correlation/worker/worker.h"

namespace tocsin::correlation {

using kafka::ErrorClass;
using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Call;
using testing::PublicSafetyRules;
using testing::RuleSpec;
using Step = FakeKafka::Step;

inline constexpr std::int32_t kPartitions = 3;
inline constexpr char kByPlace[] = "correlation-calls.raw-by-place-repartition";

// Runs a transaction within Start.
class InlineCommitter final : public Committer {
 public:
  void Start(Run run) override { outcome_ = run(); }
  bool busy() const override { return outcome_.has_value(); }
  std::optional<TransactionOutcome> Take(std::chrono::nanoseconds) override {
    return std::exchange(outcome_, std::nullopt);
  }

 private:
  std::optional<TransactionOutcome> outcome_;
};

class SettableRules final : public RuleSource {
 public:
  void Set(const std::vector<RuleSpec>& rules) { SetPlan(testing::MakePlan(rules, kPartitions)); }
  void SetPlan(std::shared_ptr<const RulePlan> plan) {
    auto set = std::make_shared<RuleSet>();
    set->epoch = ++epoch_;
    set->plans = {std::move(plan)};
    MutexLock lock(mutex_);
    current_ = std::move(set);
  }
  std::shared_ptr<const RuleSet> Current() const override {
    MutexLock lock(mutex_);
    return current_;
  }

 private:
  std::int64_t epoch_ = 0;
  mutable Mutex mutex_;
  std::shared_ptr<const RuleSet> current_;
};

// A Kafka, its topics, and what workers need.
class WorkerWorld {
 public:
  explicit WorkerWorld(std::int32_t partitions = kPartitions) {
    // In memory where there is such a folder: hundreds of stores are opened and closed here.
    std::string pattern =
        std::filesystem::exists("/dev/shm") ? "/dev/shm/" : ::testing::TempDir() + "/";
    pattern += "tocsin-worker-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    for (const char* topic :
         {"calls.raw", "calls.processed", "calls.raw.dlq", "detections", "incidents.correlated",
          kByPlace, "correlation-calls.raw-changelog"}) {
      kafka_.CreateTopic(topic, partitions);
    }
    kafka_.CreateTopic("correlation-workers", 1);
    rules_.Set(PublicSafetyRules());
  }
  ~WorkerWorld() { std::filesystem::remove_all(folder_); }
  WorkerWorld(const WorkerWorld&) = delete;
  WorkerWorld& operator=(const WorkerWorld&) = delete;

  std::unique_ptr<Worker> MakeWorker(const std::string& id, const std::string& disk = "disk") {
    WorkerOptions options;
    options.id = id;
    options.state_folder = Concat(folder_, "/", disk);
    options.poll_timeout = milliseconds(0);
    options.max_batch = 7;
    options.commit_interval = {milliseconds(0), milliseconds(0)};
    if (configure_) configure_(options);
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    options.store.lose_unwritten_on_close = lose_unwritten_;
    // Restoring waits in real time where nothing else runs.
    WorkerIo io;
    io.rules = &rules_;
    io.clock = &clock_;
    io.make_consumer =
        [this](
            kafka::ConsumerOptions consumer) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer(std::move(consumer));
    };
    io.make_producer = [this](std::string transactional_id)
        -> absl::StatusOr<std::unique_ptr<kafka::TransactionalProducer>> {
      return kafka_.MakeTransactionalProducer(std::move(transactional_id));
    };
    io.make_plain_producer = [this]() -> absl::StatusOr<std::unique_ptr<kafka::Producer>> {
      return kafka_.MakeProducer();
    };
    io.make_committer = make_committer_;
    if (wrap_) wrap_(io);
    return std::make_unique<Worker>(options, io);
  }

  static kafka::OutgoingRecord Outgoing(const Call& call) {
    kafka::Record record = testing::MakeCallRecord(call);
    kafka::OutgoingRecord outgoing;
    outgoing.topic = std::move(record.topic);
    outgoing.key = std::move(record.key);
    outgoing.value = std::move(record.value);
    outgoing.headers = std::move(record.headers);
    return outgoing;
  }
  void Publish(const std::vector<Call>& calls, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < std::min(end, calls.size()); ++i) {
      kafka_.Append(Outgoing(calls[i]));
    }
  }

  static void Run(std::vector<Worker*> workers, int rounds) {
    for (int i = 0; i < rounds; ++i) {
      for (Worker* worker : workers) worker->Step();
    }
  }
  // As long as anything moves.
  static void RunUntilIdle(std::vector<Worker*> workers) {
    for (int idle = 0, rounds = 0; idle < 4 && rounds < 20'000; ++rounds) {
      bool progress = false;
      for (Worker* worker : workers) {
        const bool settled = worker->Step() == Worker::StepResult::kIdle;
        const WorkerStatus status = worker->status();
        progress = progress || !settled || !status.joined || status.running < status.tasks;
      }
      idle = progress ? 0 : idle + 1;
    }
  }
  // Then time passes, until silence has released everything.
  void Settle(std::vector<Worker*> workers) {
    RunUntilIdle(workers);
    for (int i = 0; i < 26; ++i) {
      clock_.Advance(milliseconds(1'000));
      RunUntilIdle(workers);
    }
  }
  // The ids of a topic's events by key, as they lie there.
  std::map<std::string, std::vector<std::string>> Order(std::string_view topic) {
    std::map<std::string, std::vector<std::string>> order;
    for (const kafka::Record& record : kafka_.Log(topic)) {
      order[record.key.value_or("")].emplace_back(record.headers.Find("ce_id").value_or(""));
    }
    return order;
  }
  static double Resets(const std::string& cause) {
    return telemetry::GetCounter("tocsin_correlation_position_resets_total", "",
                                 {{"topic", "calls.raw"}, {"cause", cause}})
        .value();
  }
  testing::Answers Observed() {
    return testing::Observed(kafka_.Log(kDetectionsTopic), kafka_.Log(kIncidentsTopic));
  }

  FakeClock clock_;
  FakeKafka kafka_{clock_};
  SettableRules rules_;
  std::string folder_;
  bool lose_unwritten_ = false;
  // Puts something between a worker and its world.
  std::function<void(WorkerIo&)> wrap_;
  std::function<void(WorkerOptions&)> configure_;
  std::function<std::unique_ptr<Committer>()> make_committer_ = [] {
    return std::make_unique<InlineCommitter>();
  };
};

class WorkerTest : public ::testing::Test, protected WorkerWorld {
 protected:
  // Not that of Test.
  using WorkerWorld::Run;
};

}  // namespace tocsin::correlation
