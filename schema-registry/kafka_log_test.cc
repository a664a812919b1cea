#include "schema-registry/kafka_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/broker.h"
#include "schema-registry/registry.h"
#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::unique_ptr<RegistryLog> MakeLog(const std::string& topic, bool may_create = true) {
  KafkaLogOptions options;
  options.connection = kafka::testing::BrokerConnection("schema-registry-test");
  options.topic = topic;
  options.may_create = may_create;
  auto log = MakeKafkaLog(std::move(options));
  EXPECT_THAT(log, IsOk());
  return log.ok() ? *std::move(log) : nullptr;
}

// A registry over the real broker, ready.
class Replica {
 public:
  Replica(const std::string& topic, std::int64_t node) : log_(MakeLog(topic)) {
    RegistryOptions options;
    options.node = node;
    options.write_timeout = std::chrono::seconds(30);
    options.read_timeout = std::chrono::seconds(10);
    registry_ = std::make_unique<Registry>(*log_, audit_, Clock::Real(), options);
    registry_->Start([this](const absl::Status& status) {
      MutexLock lock(mutex_);
      ready_ |= status.ok();
      changed_.NotifyAll();
    });
    MutexLock lock(mutex_);
    while (!ready_ && changed_.WaitFor(mutex_, std::chrono::seconds(30))) {
    }
    EXPECT_TRUE(ready_) << Describe(registry_->Ready());
  }
  ~Replica() { registry_->Stop(); }

  Registry& operator*() { return *registry_; }
  Registry* operator->() { return registry_.get(); }

 private:
  std::unique_ptr<RegistryLog> log_;
  FakeAudit audit_;
  std::unique_ptr<Registry> registry_;
  Mutex mutex_;
  CondVar changed_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
};

Draft DraftWithField(int number) {
  Draft draft;
  draft.text = Concat("syntax='proto3'; message M { int32 f", number, " = ", number, "; }");
  return draft;
}

TEST(KafkaLog, RacingReplicasGiveNoIdTwiceAndSeeAll) {
  const std::string topic = kafka::testing::UniqueName("schemas");
  Replica first(topic, 1);
  Replica second(topic, 2);
  constexpr int kEach = 25;
  const auto write = [](Registry& registry, int from) {
    for (int i = 1; i <= kEach; ++i) {
      const Draft draft = DraftWithField(from + i);
      EXPECT_THAT(registry.Register({}, "shared", draft), IsOk());
      const auto own = registry.Register({}, Concat("own-", from), draft);
      ASSERT_THAT(own, IsOk());
      EXPECT_EQ(*own->schema->text, draft.text);
    }
  };
  std::thread one([&] { write(*first, 0); });
  std::thread two([&] { write(*second, kEach); });
  one.join();
  two.join();
  for (Registry* registry : {&*first, &*second}) {
    const auto versions = registry->Versions("shared");
    ASSERT_THAT(versions, IsOk());
    EXPECT_THAT(*versions, SizeIs(2 * kEach));
    std::set<std::int32_t> ids;
    for (const std::int32_t version : *versions) {
      const auto at = registry->GetVersion("shared", version);
      ASSERT_THAT(at, IsOk());
      ids.insert(at->schema->id.value());
    }
    EXPECT_THAT(ids, SizeIs(2 * kEach)) << "an id was given twice";
    EXPECT_EQ(*ids.rbegin(), 2 * kEach) << "an id was left out";
    EXPECT_THAT(registry->Versions("own-0"), IsOkAndHolds(SizeIs(kEach)));
    EXPECT_THAT(registry->Versions(Concat("own-", kEach)), IsOkAndHolds(SizeIs(kEach)));
  }
  // Both wrote at the same time, so some must have lost a race, or the test shows nothing.
  EXPECT_GT(first->collisions() + second->collisions(), 0);

  Replica restarted(topic, 3);
  EXPECT_EQ(restarted->Versions("shared")->size(), std::size_t{2 * kEach});
  const auto next = restarted->Register({}, "other", DraftWithField(1000));
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->schema->id.value(), 2 * kEach + 1);
}

TEST(KafkaLog, EveryReplicaReadsWhatAnyHasAcknowledged) {
  const std::string topic = kafka::testing::UniqueName("schemas");
  Replica writer(topic, 1);
  Replica reader(topic, 2);
  for (int i = 1; i <= 20; ++i) {
    const auto version = writer->Register({}, "s", DraftWithField(i));
    ASSERT_THAT(version, IsOk());
    ASSERT_THAT(reader->GetSchema(version->schema->id), IsOk());
    const auto latest = reader->GetVersion("s", std::nullopt);
    ASSERT_THAT(latest, IsOk());
    ASSERT_EQ(latest->version, i);
  }
}

TEST(KafkaLog, ManyWritersShareRoundTrips) {
  const std::string topic = kafka::testing::UniqueName("schemas");
  constexpr int kWriters = 100;
  constexpr int kEach = 20;
  std::set<std::int32_t> ids;
  {
    Replica replica(topic, 1);
    Mutex mutex;
    std::vector<std::thread> writers;
    const auto begin = std::chrono::steady_clock::now();
    for (int writer = 0; writer < kWriters; ++writer) {
      writers.emplace_back([&, writer] {
        for (int i = 0; i < kEach; ++i) {
          const auto version = replica->Register({"ann", ""}, Concat("subject-", writer, "-", i),
                                                 DraftWithField(writer * kEach + i + 1));
          ASSERT_THAT(version, IsOk());
          EXPECT_EQ(version->version, 1);
          MutexLock lock(mutex);
          ids.insert(version->schema->id.value());
        }
      });
    }
    for (std::thread& writer : writers) writer.join();
    const auto took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    RecordProperty("registrations_ms", static_cast<int>(took.count()));
    EXPECT_EQ(replica->collisions(), 0) << "nobody else writes";
  }
  EXPECT_THAT(ids, SizeIs(kWriters * kEach));
  EXPECT_EQ(*ids.rbegin(), kWriters * kEach) << "an id was left out";
  Replica restarted(topic, 2);
  EXPECT_EQ(restarted->size().schemas, std::size_t{kWriters * kEach});
  EXPECT_EQ(restarted->GetVersion("subject-7-7", 1)->registered_by, "ann");
}

// Polls until the log says something other than that the broker is slow to answer.
absl::Status FirstWord(RegistryLog& log) {
  for (;;) {
    const auto chunk = log.Poll(milliseconds(100));
    if (chunk.status().code() != absl::StatusCode::kDeadlineExceeded) return chunk.status();
  }
}

TEST(KafkaLog, TopicThatIsNotCompactedIsRefused) {
  const std::string topic = kafka::testing::UniqueTopic("schemas");
  EXPECT_THAT(FirstWord(*MakeLog(topic)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("so Kafka would delete schemas after a while; set "
                                 "cleanup.policy=compact")));
}

TEST(KafkaLog, TopicWithSeveralPartitionsIsRefused) {
  const std::string topic =
      kafka::testing::UniqueTopic("schemas", 2, {{"cleanup.policy", "compact"}});
  EXPECT_THAT(FirstWord(*MakeLog(topic)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("has 2 partitions")));
}

TEST(KafkaLog, MissingTopicIsWaitedForWhereItMayNotBeMade) {
  const std::string topic = kafka::testing::UniqueName("schemas");
  EXPECT_THAT(FirstWord(*MakeLog(topic, /*may_create=*/false)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("does not exist; make it with")));
}

}  // namespace
}  // namespace tocsin::registry
