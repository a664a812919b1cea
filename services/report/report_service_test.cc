#include "services/report/report_service.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "lib/base/testing/status_matchers.h"
#include "lib/events/event.h"
#include "lib/events/testing/fake_registry.h"
#include "lib/kafka/testing/fake_kafka.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/server.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "services/report/intake.h"
#include "services/report/outbox.h"
#include "services/report/testing/records.h"
#include "services/report/testing/temporary_store.h"

namespace tocsin::report {
namespace {
using kafka::testing::FakeKafka;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::StartsWith;

class ReportServiceTest : public ::testing::Test {
 protected:
  ReportServiceTest() {
    kafka_.CreateTopic("detections", 1);
    kafka_.CreateTopic("incidents.correlated", 1);
    kafka_.CreateTopic("incidents.activity", 1);
    IncidentArrived arrived;
    arrived.incident.set_id("i1");
    arrived.incident.set_revision(1);
    arrived.incident.mutable_last_detection_time()->set_seconds(kStart);
    EXPECT_THAT(store_->Apply({arrived}, {}), IsOk());
    server_ = std::make_unique<rpc::Server>(mesh_.Options("report"));
    server_->AddService<v1::ReportService>(service_);
    EXPECT_THAT(server_->Start(), IsOk());
    stub_ = v1::ReportService::NewStub(mesh_.Channel("gateway", *server_));
    StartOutbox();
  }
  ~ReportServiceTest() override {
    server_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
    outbox_->Stop();
    producer_.reset();
  }

  void StartOutbox() {
    outbox_.reset();
    producer_ = kafka_.MakeProducer();
    outbox_ = std::make_unique<Outbox>(*store_, *producer_, registry_,
                                       OutboxOptions{.pause = std::chrono::milliseconds(10)});
    outbox_->Start();
  }
  // The outbox is on a thread of its own.
  std::vector<kafka::Record> AwaitActivities(std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::vector<kafka::Record> log;
    do {
      log = kafka_.Log("incidents.activity");
      std::this_thread::yield();
    } while (log.size() < count && std::chrono::steady_clock::now() < end);
    return log;
  }
  void AwaitEmptyOutbox() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!store_->Outbox(1).value().empty() && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
    EXPECT_THAT(store_->Outbox(1).value(), IsEmpty());
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::ReportService::Stub::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request, const std::string& name,
                                const std::string& role) {
    rpc::ClientContext context(std::chrono::seconds(5));
    context.SetToken(mesh_.Token(name, {role}));
    const telemetry::Span span("test",
                               {.parent = telemetry::TraceContext::FromTraceparent(kTrace)});
    context.SetParent(span.context());
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (!status.ok()) return rpc::FromGrpc(status);
    return response;
  }
  absl::StatusOr<v1::AcknowledgeResponse> Acknowledge(const std::string& name,
                                                      const std::string& role = "operator",
                                                      const std::string& etag = "") {
    v1::AcknowledgeRequest request;
    request.set_incident_id("i1");
    request.set_etag(etag);
    return Call(&v1::ReportService::Stub::Acknowledge, request, name, role);
  }

  rpc::testing::TestMesh mesh_;
  FakeKafka kafka_;
  events::testing::FakeRegistry registry_;
  TemporaryStore store_;
  std::unique_ptr<kafka::Producer> producer_;
  std::unique_ptr<Outbox> outbox_;
  ReportService service_{*store_, [this] { outbox_->Wake(); }};
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<v1::ReportService::Stub> stub_;
};

TEST_F(ReportServiceTest, ViewersListAndMayNotCommand) {
  const auto list =
      Call(&v1::ReportService::Stub::ListIncidents, v1::ListIncidentsRequest(), "maria", "viewer");
  ASSERT_THAT(list, IsOk());
  ASSERT_THAT(list->incidents(), SizeIs(1));
  EXPECT_EQ(list->incidents(0).state(), incident::v1::INCIDENT_STATE_OPEN);
  EXPECT_THAT(Acknowledge("maria", "viewer"),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("operator")));
  v1::GetIncidentRequest get;
  EXPECT_THAT(Call(&v1::ReportService::Stub::GetIncident, get, "maria", "viewer"),
              StatusIs(absl::StatusCode::kInvalidArgument, "id: is missing"));
  get.set_id("none");
  EXPECT_THAT(Call(&v1::ReportService::Stub::GetIncident, get, "maria", "viewer"),
              StatusIs(absl::StatusCode::kNotFound, "there is no incident none"));
}

TEST_F(ReportServiceTest, ACommandIsWrittenToTheTopicOnceUnderItsActor) {
  const auto answer = Acknowledge("maria");
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->incident().acknowledged_by(), "maria");
  ASSERT_THAT(Acknowledge("maria"), IsOk());
  EXPECT_THAT(Acknowledge("john"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("ACKNOWLEDGED by maria")));
  v1::ResolveRequest resolve;
  resolve.set_incident_id("i1");
  resolve.set_etag("old");
  EXPECT_THAT(Call(&v1::ReportService::Stub::Resolve, resolve, "john", "operator"),
              StatusIs(absl::StatusCode::kAborted, HasSubstr(answer->incident().etag())));
  resolve.set_etag(answer->incident().etag());
  ASSERT_THAT(Call(&v1::ReportService::Stub::Resolve, resolve, "john", "operator"), IsOk());

  const auto log = AwaitActivities(2);
  ASSERT_THAT(log, SizeIs(2));
  AwaitEmptyOutbox();
  EXPECT_THAT(kafka_.Log("incidents.activity"), SizeIs(2));
  EXPECT_THAT(log[0].key, Optional(std::string("i1")));
  // The command's trace goes on in the record.
  EXPECT_THAT(log[0].headers.Find("traceparent"),
              Optional(StartsWith("00-0af7651916cd43dd8448eb211c80319c-")));
  const auto event = events::FromRecord(log[1]);
  ASSERT_THAT(event, IsOk());
  incident::v1::IncidentActivity activity;
  ASSERT_THAT(events::ParseOwn(*event, activity), IsOk());
  EXPECT_EQ(activity.actor(), "john");
  EXPECT_EQ(activity.kind(), incident::v1::ACTIVITY_KIND_RESOLVED);
  EXPECT_EQ(event->id, activity.id());
  EXPECT_THAT(registry_.subjects(), ::testing::Contains("incidents.activity-value"));
}

TEST_F(ReportServiceTest, ActivitiesComeBackAndAreAppliedOnce) {
  const auto answer = Acknowledge("maria");
  ASSERT_THAT(answer, IsOk());
  AwaitActivities(1);
  auto admin = kafka_.MakeAdmin();
  Intake intake(
      [this]() -> absl::StatusOr<std::unique_ptr<kafka::Consumer>> {
        return kafka_.MakeConsumer({});
      },
      *admin, *store_, [](const absl::Status&) {},
      IntakeOptions{.poll = std::chrono::milliseconds(0)});
  for (int i = 0; i < 5; ++i) ASSERT_THAT(intake.RunOnce(), IsOk());
  const auto incident = store_->GetIncident("i1");
  EXPECT_THAT(incident->activities(), SizeIs(1));
  EXPECT_EQ(incident->incident().etag(), answer->incident().etag());
}

TEST_F(ReportServiceTest, CommandsAreTakenWhileKafkaOrTheRegistryIsAway) {
  registry_.FailWith(absl::UnavailableError("away"));
  ASSERT_THAT(Acknowledge("maria"), IsOk());
  EXPECT_THAT(kafka_.Log("incidents.activity"), IsEmpty());
  registry_.FailWith(absl::OkStatus());
  EXPECT_THAT(AwaitActivities(1), SizeIs(1));
}

TEST_F(ReportServiceTest, WhatWasNotConfirmedIsSentAgainUnderTheSameId) {
  // Kafka has it, the answer was lost.
  kafka_.FailNext(FakeKafka::Step::kDelivery,
                  {.status = absl::UnavailableError("cut"), .took_effect = true});
  ASSERT_THAT(Acknowledge("maria"), IsOk());
  const auto log = AwaitActivities(2);
  ASSERT_THAT(log, SizeIs(2));
  EXPECT_EQ(log[0].headers.Find("ce_id"), log[1].headers.Find("ce_id"));
  AwaitEmptyOutbox();
}

TEST_F(ReportServiceTest, ARestartSendsWhatWaits) {
  kafka_.HoldDeliveries(true);
  ASSERT_THAT(Acknowledge("maria"), IsOk());
  outbox_->Stop();
  kafka_.HoldDeliveries(false);
  EXPECT_THAT(store_->Outbox(10).value(), SizeIs(1));
  StartOutbox();
  AwaitEmptyOutbox();
}

}  // namespace
}  // namespace tocsin::report
