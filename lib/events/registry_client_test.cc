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
    context_of_get = request->subject();
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
  grpc::Status LookupSchema(grpc::ServerContext*, const pb::LookupSchemaRequest* request,
                            pb::LookupSchemaResponse* response) override {
    if (request->text() != "text") return {grpc::StatusCode::NOT_FOUND, "Schema not found"};
    looked_up = *request;
    response->mutable_schema()->set_id(12);
    response->mutable_schema()->set_version(5);
    response->mutable_schema()->set_guid(kGuid);
    return grpc::Status::OK;
  }
  grpc::Status GetSchemaByGuid(grpc::ServerContext*, const pb::GetSchemaByGuidRequest* request,
                               pb::GetSchemaByGuidResponse* response) override {
    if (request->guid() != kGuid) return {grpc::StatusCode::NOT_FOUND, "no such GUID"};
    for (const auto& [context, id] : ids) {
      pb::ContextId& added = *response->add_ids();
      added.set_context(context);
      added.set_id(id);
    }
    return grpc::Status::OK;
  }
  static constexpr char kGuid[] = "00112233-4455-6677-8899-aabbccddeeff";
  bool has_deadline = false;
  std::string context_of_get;
  std::vector<std::pair<std::string, int>> ids = {{".eu", 7}};
  pb::LookupSchemaRequest looked_up;
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

TEST_F(RegistryClientTest, LookupOfTheNormalForm) {
  const auto version = client_->Lookup("t-value", {"text", {{"a/b.proto", "a.b", 4}}, true});
  ASSERT_THAT(version, IsOk());
  EXPECT_EQ(version->id, schema::SchemaId(12));
  EXPECT_EQ(version->version, 5);
  ASSERT_TRUE(version->guid.has_value());
  EXPECT_EQ(schema::FormatGuid(*version->guid), Service::kGuid);
  EXPECT_TRUE(service_.looked_up.normalize());
  EXPECT_EQ(service_.looked_up.references(0).subject(), "a.b");
  EXPECT_THAT(client_->Lookup("t-value", {"other", {}, false}),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RegistryClientTest, ByGuidInWhateverContext) {
  const schema::SchemaGuid guid = schema::ParseGuid(Service::kGuid).value();
  const auto elsewhere = client_->ByGuid(guid);
  ASSERT_THAT(elsewhere, IsOk());
  EXPECT_EQ(service_.context_of_get, ":.eu:");
  EXPECT_EQ(elsewhere->id, schema::SchemaId(0));  // it has none in the default context
  EXPECT_EQ(elsewhere->guid, guid);
  EXPECT_EQ(elsewhere->imports.size(), 1U);

  service_.ids = {{".eu", 3}, {".", 7}};
  const auto here = client_->ByGuid(guid);
  ASSERT_THAT(here, IsOk());
  EXPECT_EQ(service_.context_of_get, "");
  EXPECT_EQ(here->id, schema::SchemaId(7));

  service_.ids.clear();
  EXPECT_THAT(client_->ByGuid(guid), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(client_->ByGuid(schema::SchemaGuid{}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RegistryClientTest, ARegistryThatIsGoneIsUnavailable) {
  // Nobody listens on the discard port.
  const auto client =
      MakeRegistryClient(grpc::CreateChannel("127.0.0.1:9", grpc::InsecureChannelCredentials()));
  EXPECT_THAT(client->Latest("t-value"), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace tocsin::events
