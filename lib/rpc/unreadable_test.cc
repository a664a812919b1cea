// What becomes of bytes that are no message, by every kind of method of a real server.
#include "lib/rpc/unreadable.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server_context.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "tocsin/rpc/testing/v1/echo.grpc.pb.h"

namespace tocsin::rpc {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TestMesh;
using testing::v1::EchoService;

constexpr std::chrono::seconds kSoon{10};

class EchoServiceImpl final : public EchoService::Service {
 public:
  grpc::Status Echo(grpc::ServerContext*, const testing::v1::EchoRequest*,
                    testing::v1::EchoResponse*) override {
    ++calls;
    return {grpc::StatusCode::INTERNAL, ""};
  }
  grpc::Status Tail(grpc::ServerContext*, const testing::v1::TailRequest*,
                    grpc::ServerWriter<testing::v1::TailResponse>*) override {
    ++calls;
    return grpc::Status::OK;
  }
  grpc::Status Collect(grpc::ServerContext* context,
                       grpc::ServerReader<testing::v1::CollectRequest>* reader,
                       testing::v1::CollectResponse*) override {
    testing::v1::CollectRequest request;
    while (ReadMessage(*reader, *context, &request)) {
      // What tells the end apart is not in the messages: there is at most what the client sent.
      const auto& unknown = request.GetReflection()->GetUnknownFields(request);
      EXPECT_LE(unknown.field_count(), 1);
      for (int i = 0; i < unknown.field_count(); ++i) EXPECT_EQ(unknown.field(i).number(), 1);
    }
    return grpc::Status::OK;
  }

  std::atomic<int> calls{0};
};

class UnreadableTest : public ::testing::Test {
 protected:
  UnreadableTest() {
    mesh_.GiveRoles("gateway", {"operator"});
    server_.emplace(mesh_.Options("ingest"));
    server_->AddService<EchoService>(service_);
    EXPECT_THAT(server_->Start(), IsOk());
  }

  TestMesh mesh_;
  EchoServiceImpl service_;
  std::optional<Server> server_;
};

// Sends `frames` as the messages of a call, whatever the method is.
absl::Status CallWithBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                           const std::string& token, const std::vector<std::string>& frames) {
  grpc::GenericStub stub(channel);
  ClientContext context(kSoon);
  context.SetToken(token);
  grpc::CompletionQueue queue;
  const auto step = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, path, &queue);
  call->StartCall(nullptr);
  bool open = step();
  for (const std::string& frame : frames) {
    const grpc::Slice slice(frame);
    if (open) call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    open = open && step();
  }
  if (open) call->WritesDone(nullptr);
  if (open) step();
  for (bool more = true; more;) {
    grpc::ByteBuffer response;
    call->Read(&response, nullptr);
    more = step();
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  step();
  queue.Shutdown();
  while (step()) {
  }
  return FromGrpc(status);
}

TEST_F(UnreadableTest, ARequestThatIsNotItsMessageIsRefusedInWords) {
  const auto channel = mesh_.Channel("gateway", *server_);
  const std::string token = mesh_.Token("root", {"admin", "producer"});
  const std::string garbage = "\xff\xff\xff";
  const auto refused = [](const std::string& type) {
    return StatusIs(StatusCode::kInvalidArgument,
                    AllOf(HasSubstr(Concat("the request is not a ", type, " in Protobuf's")),
                          HasSubstr(Concat("describe ", type))));
  };
  EXPECT_THAT(CallWithBytes(channel, "/tocsin.rpc.testing.v1.EchoService/Echo", token, {garbage}),
              refused("tocsin.rpc.testing.v1.EchoRequest"));
  // A text that is not UTF-8, in a field that is one.
  EXPECT_THAT(
      CallWithBytes(channel, "/tocsin.rpc.testing.v1.EchoService/Echo", token, {"\x1a\x01\xff"}),
      refused("tocsin.rpc.testing.v1.EchoRequest"));
  EXPECT_THAT(CallWithBytes(channel, "/tocsin.rpc.testing.v1.EchoService/Tail", token, {garbage}),
              refused("tocsin.rpc.testing.v1.TailRequest"));
  // Of the callback API, where gRPC says UNIMPLEMENTED.
  EXPECT_THAT(CallWithBytes(channel, "/grpc.health.v1.Health/Check", token, {garbage}),
              refused("grpc.health.v1.HealthCheckRequest"));
  EXPECT_EQ(service_.calls, 0);
  // The silence of a handler stays its own.
  EXPECT_THAT(CallWithBytes(channel, "/tocsin.rpc.testing.v1.EchoService/Echo", token, {""}),
              StatusIs(StatusCode::kInternal, ""));
}

TEST_F(UnreadableTest, AStreamDoesNotSeemToEndAtWhatIsNotItsMessage) {
  const auto channel = mesh_.Channel("gateway", *server_);
  const std::string token = mesh_.Token("root", {"admin", "producer"});
  const std::string path = "/tocsin.rpc.testing.v1.EchoService/Collect";
  EXPECT_THAT(CallWithBytes(channel, path, token, {}), IsOk());
  EXPECT_THAT(CallWithBytes(channel, path, token, {"", "\x08\x01", ""}), IsOk());
  for (const std::vector<std::string>& frames :
       {std::vector<std::string>{"\xff"}, {"", "\x08\x01", "\xff"}, {"", "\xff", ""}}) {
    EXPECT_THAT(CallWithBytes(channel, path, token, frames),
                StatusIs(StatusCode::kInvalidArgument,
                         HasSubstr("is not a tocsin.rpc.testing.v1.CollectRequest")));
  }
}

}  // namespace
}  // namespace tocsin::rpc
