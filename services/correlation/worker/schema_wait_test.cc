// Events whose schema the registry does not know, or about which it does not answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lib/base/status.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/worker/worker.h"
#include "services/correlation/worker/worker_fixture.h"

namespace tocsin::correlation {
namespace {

using ::testing::HasSubstr;

// The events of testing::MakeCallRecord name it.
constexpr std::int32_t kCallSchema = 7;

class PlannedGate final : public SchemaGate {
 public:
  absl::Status Check(std::string_view stream, std::string_view prefix, milliseconds) override {
    EXPECT_EQ(stream, "calls.raw");
    ++asked;
    const std::int32_t id = schema::DecodeFrame(prefix)->id.value();
    if (away) return absl::UnavailableError("the registry is away");
    if (id == kCallSchema) return absl::OkStatus();
    return InvalidArgument(Concat("value: schema id ", id, " is not known"));
  }
  bool away = false;
  int asked = 0;
};

class SchemaWaitTest : public WorkerTest {
 protected:
  SchemaWaitTest() {
    wrap_ = [this](WorkerIo& io) { io.schemas = &gate_; };
  }
  static kafka::OutgoingRecord Naming(const Call& call, std::int32_t schema) {
    kafka::OutgoingRecord record = Outgoing(call);
    const auto framed = schema::DecodeFrame(*record.value);
    record.value = schema::EncodeFrame(schema::SchemaId(schema), framed->message_indexes,
                                       std::string(framed->payload));
    return record;
  }
  PlannedGate gate_;
};

TEST_F(SchemaWaitTest, AnUnknownSchemaGoesToTheDeadLettersAndThePartitionGoesOn) {
  std::vector<Call> calls = testing::RandomCalls(70, 120);
  auto worker = MakeWorker("w0");
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (i % 20 == 3) kafka_.Append(Naming(calls[i], 4711));
    Publish(calls, i, i + 1);
  }
  Settle({worker.get()});
  const auto dead = kafka_.Log("calls.raw.dlq");
  ASSERT_EQ(dead.size(), 6U);
  for (const kafka::Record& record : dead) {
    bool told = false;
    for (const auto& [name, value] : record.headers.entries()) {
      told = told || value.find("schema id 4711 is not known") != std::string::npos;
    }
    EXPECT_TRUE(told);
    EXPECT_TRUE(record.headers.Find(kTransactionHeader).has_value());
  }
  // The identity of what was refused is not taken: the same event with its schema counts.
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  EXPECT_LT(gate_.asked, 40) << "what is known is not asked again and again";
}

TEST_F(SchemaWaitTest, APartitionWaitsWhileNobodyKnowsAndLosesNothing) {
  const std::vector<Call> calls = testing::RandomCalls(71, 200);
  auto worker = MakeWorker("w0");
  Publish(calls, 0, 100);
  RunUntilIdle({worker.get()});
  const std::size_t before = kafka_.Log("calls.processed").size();
  EXPECT_EQ(before, 100U);
  // One partition meets a schema that is new to it; the others need no registry.
  gate_.away = true;
  kafka_.Append(Naming(calls[100], 4711));
  const std::int32_t held = kafka_.Log("calls.raw").back().partition;
  Publish(calls, 100, 200);
  RunUntilIdle({worker.get()});
  EXPECT_THAT(worker->status().problem, HasSubstr("waits for the schema registry"));
  EXPECT_THAT(worker->status().problem, HasSubstr("the registry is away"));
  EXPECT_EQ(worker->status().running, kPartitions);
  const std::size_t meanwhile = kafka_.Log("calls.processed").size();
  EXPECT_GT(meanwhile, before) << "the other partitions go on";
  EXPECT_LT(meanwhile, 200U) << "partition " << held << " stands";
  EXPECT_EQ(kafka_.Log("calls.raw.dlq").size(), 0U);
  // An abort and a new owner do not let it pass.
  kafka_.FailNext(Step::kSendOffsets, {Aborted("planned"), ErrorClass::kAbort});
  kafka_.Rebalance("correlation");
  RunUntilIdle({worker.get()});
  EXPECT_EQ(kafka_.Log("calls.raw.dlq").size(), 0U);
  gate_.away = false;
  Settle({worker.get()});
  EXPECT_EQ(worker->status().problem, "");
  EXPECT_EQ(kafka_.Log("calls.raw.dlq").size(), 1U);
  EXPECT_EQ(kafka_.Log("calls.processed").size(), 200U);
  testing::ExpectSame(Observed(), testing::BruteForce(calls, PublicSafetyRules()));
  EXPECT_EQ(Order("calls.processed"), [this] {
    auto order = Order("calls.raw");
    for (const kafka::Record& dead : kafka_.Log("calls.raw.dlq")) {
      auto& ids = order[dead.key.value_or("")];
      ids.erase(std::find(ids.begin(), ids.end(), *dead.headers.Find("ce_id")));
    }
    return order;
  }());
}

}  // namespace
}  // namespace tocsin::correlation
