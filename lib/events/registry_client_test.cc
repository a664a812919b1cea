#include "lib/events/registry_client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <map>

#include "lib/base/testing/status_matchers.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::events {
namespace {
namespace pb = tocsin::schema::v1;
using ::testing::HasSubstr;

class Service final : public pb::SchemaRegistryService::Service {
 public:
  grpc::Status GetSchema(grpc::ServerContext*, const pb::GetSchemaRequest* request,
                         pb::GetSchemaResponse* response) override {
    if (request->id() == 500) {  // an answer that contradicts itself
      response->add_imports();
      return grpc::Status::OK;
    }
    if (request->id() != 7) return {grpc::StatusCode::NOT_FOUND, "Schema 8 not found"};
    response->mutable_schema()->set_id(7);
    response->mutable_schema()->set_text("main");
    response->add_imports()->set_text("imported");
    response->add_import_paths("a/b.proto");
    return grpc::Status::OK;
  }
  grpc::Status GetVersion(grpc::ServerContext* context, const pb::GetVersionRequest* request,
                          pb::GetVersionResponse* response) override {
    has_deadline = context->deadline() < std::chrono::system_clock::now() + std::chrono::hours(1);
    EXPECT_EQ(request->version(), 0);
    response->mutable_schema()->set_id(9);
    response->mutable_schema()->set_subject(request->subject());
    response->mutable_schema()->set_version(3);
    return grpc::Status::OK;
  }
  grpc::Status RegisterSchema(grpc::ServerContext*, const pb::RegisterSchemaRequest* request,
                              pb::RegisterSchemaResponse* response) override {
    registered = *request;
    response->mutable_schema()->set_id(11);
    response->mutable_schema()->set_version(2);
    return grpc::Status::OK;
  }
  bool has_deadline = false;
  pb::RegisterSchemaRequest registered;
};

class RegistryClientTest : public ::testing::Test {
 protected:
  RegistryClientTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    client_ = MakeRegistryClient(server_->InProcessChannel({}));
  }
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<RegistryClient> client_;
};

TEST_F(RegistryClientTest, ById) {
  const auto schema = client_->ById(schema::SchemaId(7));
  ASSERT_THAT(schema, IsOk());
  EXPECT_EQ(schema->id, schema::SchemaId(7));
  EXPECT_EQ(schema->text, "main");
  ASSERT_EQ(schema->imports.size(), 1U);
  EXPECT_EQ(schema->imports[0].name, "a/b.proto");
  EXPECT_EQ(schema->imports[0].text, "imported");
  EXPECT_THAT(client_->ById(schema::SchemaId(8)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("Schema 8 not found")));
  EXPECT_THAT(client_->ById(schema::SchemaId(500)), StatusIs(absl::StatusCode::kInternal));
}

TEST_F(RegistryClientTest, LatestBySubjectWithADeadline) {
  const auto schema = client_->Latest("alerts.raw-value");
  ASSERT_THAT(schema, IsOk());
  EXPECT_EQ(schema->subject, "alerts.raw-value");
  EXPECT_EQ(schema->version, 3);
  EXPECT_TRUE(service_.has_deadline);
}

TEST_F(RegistryClientTest, RegisterWithReferences) {
  const auto version = client_->Register("t-value", "text", {{"a/b.proto", "a/b.proto", 4}});
  ASSERT_THAT(version, IsOk());
  EXPECT_EQ(version->id, schema::SchemaId(11));
  EXPECT_EQ(version->version, 2);
  EXPECT_EQ(service_.registered.subject(), "t-value");
  ASSERT_EQ(service_.registered.references_size(), 1);
  EXPECT_EQ(service_.registered.references(0).name(), "a/b.proto");
  EXPECT_EQ(service_.registered.references(0).version(), 4);
}

TEST_F(RegistryClientTest, ARegistryThatIsGoneIsUnavailable) {
  // Nobody listens on the discard port.
  const auto client =
      MakeRegistryClient(grpc::CreateChannel("127.0.0.1:9", grpc::InsecureChannelCredentials()));
  EXPECT_THAT(client->Latest("t-value"), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace tocsin::events
