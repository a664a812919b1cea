// The server as it is in production: mutual TLS on a real port, real tokens, real channels.
#include "lib/rpc/server.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server_context.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "lib/auth/keys.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/end_call.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/testing/span_recorder.h"
#include "tocsin/rpc/testing/v1/echo.grpc.pb.h"

namespace tocsin::rpc {
namespace {

using absl::StatusCode;
using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using testing::TestMesh;
using ::testing::UnorderedElementsAre;
using testing::v1::EchoRequest;
using testing::v1::EchoResponse;
using testing::v1::EchoService;
using testing::v1::ForgetfulService;

constexpr std::chrono::seconds kSoon{10};

class EchoServiceImpl final : public EchoService::Service {
 public:
  grpc::Status Echo(grpc::ServerContext* context, const EchoRequest* request,
                    EchoResponse* response) override {
    response->set_calls(++calls);
    if (calls <= request->fail_times()) return ToGrpc(Unavailable("not yet"));
    const Caller caller(*context);
    response->set_name(caller.principal().name);
    for (const std::string& role : caller.principal().roles.Names()) response->add_roles(role);
    response->set_token(caller.token());
    response->set_time_left_ms(caller.TimeLeft().count());
    response->set_traceparent(caller.trace().ToTraceparent());
    response->set_thread_traceparent(telemetry::CurrentTraceContext().ToTraceparent());
    if (next != nullptr) {
      EchoRequest forwarded;
      ClientContext call(caller, std::chrono::seconds(60));
      return next->Echo(&call, forwarded, response);
    }
    return grpc::Status(static_cast<grpc::StatusCode>(request->code()), request->message());
  }
  grpc::Status Write(grpc::ServerContext*, const testing::v1::WriteRequest* request,
                     testing::v1::WriteResponse*) override {
    return ++calls <= request->fail_times() ? ToGrpc(Unavailable("not yet")) : grpc::Status::OK;
  }
  grpc::Status Collect(grpc::ServerContext* context,
                       grpc::ServerReader<testing::v1::CollectRequest>* reader,
                       testing::v1::CollectResponse* response) override {
    ++calls;
    std::thread other;
    if (on_collect) other = std::thread([this, context] { on_collect(*context); });
    testing::v1::CollectRequest request;
    while (reader->Read(&request)) response->set_count(response->count() + 1);
    if (other.joinable()) other.join();
    ++collected;
    return grpc::Status::OK;
  }
  grpc::Status Tail(grpc::ServerContext* context, const testing::v1::TailRequest*,
                    grpc::ServerWriter<testing::v1::TailResponse>* writer) override {
    ++calls;
    const Caller caller(*context);
    EXPECT_EQ(caller.TimeLeft(), std::chrono::milliseconds::max());
    testing::v1::TailResponse response;
    response.set_number(1);
    writer->Write(response);
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  }
  grpc::Status Talk(grpc::ServerContext*,
                    grpc::ServerReaderWriter<testing::v1::TalkResponse, testing::v1::TalkRequest>*
                        stream) override {
    ++calls;
    testing::v1::TalkRequest request;
    while (stream->Read(&request)) {
      testing::v1::TalkResponse response;
      response.set_number(request.number());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  std::atomic<int> calls{0};
  std::atomic<int> collected{0};
  // Called on another thread while Collect reads.
  std::function<void(grpc::ServerContext&)> on_collect;
  EchoService::Stub* next = nullptr;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    mesh_.GiveRoles("gateway", {"operator"});
    mesh_.GiveRoles("report", {"schema.read"});
  }

  void Start() {
    server_.emplace(mesh_.Options("ingest"));
    server_->AddService<EchoService>(service_);
    ASSERT_THAT(server_->Start(), IsOk());
  }

  std::unique_ptr<EchoService::Stub> Stub(const std::string& identity) {
    return EchoService::NewStub(
        mesh_.Channel(identity, *server_, {EchoService::service_full_name()}));
  }

  absl::StatusOr<EchoResponse> Echo(const std::string& identity, const std::string& token = {},
                                    const EchoRequest& request = {}) {
    const auto stub = Stub(identity);
    ClientContext context(kSoon);
    context.SetToken(token);
    EchoResponse response;
    TOCSIN_RETURN_IF_ERROR(FromGrpc(stub->Echo(&context, request, &response)));
    return response;
  }

  absl::Status Write(const std::string& identity, const std::string& token = {},
                     int fail_times = 0) {
    const auto stub = Stub(identity);
    ClientContext context(kSoon);
    context.SetToken(token);
    testing::v1::WriteRequest request;
    request.set_fail_times(fail_times);
    testing::v1::WriteResponse response;
    return FromGrpc(stub->Write(&context, request, &response));
  }

  HealthCheckResponse::ServingStatus Healthy(const std::string& service) {
    const auto stub = Health::NewStub(mesh_.Channel("nobody", *server_));
    ClientContext context(kSoon);
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const absl::Status status = FromGrpc(stub->Check(&context, request, &response));
    if (absl::IsNotFound(status)) return HealthCheckResponse::SERVICE_UNKNOWN;
    EXPECT_THAT(status, IsOk());
    return response.status();
  }

  TestMesh mesh_;
  EchoServiceImpl service_;
  std::optional<Server> server_;
};

// --- who may call ------------------------------------------------------------------------------

TEST_F(ServerTest, AccessMatrix) {
  Start();
  const std::string viewer = mesh_.Token("maria", {"viewer"});
  const std::string oper = mesh_.Token("otto", {"operator"});
  const std::string admin = mesh_.Token("root", {"admin"});
  const std::string producer = mesh_.Token("sensor", {"producer"});
  TestMesh other;
  const std::string forged = other.Token("maria", {"admin"});

  struct Case {
    const char* name;
    std::string identity;
    std::string token;
    StatusCode echo;   // needs viewer
    StatusCode write;  // needs operator
    std::string write_message;
  };
  const std::vector<Case> cases = {
      {"no token, unknown certificate", "nobody", "", StatusCode::kUnauthenticated,
       StatusCode::kUnauthenticated,
       "tocsin.rpc.testing.v1.EchoService/Write needs the role operator; the call shows no token, "
       "and the certificate 'nobody' has no roles in auth.mesh_roles. Get a token with `tocsin "
       "token --role operator` and send it as metadata `authorization: Bearer <token>`."},
      {"forged token", "nobody", forged, StatusCode::kUnauthenticated, StatusCode::kUnauthenticated,
       "Write"},
      {"forged token over a good certificate", "gateway", forged, StatusCode::kUnauthenticated,
       StatusCode::kUnauthenticated, "Write"},
      {"not a token", "gateway", "x", StatusCode::kUnauthenticated, StatusCode::kUnauthenticated,
       "Write"},
      {"viewer", "nobody", viewer, StatusCode::kOk, StatusCode::kPermissionDenied,
       "needs the role operator; maria has viewer"},
      {"viewer over the gateway's certificate", "gateway", viewer, StatusCode::kOk,
       StatusCode::kPermissionDenied, "maria has viewer"},
      {"operator", "nobody", oper, StatusCode::kOk, StatusCode::kOk, ""},
      {"admin", "nobody", admin, StatusCode::kOk, StatusCode::kOk, ""},
      {"producer", "nobody", producer, StatusCode::kPermissionDenied, StatusCode::kPermissionDenied,
       "`tocsin token --role operator`"},
      {"mesh certificate with the role", "gateway", "", StatusCode::kOk, StatusCode::kOk, ""},
      {"mesh certificate with another role", "report", "", StatusCode::kPermissionDenied,
       StatusCode::kPermissionDenied, "report has schema.read"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(Echo(c.identity, c.token), StatusIs(c.echo));
    EXPECT_THAT(Write(c.identity, c.token), StatusIs(c.write, HasSubstr(c.write_message)));
  }
}

TEST_F(ServerTest, WhoeverIsRefusedForLackOfARoleIsToldOf) {
  Mutex mutex;
  std::vector<Denial> denials;
  server_.emplace(mesh_.Options("ingest"));
  server_->AddService<EchoService>(service_);
  server_->OnDenied([&](const Denial& denial) {
    MutexLock lock(mutex);
    denials.push_back(denial);
  });
  ASSERT_THAT(server_->Start(), IsOk());
  EXPECT_THAT(Write("gateway", mesh_.Token("maria", {"viewer"})),
              StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(Write("report"), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(Write("nobody"), StatusIs(StatusCode::kUnauthenticated));
  EXPECT_THAT(Write("nobody", "forged"), StatusIs(StatusCode::kUnauthenticated));
  EXPECT_THAT(Write("gateway"), IsOk());
  MutexLock lock(mutex);
  ASSERT_THAT(denials, SizeIs(2));
  EXPECT_EQ(denials[0].caller, "maria");
  EXPECT_THAT(denials[0].peer, HasSubstr("gateway"));
  EXPECT_EQ(denials[0].method, "tocsin.rpc.testing.v1.EchoService/Write");
  EXPECT_THAT(denials[0].refusal,
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("maria has viewer")));
  EXPECT_EQ(denials[1].caller, "report");
}

TEST_F(ServerTest, TheHandlerKnowsItsCaller) {
  Start();
  const std::string token = mesh_.Token("maria", {"viewer", "producer"});
  auto response = Echo("gateway", token);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->name(), "maria");
  EXPECT_THAT(response->roles(), ElementsAre("viewer", "producer"));
  EXPECT_EQ(response->token(), token);

  response = Echo("gateway");
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->name(), "gateway");
  EXPECT_EQ(response->token(), "");
}

// Whatever the kind of a method, and whoever wrote its handler: no call without the check.
TEST_F(ServerTest, NoMethodOfAnyKindIsReachedWithoutAccess) {
  Start();
  const auto channel = mesh_.Channel("nobody", *server_);
  const auto* descriptor = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      EchoService::service_full_name());
  ASSERT_EQ(descriptor->method_count(), 5);
  std::vector<std::string> paths = {"/no.such.Service/Method",
                                    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"};
  for (int i = 0; i < descriptor->method_count(); ++i) {
    paths.push_back(Concat("/", descriptor->full_name(), "/", descriptor->method(i)->name()));
  }
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    grpc::GenericStub stub(channel);
    ClientContext context(kSoon);
    grpc::CompletionQueue queue;
    grpc::ByteBuffer request(nullptr, 0);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_THAT(FromGrpc(status),
                StatusIs(path.starts_with("/no.") ? StatusCode::kUnimplemented
                                                  : StatusCode::kUnauthenticated));
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
  }
  EXPECT_EQ(service_.calls, 0);
  EXPECT_THAT(telemetry::RenderMetrics(),
              HasSubstr("tocsin_rpc_refused_total{rpc_method=\"tocsin.rpc.testing.v1.EchoService/"
                        "Talk\",rpc_status_code=\"UNAUTHENTICATED\"} 1"));
}

class ForgetfulServiceImpl final : public ForgetfulService::Service {};

TEST_F(ServerTest, RefusesToServeAMethodWithoutTheAccessOption) {
  ForgetfulServiceImpl forgetful;
  Server server(mesh_.Options("ingest"));
  server.AddService<ForgetfulService>(forgetful);
  EXPECT_THAT(server.Start(), StatusIs(StatusCode::kInternal, AllOf(HasSubstr("ForgetfulService"),
                                                                    HasSubstr("Forgotten"))));
}

// --- who is let in -----------------------------------------------------------------------------

TEST_F(ServerTest, SpeaksToMembersOfItsMeshOnly) {
  Start();
  TestMesh foreign;
  const std::string target = Concat("127.0.0.1:", server_->port());
  const std::string token = mesh_.Token("root", {"admin"});
  config::v1::PeerConfig peer;
  peer.set_target(target);

  config::v1::TlsConfig foreign_leaf = foreign.Tls("gateway");
  config::v1::TlsConfig foreign_leaf_that_trusts_us = foreign_leaf;
  foreign_leaf_that_trusts_us.set_ca_file(mesh_.Tls("ingest").ca_file());
  struct Case {
    const char* name;
    std::shared_ptr<grpc::Channel> channel;
  };
  const std::vector<Case> cases = {
      {"plain text", grpc::CreateChannel(target, grpc::InsecureChannelCredentials())},
      {"no certificate", MakePublicChannel(target, mesh_.Tls("ingest").ca_file(), {}).value()},
      {"another authority", MakeChannel(peer, foreign_leaf, std::vector<std::string>{}).value()},
      {"a certificate of another authority",
       MakeChannel(peer, foreign_leaf_that_trusts_us, std::vector<std::string>{}).value()},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto stub = EchoService::NewStub(c.channel);
    ClientContext context(kSoon);
    context.SetToken(token);
    EchoResponse response;
    EXPECT_THAT(FromGrpc(stub->Echo(&context, {}, &response)), StatusIs(StatusCode::kUnavailable));
  }
  EXPECT_EQ(service_.calls, 0);
}

TEST_F(ServerTest, AClientRefusesAServerThatHasAnotherName) {
  auth::LeafOptions leaf;
  leaf.identity = "stranger";
  leaf.dns_names = {"elsewhere.example"};
  leaf.ip_addresses = {};
  mesh_.Tls(leaf);
  server_.emplace(mesh_.Options("stranger"));
  server_->AddService<EchoService>(service_);
  ASSERT_THAT(server_->Start(), IsOk());
  EXPECT_THAT(Echo("gateway"), StatusIs(StatusCode::kUnavailable));
  EXPECT_EQ(service_.calls, 0);
}

TEST_F(ServerTest, TakesNewCertificatesWithoutARestart) {
  Start();
  EXPECT_THAT(Echo("gateway"), IsOk());
  mesh_.Renew("ingest");
  // The first with a certificate of the new authority, and a new name, so that no connection is
  // there already.
  const std::string token = mesh_.Token("maria", {"viewer"});
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  absl::Status status = Unavailable("not tried");
  while (!status.ok() && std::chrono::steady_clock::now() < give_up) {
    status = Echo("newcomer", token).status();
  }
  EXPECT_THAT(status, IsOk());
  EXPECT_THAT(Echo("gateway"), Not(IsOk())) << "its certificate is of the former authority";
}

struct TlsCase {
  const char* name;
  void (*spoil)(TestMesh& mesh, config::v1::TlsConfig& tls);
  const char* message;
};

class TlsFiles : public ::testing::TestWithParam<TlsCase> {};

TEST_P(TlsFiles, ThatCannotBeUsedAreNamed) {
  TestMesh mesh;
  ServerOptions options = mesh.Options("ingest");
  GetParam().spoil(mesh, options.tls);
  Server server(options);
  EXPECT_THAT(server.Start(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, TlsFiles,
    ::testing::Values(
        TlsCase{"no_certificate", [](TestMesh&, auto& tls) { tls.clear_certificate_file(); },
                "tls.certificate_file is not set"},
        TlsCase{"no_ca", [](TestMesh&, auto& tls) { tls.clear_ca_file(); },
                "tls.ca_file is not set"},
        TlsCase{"missing_file", [](TestMesh&, auto& tls) { tls.set_key_file("/no/such/key"); },
                "/no/such/key"},
        TlsCase{"not_a_certificate",
                [](TestMesh&, auto& tls) { tls.set_certificate_file(tls.key_file()); },
                "is not a certificate in PEM form"},
        TlsCase{"not_a_key", [](TestMesh&, auto& tls) { tls.set_key_file(tls.ca_file()); },
                "is not a private key in PEM form"},
        TlsCase{"the_key_of_another",
                [](TestMesh& mesh, auto& tls) { tls.set_key_file(mesh.Tls("other").key_file()); },
                "does not belong to"}),
    [](const auto& param) { return param.param.name; });

TEST_F(ServerTest, APortInUseIsAnErrorThatSaysSo) {
  Start();
  ServerOptions options = mesh_.Options("report");
  options.listen = Concat("127.0.0.1:", server_->port());
  Server second(options);
  EXPECT_THAT(second.Start(), StatusIs(StatusCode::kFailedPrecondition,
                                       AllOf(HasSubstr(Concat("cannot listen on ", options.listen)),
                                             HasSubstr("Address already in use"))));
}

// --- time --------------------------------------------------------------------------------------

TEST_F(ServerTest, ACallWithoutADeadlineGetsTheDefault) {
  Start();
  const auto stub = Stub("gateway");
  grpc::ClientContext context;  // not ours, so that it has none
  EchoResponse response;
  ASSERT_THAT(FromGrpc(stub->Echo(&context, {}, &response)), IsOk());
  EXPECT_GT(response.time_left_ms(), 25'000);
  EXPECT_LE(response.time_left_ms(), 30'000);
}

TEST_F(ServerTest, TheDeadlineTokenAndTraceGoOnToTheNextServer) {
  mesh_.GiveRoles("ingest", {"viewer"});
  Start();
  EchoServiceImpl second_service;
  Server second(mesh_.Options("report"));
  second.AddService<EchoService>(second_service);
  ASSERT_THAT(second.Start(), IsOk());
  const auto next = EchoService::NewStub(mesh_.Channel("ingest", second));
  service_.next = next.get();

  telemetry::testing::SpanRecorder recorder;
  const std::string token = mesh_.Token("maria", {"viewer"});
  const auto response = Echo("gateway", token);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->name(), "maria");
  EXPECT_LE(response->time_left_ms(), 10'000);  // the first caller's, not the 60 s of the second

  server_->Stop(std::chrono::steady_clock::now() + kSoon);
  second.Stop(std::chrono::steady_clock::now() + kSoon);
  const auto spans = recorder.Find("tocsin.rpc.testing.v1.EchoService/Echo");
  ASSERT_THAT(spans, SizeIs(4));
  // client → server → client → server, one trace, each the child of the one before.
  std::map<std::string, telemetry::testing::RecordedSpan> by_parent;
  for (const auto& span : spans) {
    EXPECT_EQ(span.trace_id, spans[0].trace_id);
    EXPECT_EQ(span.attributes.at("rpc.system.name"), "grpc");
    EXPECT_EQ(span.attributes.at("rpc.response.status_code"), "OK");
    by_parent[span.parent_span_id] = span;
  }
  std::string parent;
  for (const auto kind : {telemetry::SpanKind::kClient, telemetry::SpanKind::kServer,
                          telemetry::SpanKind::kClient, telemetry::SpanKind::kServer}) {
    ASSERT_TRUE(by_parent.contains(parent)) << parent;
    EXPECT_EQ(by_parent[parent].kind, kind);
    parent = by_parent[parent].span_id;
  }
}

TEST_F(ServerTest, TheHandlersThreadHasTheServersSpanAndGivesItBack) {
  Start();
  const auto response = Echo("gateway");
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->traceparent(), response->thread_traceparent());
  EXPECT_NE(response->traceparent(), "");
  EXPECT_FALSE(telemetry::CurrentTraceContext().valid());
}

// One method by callbacks, beside synchronous ones.
class MixedService final : public EchoService::WithCallbackMethod_Write<EchoService::Service> {
 public:
  grpc::Status Echo(grpc::ServerContext* context, const EchoRequest*,
                    EchoResponse* response) override {
    response->set_traceparent(Caller(*context).trace().ToTraceparent());
    response->set_thread_traceparent(telemetry::CurrentTraceContext().ToTraceparent());
    return grpc::Status::OK;
  }
  grpc::ServerUnaryReactor* Write(grpc::CallbackServerContext* context,
                                  const testing::v1::WriteRequest*,
                                  testing::v1::WriteResponse*) override {
    caller = Caller(*context).principal().name;
    current = telemetry::CurrentTraceContext().valid();
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  std::string caller;
  bool current = true;
};

TEST_F(ServerTest, AServiceMayHaveCallbackMethodsBesideOthers) {
  MixedService mixed;
  server_.emplace(mesh_.Options("ingest"));
  server_->AddService<EchoService>(mixed, {"Write"});
  ASSERT_THAT(server_->Start(), IsOk());
  const auto response = Echo("gateway");
  ASSERT_THAT(response, IsOk());
  EXPECT_NE(response->traceparent(), "");
  EXPECT_EQ(response->traceparent(), response->thread_traceparent());
  ASSERT_THAT(Write("gateway"), IsOk());
  EXPECT_EQ(mixed.caller, "gateway");
  EXPECT_FALSE(mixed.current) << "its threads change";
}

TEST_F(ServerTest, ACallerOfAContextThatIsNotOursHasNoRights) {
  grpc::ServerContext context;
  const Caller caller(context);
  EXPECT_EQ(caller.principal().name, "");
  EXPECT_TRUE(caller.principal().roles.empty());
  EXPECT_EQ(caller.token(), "");
}

// --- retries -----------------------------------------------------------------------------------

TEST_F(ServerTest, OnlyMethodsThatAllowItAreTriedAgain) {
  Start();
  EchoRequest request;
  request.set_fail_times(2);
  const auto response = Echo("gateway", "", request);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->calls(), 3);

  service_.calls = 0;
  EXPECT_THAT(Write("gateway", "", 2), StatusIs(StatusCode::kUnavailable, "not yet"));
  EXPECT_EQ(service_.calls, 1);
}

TEST(ServiceConfig, NamesTheIdempotentMethodsOnly) {
  EXPECT_EQ(ServiceConfigJson({}), R"({"loadBalancingConfig":[{"round_robin":{}}]})");
  const std::string json = ServiceConfigJson({EchoService::service_full_name(), "no.such.Service"});
  EXPECT_THAT(json, HasSubstr(R"("method":"Echo")"));
  EXPECT_THAT(json, Not(HasSubstr(R"("method":"Write")")));
}

TEST(MakeChannel, NeedsATarget) {
  EXPECT_THAT(MakeChannel({}, {}, std::vector<std::string>{}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("target is not set")));
}

// --- errors ------------------------------------------------------------------------------------

TEST_F(ServerTest, CodesAndTextsArriveAsTheyWereGiven) {
  Start();
  for (int code = 1; code <= 16; ++code) {
    if (code == 14) continue;  // would be tried again
    EchoRequest request;
    request.set_code(code);
    request.set_message("field 'place': größer als 256 bytes\nsee the schema");
    EXPECT_THAT(Echo("gateway", "", request),
                StatusIs(static_cast<StatusCode>(code), request.message()));
  }
  EXPECT_THAT(telemetry::RenderMetrics(),
              HasSubstr("rpc_server_call_duration_seconds_count{rpc_method=\"tocsin.rpc.testing.v1."
                        "EchoService/Echo\",rpc_status_code=\"DATA_LOSS\"} 1"));
}

TEST_F(ServerTest, AClientCanTellWhoSaidNo) {
  Start();
  testing::v1::WriteRequest request;
  request.set_fail_times(1);
  testing::v1::WriteResponse response;
  ClientContext answered(kSoon);
  ASSERT_THAT(FromGrpc(Stub("gateway")->Write(&answered, request, &response)),
              StatusIs(StatusCode::kUnavailable, "not yet"));
  EXPECT_TRUE(ServerSaid(answered));

  const auto nobody = mesh_.Channel("gateway", *server_);
  server_.reset();
  ClientContext unanswered(kSoon);
  ASSERT_THAT(FromGrpc(EchoService::NewStub(nobody)->Write(&unanswered, request, &response)),
              StatusIs(StatusCode::kUnavailable));
  EXPECT_FALSE(ServerSaid(unanswered));
}

// --- health ------------------------------------------------------------------------------------

TEST_F(ServerTest, HealthTellsTheTruthToEveryMember) {
  Start();
  EXPECT_EQ(Healthy(""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Healthy(EchoService::service_full_name()), HealthCheckResponse::NOT_SERVING);
  server_->SetServing(true);
  EXPECT_EQ(Healthy(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(Healthy(EchoService::service_full_name()), HealthCheckResponse::SERVING);
  server_->SetServing(EchoService::service_full_name(), false);
  EXPECT_EQ(Healthy(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(Healthy(EchoService::service_full_name()), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Healthy("no.such.Service"), HealthCheckResponse::SERVICE_UNKNOWN);
}

TEST_F(ServerTest, HealthCanBeWatchedUntilTheServerStops) {
  Start();
  const auto stub = Health::NewStub(mesh_.Channel("nobody", *server_));
  StreamContext context;
  HealthCheckRequest request;
  const auto reader = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server_->SetServing(true);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);

  std::thread stop([this] { server_->Stop(std::chrono::steady_clock::now() + kSoon); });
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_THAT(FromGrpc(reader->Finish()), StatusIs(StatusCode::kUnavailable, "the server stops"));
  stop.join();
}

TEST_F(ServerTest, WatchingWhatIsNotThereSaysSoAndStaysOpen) {
  Start();
  const auto stub = Health::NewStub(mesh_.Channel("nobody", *server_));
  StreamContext context;
  HealthCheckRequest request;
  request.set_service("no.such.Service");
  const auto reader = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  context.TryCancel();
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_THAT(FromGrpc(reader->Finish()), StatusIs(StatusCode::kCancelled));
}

// --- reflection --------------------------------------------------------------------------------

template <typename Reflection, typename Request, typename Response>
void ExpectReflection(const std::shared_ptr<grpc::Channel>& channel, const std::string& token) {
  const auto stub = Reflection::NewStub(channel);
  StreamContext context(token);
  const auto stream = stub->ServerReflectionInfo(&context);
  Request request;
  request.set_list_services("");
  ASSERT_TRUE(stream->Write(request));
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names,
              UnorderedElementsAre("tocsin.rpc.testing.v1.EchoService", "grpc.health.v1.Health",
                                   "grpc.reflection.v1.ServerReflection",
                                   "grpc.reflection.v1alpha.ServerReflection"));
  request.set_file_containing_symbol("tocsin.rpc.testing.v1.EchoService");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  google::protobuf::FileDescriptorProto file;
  ASSERT_TRUE(file.ParseFromString(response.file_descriptor_response().file_descriptor_proto(0)));
  EXPECT_EQ(file.name(), "tocsin/rpc/testing/v1/echo.proto");
  stream->WritesDone();
  EXPECT_THAT(FromGrpc(stream->Finish()), IsOk());
}

TEST_F(ServerTest, ReflectionShowsTheServicesToAViewerInBothVersions) {
  Start();
  const auto channel = mesh_.Channel("nobody", *server_);
  const std::string viewer = mesh_.Token("maria", {"viewer"});
  ExpectReflection<grpc::reflection::v1::ServerReflection,
                   grpc::reflection::v1::ServerReflectionRequest,
                   grpc::reflection::v1::ServerReflectionResponse>(channel, viewer);
  ExpectReflection<grpc::reflection::v1alpha::ServerReflection,
                   grpc::reflection::v1alpha::ServerReflectionRequest,
                   grpc::reflection::v1alpha::ServerReflectionResponse>(channel, viewer);
}

TEST_F(ServerTest, ReflectionIsClosedToOthers) {
  Start();
  const auto stub =
      grpc::reflection::v1::ServerReflection::NewStub(mesh_.Channel("nobody", *server_));
  StreamContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  grpc::reflection::v1::ServerReflectionResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(FromGrpc(stream->Finish()),
              StatusIs(StatusCode::kUnauthenticated, HasSubstr("`tocsin token --role viewer`")));
}

// --- stop --------------------------------------------------------------------------------------

TEST_F(ServerTest, ACallMayBeEndedWithAReasonWhileItsHandlerReads) {
  Start();
  const auto stub = Stub("gateway");
  const std::string token = mesh_.Token("root", {"admin", "producer"});
  const absl::Status reason = Unavailable("the process is stopping");
  service_.on_collect = [&](grpc::ServerContext& context) { EndCall(context, reason); };
  {
    ClientContext context(kSoon);
    context.SetToken(token);
    testing::v1::CollectResponse response;
    const auto writer = stub->Collect(&context, &response);
    // Neither a message nor the end of them: the handler reads for as long as it may.
    EXPECT_THAT(FromGrpc(writer->Finish()),
                StatusIs(StatusCode::kUnavailable, "the process is stopping"));
  }
  // The handler has come to its end.
  server_->Stop(std::chrono::steady_clock::now() + kSoon);
  EXPECT_EQ(service_.collected, 1);
}

TEST_F(ServerTest, StopCancelsWhatDoesNotEndByTheDeadline) {
  Start();
  const auto stub = Stub("gateway");
  StreamContext context;
  const auto reader = stub->Tail(&context, {});
  testing::v1::TailResponse response;
  ASSERT_TRUE(reader->Read(&response));
  const auto begin = std::chrono::steady_clock::now();
  server_->Stop(begin + std::chrono::milliseconds(200));
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, std::chrono::milliseconds(190));
  EXPECT_LT(took, std::chrono::seconds(5));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace tocsin::rpc
