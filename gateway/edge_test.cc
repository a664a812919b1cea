// The public face as it is in production: real connections in front, a real server of the mesh
// behind.
#include "gateway/edge.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "gateway/local.h"
#include "gateway/mesh.h"
#include "gateway/wire/grpc.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "lib/base/mutex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/http/server.h"
#include "lib/http/testing/clients.h"
#include "lib/rpc/caller.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/server.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "lib/telemetry/testing/span_recorder.h"
#include "tocsin/rpc/testing/v1/echo.grpc.pb.h"

namespace tocsin::gateway {
namespace {

namespace echo = rpc::testing::v1;
using absl::StatusCode;
using echo::EchoService;
using ::testing::HasSubstr;

// One behaviour for each kind of method.
class EchoServiceImpl final : public EchoService::Service {
 public:
  grpc::Status Echo(grpc::ServerContext* context, const echo::EchoRequest* request,
                    echo::EchoResponse* response) override {
    const rpc::Caller caller(*context);
    response->set_name(caller.principal().name);
    response->set_token(caller.token());
    response->set_time_left_ms(caller.TimeLeft().count());
    response->set_traceparent(caller.trace().ToTraceparent());
    context->AddInitialMetadata("x-initial", "one");
    context->AddTrailingMetadata("x-trailing", "two");
    context->AddTrailingMetadata("x-raw-bin", std::string("\0\xff", 2));
    return {static_cast<grpc::StatusCode>(request->code()), request->message()};
  }
  grpc::Status Collect(grpc::ServerContext*, grpc::ServerReader<echo::CollectRequest>* reader,
                       echo::CollectResponse* response) override {
    echo::CollectRequest request;
    int count = 0;
    while (reader->Read(&request)) ++count;
    response->set_count(count);
    return grpc::Status::OK;
  }
  // Numbers up to `tail_count`, then waits until the client is gone.
  grpc::Status Tail(grpc::ServerContext* context, const echo::TailRequest*,
                    grpc::ServerWriter<echo::TailResponse>* writer) override {
    echo::TailResponse response;
    for (int i = 1; i <= tail_count; ++i) {
      response.set_number(i);
      if (!writer->Write(response)) break;
    }
    MutexLock lock(mutex_);
    while (wait_for_cancel && !context->IsCancelled()) {
      changed_.WaitFor(mutex_, std::chrono::milliseconds(5));
    }
    cancelled_ = context->IsCancelled();
    changed_.NotifyAll();
    return grpc::Status::OK;
  }
  grpc::Status Talk(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<echo::TalkResponse, echo::TalkRequest>* stream) override {
    echo::TalkRequest request;
    while (stream->Read(&request)) {
      echo::TalkResponse response;
      response.set_number(2 * request.number());
      if (request.number() < 0) return {grpc::StatusCode::OUT_OF_RANGE, "below zero"};
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  bool AwaitCancelled() {
    MutexLock lock(mutex_);
    for (int i = 0; i < 1000 && !cancelled_; ++i) {
      changed_.WaitFor(mutex_, std::chrono::milliseconds(10));
    }
    return cancelled_;
  }

  std::atomic<int> tail_count{3};
  std::atomic<bool> wait_for_cancel{false};

 private:
  Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

class EdgeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    behind_ = std::make_unique<rpc::Server>(mesh_.Options("report"));
    behind_->AddService<EchoService>(echo_);
    ASSERT_THAT(behind_->Start(), IsOk());
    const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
    const std::vector<std::string> services = {
        std::string(EchoService::service_full_name()), "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"};
    MethodTable methods;
    auto reflection =
        MakeReflectionHandler(std::make_shared<const rpc::Reflection>(pool, services));
    board_.SetAll(rpc::HealthBoard::State::kServing);
    ASSERT_THAT(methods.Add(pool, services[0],
                            MakeMeshHandler(mesh_.Channel("gateway", *behind_, {services[0]}))),
                IsOk());
    ASSERT_THAT(methods.Add(pool, services[1], MakeHealthHandler(board_)), IsOk());
    ASSERT_THAT(methods.Add(pool, services[2], reflection), IsOk());
    ASSERT_THAT(methods.Add(pool, services[3], reflection), IsOk());
    auto access = rpc::AccessTable::Create(pool, services);
    ASSERT_THAT(access, IsOk());
    auto authenticator = rpc::Authenticator::Create(mesh_.Auth());
    ASSERT_THAT(authenticator, IsOk());
    EdgeOptions options;
    options.cors_origins = {"https://board.example"};
    edge_ = std::make_shared<Edge>(options, std::move(methods), *std::move(access),
                                   *std::move(authenticator));
    server_ = std::make_unique<http::Server>(http::ServerOptions{}, edge_);
    ASSERT_THAT(server_->Start(), IsOk());
    viewer_ = mesh_.Token("maria", {"viewer"});
    admin_ = mesh_.Token("root", {"admin"});
    auto channel = rpc::MakePublicChannel(Concat("127.0.0.1:", server_->port()), "", {});
    ASSERT_THAT(channel, IsOk());
    channel_ = *channel;
    stub_ = EchoService::NewStub(channel_);
  }

  void TearDown() override {
    edge_->Drain();
    server_->Stop(std::chrono::milliseconds(100));
    behind_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  }

  http::Headers WebHeaders(std::string_view type, std::string_view token) const {
    http::Headers headers{{"content-type", type}, {"x-grpc-web", "1"}};
    if (!token.empty()) headers.Add("authorization", Concat("Bearer ", token));
    return headers;
  }

  // An exchange over HTTP/1.1 on a connection of its own.
  http::PlainResponse Post(std::string_view path, const http::Headers& headers,
                           std::string_view body, std::string_view method = "POST") {
    http::RawSocket socket(server_->port());
    std::string request =
        Concat(method, " ", path, " HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(), "\r\n");
    for (const auto& field : headers) request += Concat(field.name, ": ", field.value, "\r\n");
    socket.Send(Concat(request, "\r\n", body));
    for (;;) {
      if (auto response = http::TakeResponse(socket.received)) return *response;
      if (!socket.Receive()) return {};
    }
  }

  static std::string Message(const google::protobuf::Message& message) {
    const std::string bytes = message.SerializeAsString();
    return FrameHeader(0, bytes.size()) + bytes;
  }
  static std::string Base64(std::string_view bytes) {
    return Base64Encode({http::Slice(std::string(bytes))});
  }

  static constexpr std::string_view kEcho = "/tocsin.rpc.testing.v1.EchoService/Echo";
  static constexpr std::string_view kTail = "/tocsin.rpc.testing.v1.EchoService/Tail";
  static constexpr std::string_view kWeb = "application/grpc-web+proto";
  static constexpr std::string_view kWebText = "application/grpc-web-text";

  rpc::testing::TestMesh mesh_;
  EchoServiceImpl echo_;
  rpc::HealthBoard board_;
  std::unique_ptr<rpc::Server> behind_;
  std::shared_ptr<Edge> edge_;
  std::unique_ptr<http::Server> server_;
  std::string viewer_, admin_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<EchoService::Stub> stub_;
};

TEST_F(EdgeTest, UnaryPassesTokenTraceTimeAndMetadata) {
  telemetry::testing::SpanRecorder recorder;
  rpc::ClientContext context(std::chrono::seconds(20));
  context.SetToken(viewer_);
  echo::EchoResponse response;
  ASSERT_THAT(rpc::FromGrpc(stub_->Echo(&context, {}, &response)), IsOk());
  EXPECT_EQ(response.name(), "maria");
  EXPECT_EQ(response.token(), viewer_);
  EXPECT_LE(response.time_left_ms(), 20'000);
  EXPECT_GT(response.time_left_ms(), 15'000);
  EXPECT_EQ(context.GetServerInitialMetadata().find("x-initial")->second, "one");
  EXPECT_EQ(context.GetServerTrailingMetadata().find("x-trailing")->second, "two");
  EXPECT_EQ(context.GetServerTrailingMetadata().find("x-raw-bin")->second,
            grpc::string_ref("\0\xff", 2));
  // The client's span → the gateway's → its call behind → the server's behind: one trace.
  std::map<std::string, telemetry::testing::RecordedSpan> by_id;
  for (const auto& span : recorder.Find("tocsin.rpc.testing.v1.EchoService/Echo")) {
    by_id[span.span_id] = span;
  }
  ASSERT_EQ(by_id.size(), 4u);
  std::string kinds;
  for (std::string id = response.traceparent().substr(36, 16); !id.empty();
       id = by_id[id].parent_span_id) {
    kinds += by_id[id].kind == telemetry::SpanKind::kServer ? "s" : "c";
  }
  EXPECT_EQ(kinds, "scsc");
}

TEST_F(EdgeTest, StatusesPassAsTheyAre) {
  rpc::ClientContext context(std::chrono::seconds(20));
  context.SetToken(viewer_);
  echo::EchoRequest request;
  request.set_code(static_cast<int>(StatusCode::kNotFound));
  request.set_message("nothing at „Größe“: 100%\n");
  echo::EchoResponse response;
  EXPECT_THAT(rpc::FromGrpc(stub_->Echo(&context, request, &response)),
              StatusIs(StatusCode::kNotFound, "nothing at „Größe“: 100%\n"));
}

TEST_F(EdgeTest, ClientStreamsPass) {
  rpc::ClientContext context(std::chrono::seconds(20));
  context.SetToken(admin_);
  echo::CollectResponse response;
  auto writer = stub_->Collect(&context, &response);
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(writer->Write({}));
  writer->WritesDone();
  ASSERT_THAT(rpc::FromGrpc(writer->Finish()), IsOk());
  EXPECT_EQ(response.count(), 5000);
}

TEST_F(EdgeTest, ServerStreamsPass) {
  echo_.tail_count = 50'000;
  rpc::ClientContext context(std::chrono::seconds(60));
  context.SetToken(viewer_);
  auto reader = stub_->Tail(&context, {});
  echo::TailResponse response;
  int expected = 0;
  while (reader->Read(&response)) ASSERT_EQ(response.number(), ++expected);
  EXPECT_THAT(rpc::FromGrpc(reader->Finish()), IsOk());
  EXPECT_EQ(expected, 50'000);
}

TEST_F(EdgeTest, BothDirectionsPass) {
  rpc::ClientContext context(std::chrono::seconds(20));
  context.SetToken(admin_);
  auto stream = stub_->Talk(&context);
  for (int i = 0; i < 100; ++i) {
    echo::TalkRequest request;
    request.set_number(i);
    ASSERT_TRUE(stream->Write(request));
    echo::TalkResponse response;
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_EQ(response.number(), 2 * i);
  }
  // The server ends while the client could still send.
  echo::TalkRequest request;
  request.set_number(-1);
  stream->Write(request);
  echo::TalkResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(StatusCode::kOutOfRange, "below zero"));
}

TEST_F(EdgeTest, AClientThatStopsTakingCanStillCancel) {
  echo_.tail_count = 1'000'000'000;
  http::Http2Client::Options options;
  options.auto_window = false;
  http::Http2Client client(server_->port(), options);
  const std::int32_t id = client.Start("POST", kTail, WebHeaders("application/grpc", viewer_),
                                       Message(echo::TailRequest()));
  ASSERT_TRUE(client.Until([&] { return client.stream(id).body.size() == 65535; }));
  client.Reset(id, 8);
  EXPECT_TRUE(echo_.AwaitCancelled());
}

TEST_F(EdgeTest, AClientThatCancelsCancelsTheCallBehind) {
  echo_.wait_for_cancel = true;
  rpc::ClientContext context(std::chrono::seconds(60));
  context.SetToken(viewer_);
  auto reader = stub_->Tail(&context, {});
  echo::TailResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  EXPECT_TRUE(echo_.AwaitCancelled());
}

TEST_F(EdgeTest, DeadlinesAreKept) {
  echo_.wait_for_cancel = true;
  rpc::ClientContext context(std::chrono::seconds(60));
  context.SetToken(viewer_);
  http::Http2Client client(server_->port());
  http::Headers headers = WebHeaders("application/grpc", viewer_);
  headers.Add("grpc-timeout", "200m");
  const auto stream = client.Call("POST", kTail, headers, Message(echo::TailRequest()));
  EXPECT_EQ(stream.trailers.Get("grpc-status"), "4");
  EXPECT_TRUE(echo_.AwaitCancelled());
}

TEST_F(EdgeTest, UnavailableWhenNobodyIsBehind) {
  behind_->Stop(std::chrono::steady_clock::now());
  rpc::ClientContext context(std::chrono::seconds(3));
  context.SetToken(viewer_);
  echo::EchoResponse response;
  const StatusCode code = rpc::FromGrpc(stub_->Echo(&context, {}, &response)).code();
  EXPECT_TRUE(code == StatusCode::kUnavailable || code == StatusCode::kDeadlineExceeded) << code;
}

TEST_F(EdgeTest, DrainEndsStreamsAndLetsUnaryCallsFinish) {
  echo_.wait_for_cancel = true;
  rpc::ClientContext context(std::chrono::seconds(60));
  context.SetToken(viewer_);
  auto reader = stub_->Tail(&context, {});
  echo::TailResponse response;
  ASSERT_TRUE(reader->Read(&response));
  edge_->Drain();
  while (reader->Read(&response)) {
  }
  EXPECT_THAT(rpc::FromGrpc(reader->Finish()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("the gateway is stopping")));
  EXPECT_TRUE(echo_.AwaitCancelled());
  rpc::ClientContext unary(std::chrono::seconds(20));
  unary.SetToken(viewer_);
  echo::EchoResponse answer;
  EXPECT_THAT(rpc::FromGrpc(stub_->Echo(&unary, {}, &answer)), IsOk());
  rpc::ClientContext late(std::chrono::seconds(60));
  late.SetToken(viewer_);
  EXPECT_THAT(rpc::FromGrpc(stub_->Tail(&late, {})->Finish()), StatusIs(StatusCode::kUnavailable));
}

// --- who may

struct Access {
  std::string_view path;
  std::string token;
  StatusCode code;
  std::string message;
};

TEST_F(EdgeTest, TokensAndRoles) {
  const std::vector<Access> table = {
      {kEcho, "", StatusCode::kUnauthenticated, "`tocsin token --role viewer`"},
      {kEcho, "forged.token.here", StatusCode::kUnauthenticated, "`tocsin token --role viewer`"},
      {kEcho, viewer_, StatusCode::kOk, ""},
      {"/tocsin.rpc.testing.v1.EchoService/Write", viewer_, StatusCode::kPermissionDenied,
       "needs the role operator"},
      {"/tocsin.rpc.testing.v1.EchoService/Nothing", admin_, StatusCode::kUnimplemented,
       "no method"},
      {"/tocsin.Nowhere/Nothing", admin_, StatusCode::kUnimplemented, "no method"},
  };
  for (const Access& row : table) {
    http::Http2Client client(server_->port());
    const auto stream = client.Call("POST", row.path, WebHeaders("application/grpc", row.token),
                                    Message(echo::EchoRequest()));
    EXPECT_EQ(stream.status, 200) << row.path;
    const auto& where = row.code == StatusCode::kOk ? stream.trailers : stream.headers;
    EXPECT_EQ(where.Get("grpc-status"), std::to_string(static_cast<int>(row.code)))
        << row.path << " " << row.message;
    EXPECT_THAT(std::string(where.Get("grpc-message").value_or("")), HasSubstr(row.message));
    // A status alone is one frame of headers.
    EXPECT_TRUE(stream.ended_by_headers);
    if (row.code != StatusCode::kOk) {
      EXPECT_EQ(stream.body, "");
    }
  }
}

TEST_F(EdgeTest, TwoTokensAreNone) {
  http::Http2Client client(server_->port());
  http::Headers headers = WebHeaders("application/grpc", viewer_);
  headers.Add("authorization", Concat("Bearer ", admin_));
  const auto stream = client.Call("POST", kEcho, headers, Message(echo::EchoRequest()));
  EXPECT_EQ(stream.headers.Get("grpc-status"), "16");
}

TEST_F(EdgeTest, HealthIsOpenReflectionIsNot) {
  auto health = grpc::health::v1::Health::NewStub(channel_);
  rpc::ClientContext context(std::chrono::seconds(20));
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_THAT(rpc::FromGrpc(health->Check(&context, {}, &response)), IsOk());
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);

  rpc::StreamContext watching;
  auto reader = health->Watch(&watching, {});
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  board_.SetAll(rpc::HealthBoard::State::kNotServing);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  watching.TryCancel();
  reader->Finish();

  rpc::StreamContext nobody;
  auto refused =
      grpc::reflection::v1::ServerReflection::NewStub(channel_)->ServerReflectionInfo(&nobody);
  EXPECT_THAT(rpc::FromGrpc(refused->Finish()), StatusIs(StatusCode::kUnauthenticated));
}

template <typename Reflection, typename Request, typename Response>
void ListServices(const std::shared_ptr<grpc::Channel>& channel, const std::string& token) {
  auto stub = Reflection::NewStub(channel);
  rpc::StreamContext context(token);
  auto stream = stub->ServerReflectionInfo(&context);
  Request request;
  request.set_list_services("");
  Response response;
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.list_services_response().service_size(), 4);
  request.set_file_containing_symbol("tocsin.rpc.testing.v1.EchoService");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_GE(response.file_descriptor_response().file_descriptor_proto_size(), 2);
  stream->WritesDone();
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), IsOk());
}

TEST_F(EdgeTest, ReflectionInBothVersions) {
  ListServices<grpc::reflection::v1::ServerReflection,
               grpc::reflection::v1::ServerReflectionRequest,
               grpc::reflection::v1::ServerReflectionResponse>(channel_, viewer_);
  ListServices<grpc::reflection::v1alpha::ServerReflection,
               grpc::reflection::v1alpha::ServerReflectionRequest,
               grpc::reflection::v1alpha::ServerReflectionResponse>(channel_, viewer_);
}

// --- gRPC-Web

TEST_F(EdgeTest, WebBinaryOverHttp1) {
  const auto response = Post(kTail, WebHeaders(kWeb, viewer_), Message(echo::TailRequest()));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.Get("content-type"), kWeb);
  std::string expected;
  for (const char number : {'\1', '\2', '\3'}) {
    expected += std::string("\0\0\0\0\2\x08", 6) + number;
  }
  expected += TrailerFrame({{"grpc-status", "0"}});
  EXPECT_EQ(response.body, expected);
}

TEST_F(EdgeTest, WebTextIsEncodedPieceByPiece) {
  const auto response =
      Post(kTail, WebHeaders(kWebText, viewer_), Base64(Message(echo::TailRequest())));
  EXPECT_EQ(response.headers.Get("content-type"), "application/grpc-web-text+proto");
  std::string expected;
  for (const char number : {'\1', '\2', '\3'}) {
    expected += Base64(std::string("\0\0\0\0\2\x08", 6) + number);
  }
  expected += Base64(TrailerFrame({{"grpc-status", "0"}}));
  EXPECT_EQ(response.body, expected);
}

TEST_F(EdgeTest, WebOverHttp2EndsWithData) {
  http::Http2Client client(server_->port());
  const auto stream =
      client.Call("POST", kEcho, WebHeaders(kWeb, viewer_), Message(echo::EchoRequest()));
  EXPECT_FALSE(stream.ended_by_headers);
  EXPECT_EQ(stream.headers.Get("x-initial"), "one");
  EXPECT_THAT(stream.body, HasSubstr("x-trailing: two\r\n"));
  // Binary metadata is in base64, once.
  EXPECT_THAT(stream.body, HasSubstr("x-raw-bin: AP8\r\n"));
  EXPECT_THAT(stream.body, HasSubstr("grpc-status: 0\r\n"));
}

TEST_F(EdgeTest, WebErrorsAreInTheHeadersAlone) {
  echo::EchoRequest request;
  request.set_code(5);
  request.set_message("grün");
  for (const std::string_view type : {kWeb, kWebText}) {
    const std::string body = type == kWeb ? Message(request) : Base64(Message(request));
    const auto response = Post(kEcho, WebHeaders(type, viewer_), body);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.headers.Get("grpc-status"), "5");
    EXPECT_EQ(response.headers.Get("grpc-message"), "gr%C3%BCn");
    EXPECT_EQ(response.headers.Get("x-trailing"), "two");
    EXPECT_EQ(response.body, "");
  }
}

struct Fault {
  std::string name;
  std::string type;
  std::string body;
  std::string status;
  std::string message;
};

TEST_F(EdgeTest, FaultyRequests) {
  const std::string one = Message(echo::EchoRequest());
  const std::vector<Fault> table = {
      {"no message", "application/grpc-web", "", "12", "sent none"},
      {"two messages", "application/grpc-web", one + one, "12", "sent more"},
      {"cut", "application/grpc-web", std::string("\0\0\0\0\5ab", 7), "13", "within a message"},
      {"too large", "application/grpc-web", std::string("\0\x10\0\0\0", 5), "3", "larger than"},
      {"compressed", "application/grpc-web", std::string("\1\0\0\0\0", 5), "13", "compressed"},
      {"trailers", "application/grpc-web", std::string("\x80\0\0\0\0", 5), "13", "flags"},
      {"no base64", "application/grpc-web-text", "AAAA*AAA", "13", "not base64"},
      {"cut base64", "application/grpc-web-text", "AAAAAAA", "13", "four characters"},
  };
  for (const Fault& fault : table) {
    const auto response = Post(kEcho, WebHeaders(fault.type, viewer_), fault.body);
    EXPECT_EQ(response.headers.Get("grpc-status"), fault.status) << fault.name;
    EXPECT_THAT(std::string(response.headers.Get("grpc-message").value_or("")),
                HasSubstr(fault.message))
        << fault.name;
  }
  http::Headers headers = WebHeaders(kWeb, viewer_);
  headers.Add("grpc-encoding", "gzip");
  const auto compressed = Post(kEcho, headers, one);
  EXPECT_EQ(compressed.headers.Get("grpc-status"), "12");
  EXPECT_EQ(compressed.headers.Get("grpc-accept-encoding"), "identity");
  http::Headers timeout = WebHeaders(kWeb, viewer_);
  timeout.Add("grpc-timeout", "soon");
  EXPECT_EQ(Post(kEcho, timeout, one).headers.Get("grpc-status"), "3");
}

TEST_F(EdgeTest, WhatIsNoCallAtAll) {
  EXPECT_EQ(Post(kEcho, {{"content-type", "application/json"}}, "{}").status, 415);
  EXPECT_EQ(Post(kEcho, {}, "", "GET").status, 405);
  EXPECT_EQ(Post("/nothing", {}, "", "GET").status, 404);
  EXPECT_EQ(Post("/nothing", {{"content-type", "text/plain"}}, "").status, 404);
  EXPECT_EQ(Post(kEcho, WebHeaders("application/grpc", viewer_), "").status, 505);
}

TEST_F(EdgeTest, PagesOfAllowedOriginsMayCall) {
  // The question comes without a token and is answered before anybody asks for one.
  const auto preflight = Post(kEcho,
                              {{"origin", "https://board.example"},
                               {"access-control-request-method", "POST"},
                               {"access-control-request-headers", "authorization,x-grpc-web"}},
                              "", "OPTIONS");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.Get("access-control-allow-origin"), "https://board.example");
  EXPECT_THAT(std::string(*preflight.headers.Get("access-control-allow-headers")),
              HasSubstr("authorization"));
  EXPECT_EQ(preflight.headers.Get("access-control-max-age"), "7200");
  EXPECT_EQ(preflight.headers.Get("vary"), "Origin");

  // Errors can be read as well.
  http::Headers headers = WebHeaders(kWeb, "");
  headers.Add("origin", "https://board.example");
  const auto refused = Post(kEcho, headers, Message(echo::EchoRequest()));
  EXPECT_EQ(refused.headers.Get("grpc-status"), "16");
  EXPECT_EQ(refused.headers.Get("access-control-allow-origin"), "https://board.example");
  headers.Add("authorization", Concat("Bearer ", viewer_));
  echo::EchoRequest request;
  request.set_code(5);
  const auto error = Post(kEcho, headers, Message(request));
  EXPECT_THAT(std::string(*error.headers.Get("access-control-expose-headers")),
              HasSubstr("x-trailing"));

  const auto foreign =
      Post(kEcho, {{"origin", "https://evil.example"}, {"access-control-request-method", "POST"}},
           "", "OPTIONS");
  EXPECT_EQ(foreign.headers.Get("access-control-allow-origin"), std::nullopt);
  EXPECT_EQ(foreign.headers.Get("vary"), "Origin");
}

}  // namespace
}  // namespace tocsin::gateway
