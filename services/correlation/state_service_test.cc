// Lag and state by gRPC, of workers that run: everything but the broker is real.
#include "services/correlation/state_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/server.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "services/correlation/testing/oracle.h"
#include "services/correlation/worker/output_verifier.h"
#include "services/correlation/worker/worker_pool.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using testing::RuleSpec;

constexpr std::int32_t kPartitions = 2;
constexpr char kByPlace[] = "correlation-calls.raw-by-place-repartition";

class FixedRules final : public RuleSource {
 public:
  FixedRules() : rules_(std::make_shared<RuleSet>()) {
    rules_->epoch = 1;
    RuleSpec rule;
    rule.id = "busy-place";
    rule.at_least = 50;
    rule.order = RuleOrder::kArrival;
    rules_->plans = {testing::MakePlan({rule}, kPartitions)};
  }
  std::shared_ptr<const RuleSet> Current() const override { return rules_; }

 private:
  std::shared_ptr<RuleSet> rules_;
};

class StateServiceTest : public ::testing::Test {
 protected:
  StateServiceTest() {
    std::string pattern = ::testing::TempDir() + "/tocsin-state-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    for (const char* topic :
         {"calls.raw", "calls.processed", "calls.raw.dlq", "calls.raw.late", "detections",
          "incidents.correlated", "aggregates", kByPlace, "correlation-calls.raw-changelog"}) {
      kafka_.CreateTopic(topic, kPartitions);
    }
    kafka_.CreateTopic("correlation-workers", 1);
    WorkerOptions options;
    options.state_folder = folder_;
    options.poll_timeout = milliseconds(5);
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    WorkerIo worker;
    worker.rules = &rules_;
    worker.clock = &Clock::Real();
    worker.make_consumer = make_consumer_;
    worker.make_producer =
        [this](std::string id) -> absl::StatusOr<std::unique_ptr<kafka::TransactionalProducer>> {
      return kafka_.MakeTransactionalProducer(std::move(id));
    };
    workers_.Start({"worker-0", "worker-1"}, options, worker);

    LagIo lag;
    lag.make_consumer = make_consumer_;
    lag.admin = admin_.get();
    lag.clock = &Clock::Real();
    lag_ = std::make_unique<LagReader>(std::move(lag), "correlation");
    StateServiceIo io;
    io.rules = &rules_;
    io.lag = lag_.get();
    io.clock = &Clock::Real();
    io.group = "correlation";
    io.ask = [this](const TaskId& task, const StateQuestions::Look& look,
                    SteadyTime deadline) -> absl::StatusOr<std::string> {
      if (elsewhere_) return NotFound("no worker of this process has the partition");
      return workers_.Ask(task, look, deadline);
    };
    io.make_consumer = make_consumer_;
    io.stream_key = [](std::string_view) { return "township"; };
    io.admin = admin_.get();
    io.output_topics = [](const RuleSet& rules) { return OutputTopics(rules, TaskOptions{}); };
    service_ = std::make_unique<StateService>(std::move(io));
    server_ = std::make_unique<rpc::Server>(mesh_.Options("correlation"));
    server_->AddService<v1::StateService>(*service_);
    EXPECT_THAT(server_->Start(), IsOk());
    stub_ = v1::StateService::NewStub(mesh_.Channel("gateway", *server_));
  }
  ~StateServiceTest() override {
    const SteadyTime deadline = std::chrono::steady_clock::now() + seconds(10);
    server_->Stop(deadline);
    EXPECT_TRUE(workers_.Stop(deadline));
    std::filesystem::remove_all(folder_);
  }

  void Publish(const std::string& place, int count) {
    for (int i = 0; i < count; ++i) {
      testing::Call call;
      call.place = place;
      call.township = "T";
      call.time = WallTime(std::chrono::hours(400'000)) + seconds(++row_);
      call.row = row_;
      const kafka::Record record = testing::MakeCallRecord(call);
      kafka_.Append({.topic = record.topic,
                     .key = record.key,
                     .value = record.value,
                     .headers = record.headers});
    }
  }

  absl::StatusOr<v1::GetLagResponse> GetLag() {
    rpc::ClientContext context(seconds(20));
    context.SetToken(mesh_.Token("maria", {"viewer"}));
    v1::GetLagResponse response;
    const grpc::Status status = stub_->GetLag(&context, {}, &response);
    if (!status.ok()) return rpc::FromGrpc(status);
    return response;
  }
  // Until everything has been handled, and every partition has its worker.
  v1::GetLagResponse AwaitNoLag() {
    const SteadyTime until = std::chrono::steady_clock::now() + seconds(20);
    for (;;) {
      const auto lag = GetLag();
      EXPECT_THAT(lag, IsOk());
      if (!lag.ok()) return {};
      bool done = true;
      for (const v1::PartitionLag& partition : lag->partitions()) {
        done = done && partition.records_behind() == 0 && partition.problem().empty() &&
               partition.owner().starts_with("worker-");
      }
      if (done) return *lag;
      if (std::chrono::steady_clock::now() > until) {
        ADD_FAILURE() << lag->DebugString() << workers_.problem();
        return *lag;
      }
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
  absl::StatusOr<v1::ShowStateResponse> Show(const std::string& rule, const std::string& key,
                                             const std::string& role = "operator",
                                             std::optional<int> partition = std::nullopt) {
    rpc::ClientContext context(seconds(20));
    context.SetToken(mesh_.Token("maria", {role}));
    v1::ShowStateRequest request;
    request.set_rule_id(rule);
    request.add_group_key(key);
    if (partition.has_value()) request.set_partition(*partition);
    v1::ShowStateResponse response;
    const grpc::Status status = stub_->ShowState(&context, request, &response);
    if (!status.ok()) return rpc::FromGrpc(status);
    return response;
  }

  std::string folder_;
  FakeKafka kafka_;
  const std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer_ =
          [this](
              kafka::ConsumerOptions consumer) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
    return kafka_.MakeConsumer(std::move(consumer));
  };
  std::unique_ptr<kafka::Admin> admin_ = kafka_.MakeAdmin();
  FixedRules rules_;
  WorkerPool workers_;
  std::atomic<bool> elsewhere_{false};
  std::unique_ptr<LagReader> lag_;
  rpc::testing::TestMesh mesh_;
  std::unique_ptr<StateService> service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<v1::StateService::Stub> stub_;
  std::int64_t row_ = 0;
};

TEST_F(StateServiceTest, TheLagOfEveryPartitionGoesBackToNothing) {
  Publish("A", 20);
  const v1::GetLagResponse lag = AwaitNoLag();
  EXPECT_EQ(lag.group(), "correlation");
  ASSERT_EQ(lag.partitions_size(), 4);
  std::int64_t read = 0;
  for (const v1::PartitionLag& partition : lag.partitions()) {
    EXPECT_EQ(partition.stream(), "calls.raw");
    EXPECT_EQ(partition.seconds_behind(), 0);
    if (partition.topic() == "calls.raw") read += partition.committed();
  }
  EXPECT_EQ(read, 20);
}

TEST_F(StateServiceTest, TheWorkersStoreAndTheChangelogSayTheSame) {
  Publish("A", 12);
  Publish("B", 3);
  AwaitNoLag();
  auto shown = Show("busy-place", "A");
  ASSERT_THAT(shown, IsOk());
  EXPECT_EQ(shown->events_size(), 12);
  EXPECT_EQ(shown->source(), v1::ShowStateResponse::SOURCE_STORE);
  EXPECT_THAT(shown->worker(), HasSubstr("worker-"));
  EXPECT_GT(shown->changelog_position(), 0);
  elsewhere_ = true;
  auto read = Show("busy-place", "A");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->source(), v1::ShowStateResponse::SOURCE_CHANGELOG);
  EXPECT_EQ(read->worker(), "");
  for (auto* one : {&*shown, &*read}) {
    one->clear_source();
    one->clear_worker();
    one->clear_changelog_position();
  }
  EXPECT_EQ(shown->SerializeAsString(), read->SerializeAsString());
}

TEST_F(StateServiceTest, AnotherPartitionHoldsNothingOfTheKey) {
  Publish("A", 2);
  AwaitNoLag();
  const auto held = Show("busy-place", "A");
  ASSERT_THAT(held, IsOk());
  const auto other = Show("busy-place", "A", "operator", 1 - held->partition());
  ASSERT_THAT(other, IsOk());
  EXPECT_TRUE(other->empty());
  EXPECT_THAT(Show("busy-place", "A", "operator", 2),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 to 1")));
}

TEST_F(StateServiceTest, WhatTheWorkersWriteIsWhole) {
  const WallTime begin = Clock::Real().Now() - seconds(1);
  Publish("A", 120);
  Publish("B", 60);
  AwaitNoLag();
  const auto verify =
      [&](const std::string& role) -> absl::StatusOr<std::vector<v1::VerifyResponse>> {
    rpc::StreamContext context(mesh_.Token("maria", {role}));
    v1::VerifyRequest request;
    request.mutable_from_time()->set_seconds(
        std::chrono::floor<seconds>(begin.time_since_epoch()).count());
    const auto reader = stub_->Verify(&context, request);
    std::vector<v1::VerifyResponse> responses;
    v1::VerifyResponse response;
    while (reader->Read(&response)) responses.push_back(response);
    const grpc::Status status = reader->Finish();
    if (!status.ok()) return rpc::FromGrpc(status);
    return responses;
  };
  auto responses = verify("operator");
  ASSERT_THAT(responses, IsOk());
  ASSERT_FALSE(responses->empty());
  const v1::VerifySummary whole = responses->back().summary();
  EXPECT_GT(whole.outputs(), 180) << "at least each event that was passed on";
  EXPECT_TRUE(whole.violations().empty()) << whole.DebugString();

  // The same output once more, as a fault would write it.
  kafka::Record again = kafka_.Log("detections").front();
  kafka_.Append({.topic = again.topic,
                 .partition = again.partition,
                 .key = again.key,
                 .value = again.value,
                 .headers = again.headers});
  responses = verify("operator");
  ASSERT_THAT(responses, IsOk());
  EXPECT_EQ(responses->back().summary().violations().at("repeated"), 1);
  EXPECT_THAT(verify("viewer"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(StateServiceTest, RightsAndQuestionsThatCannotBeAnswered) {
  EXPECT_THAT(Show("busy-place", "A", "viewer"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Show("busy-places", "A"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("busy-place")));
}

}  // namespace
}  // namespace tocsin::correlation
