#include "services/ingest/ingest_service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/events/event.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "services/ingest/testing/alerts.h"
#include "services/ingest/testing/served_ingest.h"

namespace tocsin::ingest {
namespace {
using kafka::testing::FakeKafka;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr const char* kTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

class IngestServiceTest : public ::testing::Test {
 protected:
  explicit IngestServiceTest(kafka::ProducerOptions producer = {}, ServiceOptions service = {}) {
    kafka_.CreateTopic("alerts.raw", 3);
    kafka_.CreateTopic("alerts.raw.dlq", 1);
    ingest_ = std::make_unique<ServedIngest>(kafka_.MakeProducer(std::move(producer)), "alerts.raw",
                                             service);
  }
  ~IngestServiceTest() override { kafka_.HoldDeliveries(false); }

  std::unique_ptr<rpc::ClientContext> Context(milliseconds timeout = std::chrono::seconds(10)) {
    auto context = std::make_unique<rpc::ClientContext>(timeout);
    context->SetToken(ingest_->mesh.Token("feed", {"producer"}));
    return context;
  }

  absl::StatusOr<v1::Receipt> Publish(const io::cloudevents::v1::CloudEvent& event,
                                      bool dead_letter = false,
                                      milliseconds timeout = std::chrono::seconds(10)) {
    v1::PublishRequest request;
    *request.mutable_event() = event;
    request.set_dead_letter(dead_letter);
    v1::PublishResponse response;
    const auto context = Context(timeout);
    const grpc::Status status = ingest_->stub->Publish(context.get(), request, &response);
    if (!status.ok()) return rpc::FromGrpc(status);
    return response.receipt();
  }

  struct BatchAnswer {
    absl::Status status;
    v1::PublishBatchResponse response;
  };
  BatchAnswer PublishBatch(const std::vector<io::cloudevents::v1::CloudEvent>& events,
                           std::size_t per_message = 10,
                           milliseconds timeout = std::chrono::seconds(10)) {
    BatchAnswer answer;
    const auto context = Context(timeout);
    auto writer = ingest_->stub->PublishBatch(context.get(), &answer.response);
    for (std::size_t i = 0; i < events.size();) {
      v1::PublishBatchRequest request;
      for (; i < events.size() && static_cast<std::size_t>(request.events_size()) < per_message;
           ++i) {
        *request.add_events() = events[i];
      }
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    answer.status = rpc::FromGrpc(writer->Finish());
    return answer;
  }

  FakeKafka kafka_;
  std::unique_ptr<ServedIngest> ingest_;
};

TEST_F(IngestServiceTest, TheReceiptSaysWhereTheEventLies) {
  auto event = AlertEvent("e1", Field(1, "NORRISTOWN"));
  (*event.mutable_attributes())["traceparent"].set_ce_string(kTrace);
  const auto receipt = Publish(event);
  ASSERT_THAT(receipt, IsOk());
  EXPECT_EQ(receipt->durability(), v1::DURABILITY_QUORUM);
  EXPECT_EQ(receipt->topic(), "alerts.raw");
  EXPECT_EQ(receipt->id(), "e1");
  const auto log = kafka_.Log("alerts.raw");
  ASSERT_THAT(log, SizeIs(1));
  EXPECT_EQ(log[0].partition, receipt->partition());
  EXPECT_EQ(log[0].offset, receipt->offset());
  EXPECT_THAT(log[0].key, Optional(std::string("NORRISTOWN")));
  const auto read = events::FromRecord(log[0]);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->schema_id, schema::SchemaId(7));
  EXPECT_EQ(read->data, Field(1, "NORRISTOWN"));
  EXPECT_TRUE(read->recorded_time.has_value());
  // The flow's beginning stays, this hop is its own.
  EXPECT_EQ(read->origin_traceparent, kTrace);
  EXPECT_TRUE(events::IsTraceparent(read->traceparent));
  EXPECT_NE(read->traceparent, kTrace);
}

TEST_F(IngestServiceTest, TheHopContinuesTheCallersTrace) {
  v1::PublishRequest request;
  *request.mutable_event() = AlertEvent("e1", Field(1, "X"));
  v1::PublishResponse response;
  const auto context = Context();
  telemetry::Span caller("test", {.parent = telemetry::TraceContext::FromTraceparent(kTrace)});
  context->SetParent(caller.context());
  ASSERT_TRUE(ingest_->stub->Publish(context.get(), request, &response).ok());
  const auto read = events::FromRecord(kafka_.Log("alerts.raw")[0]);
  ASSERT_THAT(read, IsOk());
  EXPECT_THAT(read->traceparent, StartsWith("00-0af7651916cd43dd8448eb211c80319c-"));
  EXPECT_THAT(read->origin_traceparent, StartsWith("00-0af7651916cd43dd8448eb211c80319c-"));
}

TEST_F(IngestServiceTest, ABadEventIsRefusedAndNotWritten) {
  EXPECT_THAT(Publish(AlertEvent("e1", "\x0a\xff")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("township")));
  auto unknown = AlertEvent("e1", "");
  unknown.set_type("test.v1.Alrt");
  EXPECT_THAT(Publish(unknown), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("did you mean 'test.v1.Alert'?")));
  EXPECT_THAT(kafka_.Log("alerts.raw"), SizeIs(0));
  EXPECT_THAT(kafka_.Log("alerts.raw.dlq"), SizeIs(0));
}

TEST_F(IngestServiceTest, ABadEventMayBeKeptInTheDlq) {
  EXPECT_THAT(Publish(AlertEvent("e1", "\x0a\xff"), /*dead_letter=*/true),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("Kept in alerts.raw.dlq, partition 0, offset 0")));
  const auto log = kafka_.Log("alerts.raw.dlq");
  ASSERT_THAT(log, SizeIs(1));
  EXPECT_THAT(log[0].value, Optional(std::string("\x0a\xff")));
  EXPECT_THAT(log[0].headers.Find("dlq.error.message"), Optional(HasSubstr("township")));
  EXPECT_TRUE(log[0].headers.Find("traceparent").has_value());
}

TEST_F(IngestServiceTest, TheCallerNeedsTheRoleOfAProducer) {
  v1::PublishRequest request;
  *request.mutable_event() = AlertEvent("e1", Field(1, "X"));
  v1::PublishResponse response;
  rpc::ClientContext context(std::chrono::seconds(5));
  context.SetToken(ingest_->mesh.Token("maria", {"viewer"}));
  EXPECT_THAT(rpc::FromGrpc(ingest_->stub->Publish(&context, request, &response)),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("producer")));
}

TEST_F(IngestServiceTest, WhatIsMissingInTheRegistryOrInKafkaIsNamed) {
  ingest_->schemas.Set(NotFound("no such subject"));
  EXPECT_THAT(Publish(AlertEvent("e1", Field(1, "X"))),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("no schema is registered under alerts.raw-value yet")));
  ingest_->schemas.Set(Unavailable("no answer"));
  EXPECT_THAT(Publish(AlertEvent("e1", Field(1, "X"))),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("Send the same events again")));
  ingest_->schemas.Set(AlertSubject());
  kafka_.FailNext(FakeKafka::Step::kDelivery, {.status = NotFound("unknown topic")});
  EXPECT_THAT(Publish(AlertEvent("e1", Field(1, "X"))),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("tocsin topics apply")));
}

TEST_F(IngestServiceTest, ANewSchemaIsTakenUp) {
  ASSERT_THAT(Publish(AlertEvent("e1", Field(1, "X"))), IsOk());
  ingest_->schemas.Set(AlertSubject(kAlertSchema, 8));
  ASSERT_THAT(Publish(AlertEvent("e2", Field(1, "X"))), IsOk());
  const auto log = kafka_.Log("alerts.raw");
  EXPECT_EQ(events::FromRecord(log[0])->schema_id, schema::SchemaId(7));
  EXPECT_EQ(events::FromRecord(log[1])->schema_id, schema::SchemaId(8));
}

TEST_F(IngestServiceTest, WithoutAnAnswerFromKafkaTheCallEndsBeforeItsDeadline) {
  kafka_.HoldDeliveries(true);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(Publish(AlertEvent("e1", Field(1, "X")), false, milliseconds(500)),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("Kafka did not confirm the event in time"),
                             HasSubstr("with the same id; copies count once"))));
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(490));
  const BatchAnswer batch = PublishBatch(
      {AlertEvent("e2", Field(1, "X")), AlertEvent("e3", "\x0a\xff")}, 10, milliseconds(500));
  EXPECT_THAT(batch.status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("did not confirm 1 of 2 events")));
}

TEST_F(IngestServiceTest, AChannelThatTriesAgainHearsTheReasonAndNotItsDeadline) {
  kafka_.HoldDeliveries(true);
  const auto stub = v1::IngestService::NewStub(
      ingest_->mesh.Channel("gateway", ingest_->server, {v1::IngestService::service_full_name()}));
  v1::PublishRequest request;
  *request.mutable_event() = AlertEvent("e1", Field(1, "X"));
  v1::PublishResponse response;
  const auto context = Context(milliseconds(1'000));
  EXPECT_THAT(rpc::FromGrpc(stub->Publish(context.get(), request, &response)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("Kafka did not confirm")));
  EXPECT_EQ(ingest_->producer->outstanding(), 1U) << "one attempt, one record";
}

TEST_F(IngestServiceTest, ABatchIsAnsweredInItsOrderAndKeepsTheOrderOfKeys) {
  std::vector<io::cloudevents::v1::CloudEvent> events;
  for (int i = 0; i < 95; ++i) {
    events.push_back(AlertEvent(Concat("e", i), Field(1, Concat("T", i % 7))));
  }
  events[50].set_binary_data("\x0a\xff");
  const BatchAnswer batch = PublishBatch(events);
  ASSERT_THAT(batch.status, IsOk());
  ASSERT_THAT(batch.response.receipts(), SizeIs(95));
  std::map<std::pair<int, std::int64_t>, std::string> log;
  for (const kafka::Record& record : kafka_.Log("alerts.raw")) {
    log[{record.partition, record.offset}] = std::string(*record.headers.Find("ce_id"));
  }
  EXPECT_EQ(log.size(), 94U);
  std::map<std::string, std::int64_t> last;
  for (int i = 0; i < 95; ++i) {
    const v1::Receipt& receipt = batch.response.receipts(i);
    EXPECT_EQ(receipt.id(), Concat("e", i));
    if (i == 50) {
      EXPECT_EQ(receipt.error_code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
      EXPECT_THAT(receipt.error_message(), HasSubstr("township"));
      continue;
    }
    EXPECT_EQ(receipt.error_code(), 0);
    EXPECT_EQ((log[{receipt.partition(), receipt.offset()}]), receipt.id());
    const std::string key = Concat("T", i % 7);
    if (last.contains(key)) {
      EXPECT_GT(receipt.offset(), last[key]);
    }
    last[key] = receipt.offset();
  }
}

// The registry is away for one event in the middle of a call. Were the later ones taken, they would
// lie before it when it is sent again.
TEST_F(IngestServiceTest, NothingOvertakesAnEventWhoseSchemaCouldNotBeRead) {
  std::vector<io::cloudevents::v1::CloudEvent> events;
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(Concat("e", i));
    events.push_back(AlertEvent(ids.back(), Field(1, "X")));
  }
  const auto logged = [&] {
    std::vector<std::string> first_copies;
    for (const kafka::Record& record : kafka_.Log("alerts.raw")) {
      const std::string id(*record.headers.Find("ce_id"));
      if (std::find(first_copies.begin(), first_copies.end(), id) == first_copies.end()) {
        first_copies.push_back(id);
      }
    }
    return first_copies;
  };
  ingest_->schemas.MissAfter(3);
  EXPECT_THAT(PublishBatch(events).status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("with the same ids")));
  ASSERT_THAT(ingest_->producer->Flush(std::chrono::seconds(5)), IsOk());
  EXPECT_THAT(logged(), ElementsAre("e0", "e1", "e2"));
  ASSERT_THAT(PublishBatch(events).status, IsOk());
  EXPECT_EQ(logged(), ids);

  // And by a stream, which ends there.
  const auto context = Context();
  auto stream = ingest_->stub->PublishStream(context.get());
  v1::PublishStreamRequest request;
  for (int i = 10; i < 13; ++i) *request.add_events() = AlertEvent(Concat("e", i), Field(1, "X"));
  ingest_->schemas.MissAfter(1);
  ASSERT_TRUE(stream->Write(request));
  v1::PublishStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.receipts(0).id(), "e10");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(absl::StatusCode::kUnavailable));
  ids.emplace_back("e10");
  EXPECT_EQ(logged(), ids);
}

// A text that is not UTF-8 makes a message that cannot be parsed. To gRPC it looks like the end of
// the stream: OK would say that everything which was sent is durable.
TEST_F(IngestServiceTest, WhatCannotBeParsedIsNotTakenForTheEnd) {
  const auto refused = [](const char* type) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    HasSubstr(Concat("is not a tocsin.ingest.v1.", type)));
  };
  {
    const auto context = Context();
    v1::PublishBatchResponse response;
    const auto writer = ingest_->stub->PublishBatch(context.get(), &response);
    v1::PublishBatchRequest request;
    *request.add_events() = AlertEvent("e0", Field(1, "X"));
    writer->Write(request);
    request.set_stream("\xff");
    writer->Write(request);
    request.clear_stream();
    writer->Write(request);
    writer->WritesDone();
    EXPECT_THAT(rpc::FromGrpc(writer->Finish()), refused("PublishBatchRequest"));
  }
  const auto context = Context();
  const auto stream = ingest_->stub->PublishStream(context.get());
  v1::PublishStreamRequest request;
  request.set_stream("\xff");
  stream->Write(request);
  stream->WritesDone();
  v1::PublishStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), refused("PublishStreamRequest"));
}

TEST_F(IngestServiceTest, AnEmptyBatchIsFine) {
  const BatchAnswer batch = PublishBatch({});
  EXPECT_THAT(batch.status, IsOk());
  EXPECT_THAT(batch.response.receipts(), SizeIs(0));
}

TEST_F(IngestServiceTest, AStreamIsAnsweredAsEventsBecomeDurable) {
  const auto context = Context();
  auto stream = ingest_->stub->PublishStream(context.get());
  for (int i = 0; i < 3; ++i) {
    v1::PublishStreamRequest request;
    *request.add_events() = AlertEvent(Concat("e", i), i == 1 ? "\x0a\xff" : Field(1, "X"));
    ASSERT_TRUE(stream->Write(request));
    v1::PublishStreamResponse response;
    // Each receipt comes while the stream is still open.
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_THAT(response.receipts(), SizeIs(1));
    EXPECT_EQ(response.receipts(0).id(), Concat("e", i));
    EXPECT_EQ(response.receipts(0).error_code() != 0, i == 1);
  }
  stream->WritesDone();
  v1::PublishStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), IsOk());
}

TEST_F(IngestServiceTest, AStopEndsStreamsAfterTheirReceipts) {
  const auto context = Context();
  auto stream = ingest_->stub->PublishStream(context.get());
  v1::PublishStreamRequest request;
  *request.add_events() = AlertEvent("e1", Field(1, "X"));
  kafka_.HoldDeliveries(true);
  ASSERT_TRUE(stream->Write(request));
  while (ingest_->producer->outstanding() == 0) std::this_thread::yield();
  ingest_->service.BeginStop();
  kafka_.HoldDeliveries(false);
  v1::PublishStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.receipts(0).id(), "e1");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_FALSE(stream->Finish().ok());
}

// Kafka does not confirm, and the process is told to stop: every call ends long before its own
// time, and says why.
class StoppingTest : public IngestServiceTest {
 protected:
  StoppingTest() : IngestServiceTest({}, {.stop_grace = milliseconds(100)}) {
    kafka_.HoldDeliveries(true);
  }
  // When `count` events wait for Kafka.
  void StopWith(std::size_t count) {
    while (ingest_->producer->outstanding() < count) std::this_thread::yield();
    stopped_ = std::chrono::steady_clock::now();
    ingest_->service.BeginStop();
  }
  void ExpectStopped(const absl::Status& status) const {
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kUnavailable,
                         AllOf(HasSubstr("ingest is stopping"), HasSubstr("with the same id"))));
    EXPECT_LT(std::chrono::steady_clock::now() - stopped_, std::chrono::seconds(3));
  }
  SteadyTime stopped_;
};

TEST_F(StoppingTest, ASingleEventIsToBeSentAgain) {
  std::thread stop([this] { StopWith(1); });
  const auto receipt = Publish(AlertEvent("e1", Field(1, "X")));
  stop.join();
  ExpectStopped(receipt.status());
}

TEST_F(StoppingTest, ABatchIsToBeSentAgain) {
  std::thread stop([this] { StopWith(2); });
  const BatchAnswer batch =
      PublishBatch({AlertEvent("e1", Field(1, "X")), AlertEvent("e2", Field(1, "X"))});
  stop.join();
  ExpectStopped(batch.status);
}

TEST_F(StoppingTest, ABatchThatIsNotCompleteEndsToo) {
  const auto context = Context();
  v1::PublishBatchResponse response;
  auto writer = ingest_->stub->PublishBatch(context.get(), &response);
  v1::PublishBatchRequest request;
  *request.add_events() = AlertEvent("e1", Field(1, "X"));
  ASSERT_TRUE(writer->Write(request));
  StopWith(1);
  ExpectStopped(rpc::FromGrpc(writer->Finish()));
}

TEST_F(StoppingTest, AStreamEndsToo) {
  const auto context = Context();
  auto stream = ingest_->stub->PublishStream(context.get());
  v1::PublishStreamRequest request;
  *request.add_events() = AlertEvent("e1", Field(1, "X"));
  ASSERT_TRUE(stream->Write(request));
  StopWith(1);
  v1::PublishStreamResponse response;
  while (stream->Read(&response)) {
    for (const v1::Receipt& receipt : response.receipts()) EXPECT_NE(receipt.error_code(), 0);
  }
  ExpectStopped(rpc::FromGrpc(stream->Finish()));
}

TEST_F(StoppingTest, AStreamWithoutEventsEndsWithAReason) {
  const auto context = Context();
  auto stream = ingest_->stub->PublishStream(context.get());
  v1::PublishStreamRequest request;
  ASSERT_TRUE(stream->Write(request));
  StopWith(0);
  v1::PublishStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  ExpectStopped(rpc::FromGrpc(stream->Finish()));
}

class PatientStopTest : public IngestServiceTest {
 protected:
  PatientStopTest() : IngestServiceTest({}, {.stop_grace = std::chrono::seconds(30)}) {}
};

TEST_F(PatientStopTest, WhatKafkaConfirmsWithinTheGraceIsConfirmed) {
  kafka_.HoldDeliveries(true);
  std::thread stop([this] {
    while (ingest_->producer->outstanding() == 0) std::this_thread::yield();
    ingest_->service.BeginStop();
    kafka_.HoldDeliveries(false);
  });
  EXPECT_THAT(Publish(AlertEvent("e1", Field(1, "X"))), IsOk());
  stop.join();
}

class ImpatientTest : public IngestServiceTest {
 protected:
  ImpatientTest() : IngestServiceTest({}, {.produce_timeout = milliseconds(200)}) {}
};

TEST_F(ImpatientTest, AStreamGivesUpEventsThatKafkaDoesNotConfirm) {
  kafka_.HoldDeliveries(true);
  const auto context = Context();
  auto stream = ingest_->stub->PublishStream(context.get());
  v1::PublishStreamRequest request;
  *request.add_events() = AlertEvent("e1", Field(1, "X"));
  ASSERT_TRUE(stream->Write(request));
  v1::PublishStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_THAT(response.receipts(), SizeIs(1));
  EXPECT_EQ(response.receipts(0).id(), "e1");
  EXPECT_EQ(response.receipts(0).error_code(), static_cast<int>(absl::StatusCode::kUnavailable));
  // The late confirmation is not told.
  kafka_.HoldDeliveries(false);
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), IsOk());
}

class SmallQueueTest : public IngestServiceTest {
 protected:
  static kafka::ProducerOptions SmallQueue() {
    kafka::ProducerOptions options;
    options.max_queued_records = 5;
    return options;
  }
  SmallQueueTest() : IngestServiceTest(SmallQueue(), {.produce_timeout = milliseconds(300)}) {}
};

TEST_F(SmallQueueTest, ABatchWaitsForRoomInTheQueue) {
  std::vector<io::cloudevents::v1::CloudEvent> events;
  for (int i = 0; i < 50; ++i) events.push_back(AlertEvent(Concat("e", i), Field(1, "X")));
  const BatchAnswer batch = PublishBatch(events);
  ASSERT_THAT(batch.status, IsOk());
  const auto log = kafka_.Log("alerts.raw");
  ASSERT_THAT(log, SizeIs(50));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(*log[static_cast<std::size_t>(i)].headers.Find("ce_id"), Concat("e", i));
  }
}

TEST_F(SmallQueueTest, AFullQueueRefusesWithAReason) {
  kafka_.HoldDeliveries(true);
  std::vector<io::cloudevents::v1::CloudEvent> events;
  for (int i = 0; i < 6; ++i) events.push_back(AlertEvent(Concat("e", i), Field(1, "X")));
  EXPECT_THAT(PublishBatch(events).status,
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("after a pause")));
  EXPECT_THAT(Publish(AlertEvent("e9", Field(1, "X"))),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("after a pause")));
}

}  // namespace
}  // namespace tocsin::ingest
