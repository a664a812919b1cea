// Rules by gRPC, into workers that run: everything but the broker and the registry is real.
#include "services/correlation/rules_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/events/schema_cache.h"
#include "lib/events/testing/fake_registry.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/server.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "services/correlation/rule_keeper/streams.h"
#include "services/correlation/testing/test_rule.h"
#include "services/correlation/worker/worker_pool.h"

namespace tocsin::correlation {
namespace {

using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

std::string RuleText(int at_least, std::string_view field = "township") {
  return Concat("id: surge\nstream: calls.raw\nwhere: agency == 'EMS'\n",
                "correlation:\n  type: event_count\n  group-by: [", field,
                "]\n  timespan: 10m\n  condition: {gte: ", at_least, "}\n");
}

class RulesServiceTest : public ::testing::Test {
 protected:
  RulesServiceTest() {
    std::string pattern = ::testing::TempDir() + "/tocsin-rules-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    kafka_.CreateTopic("correlation.rules", 1);
    for (const char* topic : {"calls.raw", "calls.raw.dlq", "detections", "incidents.correlated"}) {
      kafka_.CreateTopic(topic, 2);
    }
    EXPECT_THAT(
        registry_.Register("calls.raw-value",
                           "syntax = \"proto3\"; package test;\nmessage Call { string place "
                           "= 1; string township = 2; string agency = 3; }\n",
                           {}),
        IsOk());
    pack::v1::Stream stream;
    stream.set_topic("calls.raw");
    stream.set_message_type("test.Call");
    stream.set_partition_key("township");
    stream.set_partitions(2);
    schemas_ = events::MakeSchemaCache(registry_, Clock::Real());
    streams_ = std::make_unique<RegistryStreams>(std::vector{stream}, *schemas_);
    admin_ = kafka_.MakeAdmin();
    producer_ = kafka_.MakeProducer();

    RuleKeeperIo keeper;
    keeper.streams = streams_.get();
    keeper.admin = admin_.get();
    keeper.producer = producer_.get();
    keeper.make_consumer = [this]() -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer({});
    };
    keeper.clock = &Clock::Real();
    keeper.running_epoch = [this] { return workers_.running_epoch(); };
    keeper_ = std::make_unique<RuleKeeper>(std::move(keeper), RuleKeeperOptions{.replication = 1});
    keeper_->Start(
        {ToSpec(stream)},
        events::OwnTopic("correlation.rules", tocsin::rule::v1::RuleVersion::descriptor(),
                         "/tocsin/correlation", {schema::SchemaId(9), {0}}));
    EXPECT_THAT(keeper_->Poll(milliseconds(0)), IsOk());
    control_ = std::thread([this] {
      while (!stop_) (void)keeper_->Poll(milliseconds(5));
    });

    WorkerOptions options;
    options.state_folder = folder_;
    options.poll_timeout = milliseconds(5);
    options.task.detection_schema.id = schema::SchemaId(1);
    options.task.incident_schema.id = schema::SchemaId(2);
    WorkerIo io;
    io.rules = keeper_.get();
    io.clock = &Clock::Real();
    io.make_consumer =
        [this](
            kafka::ConsumerOptions consumer) -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
      return kafka_.MakeConsumer(std::move(consumer));
    };
    io.make_producer =
        [this](std::string id) -> absl::StatusOr<std::unique_ptr<kafka::TransactionalProducer>> {
      return kafka_.MakeTransactionalProducer(std::move(id));
    };
    workers_.Start({"worker-0", "worker-1"}, options, io);

    service_ = std::make_unique<RulesService>(*keeper_);
    server_ = std::make_unique<rpc::Server>(mesh_.Options("correlation"));
    server_->AddService<v1::RuleService>(*service_);
    EXPECT_THAT(server_->Start(), IsOk());
    stub_ = v1::RuleService::NewStub(mesh_.Channel("gateway", *server_));
  }
  ~RulesServiceTest() override {
    const SteadyTime deadline = std::chrono::steady_clock::now() + seconds(10);
    server_->Stop(deadline);
    EXPECT_TRUE(workers_.Stop(deadline));
    stop_ = true;
    control_.join();
    std::filesystem::remove_all(folder_);
  }

  absl::StatusOr<v1::ApplyRuleResponse> Apply(const std::string& text,
                                              const std::string& role = "rule-author") {
    rpc::ClientContext context(seconds(20));
    context.SetToken(mesh_.Token("maria", {role}));
    v1::ApplyRuleRequest request;
    request.set_source(text);
    request.set_file_name("surge.yaml");
    v1::ApplyRuleResponse response;
    const grpc::Status status = stub_->ApplyRule(&context, request, &response);
    if (!status.ok()) return rpc::FromGrpc(status);
    return response;
  }
  absl::Status Delete(const std::string& id) {
    rpc::ClientContext context(seconds(20));
    context.SetToken(mesh_.Token("maria", {"rule-author"}));
    v1::DeleteRuleRequest request;
    request.set_id(id);
    v1::DeleteRuleResponse response;
    return rpc::FromGrpc(stub_->DeleteRule(&context, request, &response));
  }
  int Listed() {
    rpc::ClientContext context(seconds(20));
    context.SetToken(mesh_.Token("maria", {"viewer"}));
    v1::ListRulesResponse response;
    EXPECT_THAT(rpc::FromGrpc(stub_->ListRules(&context, {}, &response)), IsOk());
    return response.rules_size();
  }

  void Publish(int count) {
    for (int i = 0; i < count; ++i) {
      ++row_;
      testing::Call call;
      call.place = "p";
      call.township = "T";
      call.time = WallTime(std::chrono::hours(400'000)) + seconds(row_);
      call.row = row_;
      kafka::Record record = testing::MakeCallRecord(call);
      kafka::OutgoingRecord outgoing;
      outgoing.topic = record.topic;
      outgoing.key = record.key;
      outgoing.value = record.value;
      outgoing.headers = record.headers;
      kafka_.Append(outgoing);
    }
  }
  // What has been published is behind every worker.
  void AwaitRead() {
    const SteadyTime until = std::chrono::steady_clock::now() + seconds(20);
    for (;;) {
      bool behind = false;
      const kafka::Offsets committed = kafka_.Committed("correlation");
      for (std::int32_t p = 0; p < 2; ++p) {
        const std::int64_t end = kafka_.EndOffset({"calls.raw", p});
        const auto at = committed.find({"calls.raw", p});
        behind = behind || (end > 0 && (at == committed.end() || at->second < end));
      }
      if (!behind) return;
      ASSERT_LT(std::chrono::steady_clock::now(), until) << workers_.problem();
      std::this_thread::yield();
    }
  }
  std::size_t Detections() const { return kafka_.Log("detections").size(); }

  std::string folder_;
  FakeKafka kafka_;
  events::testing::FakeRegistry registry_;
  std::unique_ptr<events::SchemaCache> schemas_;
  std::unique_ptr<RegistryStreams> streams_;
  std::unique_ptr<kafka::Admin> admin_;
  std::unique_ptr<kafka::Producer> producer_;
  WorkerPool workers_;
  std::unique_ptr<RuleKeeper> keeper_;
  std::atomic<bool> stop_{false};
  std::thread control_;
  rpc::testing::TestMesh mesh_;
  std::unique_ptr<RulesService> service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<v1::RuleService::Stub> stub_;
  std::int64_t row_ = 0;
};

TEST_F(RulesServiceTest, EveryLaterEventIsJudgedByTheAppliedRule) {
  auto applied = Apply(RuleText(2));
  ASSERT_THAT(applied, IsOk());
  EXPECT_TRUE(applied->changed());
  EXPECT_EQ(applied->rule().version(), 1);
  Publish(2);
  AwaitRead();
  EXPECT_EQ(Detections(), 1U);
  // Once more: nothing changes. Then it does.
  applied = Apply(RuleText(2));
  ASSERT_THAT(applied, IsOk());
  EXPECT_FALSE(applied->changed());
  applied = Apply(RuleText(3));
  ASSERT_THAT(applied, IsOk());
  EXPECT_EQ(applied->rule().version(), 2);
  Publish(3);
  AwaitRead();
  EXPECT_EQ(Detections(), 2U);
  // Over another key, which needs a topic of its own; the members of the group join again for it.
  ASSERT_THAT(Apply(RuleText(2, "place")), IsOk());
  EXPECT_EQ(Listed(), 1);
  ASSERT_THAT(Delete("surge"), IsOk());
  EXPECT_EQ(Listed(), 0);
  const std::size_t before = Detections();
  Publish(5);
  AwaitRead();
  EXPECT_EQ(Detections(), before);
}

TEST_F(RulesServiceTest, RefusalsAreReadable) {
  EXPECT_THAT(Apply("id: surge\nstream: calls.raws\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::AllOf(HasSubstr("surge.yaml:2:"), HasSubstr("calls.raw"))));
  EXPECT_THAT(Apply(RuleText(2, "townchip")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("township")));
  EXPECT_THAT(Apply(RuleText(2), "viewer"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Delete(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Delete("surge"), StatusIs(absl::StatusCode::kNotFound));
  rpc::ClientContext context(seconds(20));
  context.SetToken(mesh_.Token("maria", {"viewer"}));
  v1::ValidateRuleRequest request;
  request.set_source(RuleText(2));
  v1::ValidateRuleResponse response;
  ASSERT_THAT(rpc::FromGrpc(stub_->ValidateRule(&context, request, &response)), IsOk());
  EXPECT_EQ(response.rule().id(), "surge");
  EXPECT_EQ(Listed(), 0) << "validating stores nothing";
}

}  // namespace
}  // namespace tocsin::correlation
