#include "lib/rpc/reflection.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>

#include "absl/status/status.h"
#include "lib/base/text.h"
#include "tocsin/config/v1/process.pb.h"
#include "tocsin/rpc/testing/v1/echo.pb.h"

namespace tocsin::rpc {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr char kEcho[] = "tocsin.rpc.testing.v1.EchoService";

class ReflectionTest : public ::testing::Test {
 protected:
  ReflectionTest()
      : reflection_(*google::protobuf::DescriptorPool::generated_pool(),
                    {kEcho, "no.such.Service"}) {
    testing::v1::EchoRequest::descriptor();
    config::v1::ProcessConfig::descriptor();
  }

  static std::vector<std::string> Files(const ServerReflectionResponse& response) {
    std::vector<std::string> names;
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      names.push_back(file.name());
    }
    return names;
  }

  ServerReflectionResponse Symbol(const std::string& name) {
    ServerReflectionRequest request;
    request.set_file_containing_symbol(name);
    return reflection_.Answer(request);
  }

  Reflection reflection_;
};

TEST_F(ReflectionTest, ListsTheServicesThatExist) {
  ServerReflectionRequest request;
  request.set_list_services("*");
  request.set_host("gateway");
  const auto response = reflection_.Answer(request);
  ASSERT_EQ(response.list_services_response().service_size(), 1);
  EXPECT_EQ(response.list_services_response().service(0).name(), kEcho);
  EXPECT_EQ(response.valid_host(), "gateway");
  EXPECT_EQ(response.original_request().list_services(), "*");
}

TEST_F(ReflectionTest, GivesAFileWithAllThatItImports) {
  for (const char* symbol :
       {"tocsin.rpc.testing.v1.EchoService", "tocsin.rpc.testing.v1.EchoService.Echo",
        "tocsin.rpc.testing.v1.EchoRequest", "tocsin.rpc.testing.v1.EchoRequest.code"}) {
    EXPECT_THAT(Files(Symbol(symbol)), UnorderedElementsAre("tocsin/rpc/testing/v1/echo.proto",
                                                            "tocsin/auth/v1/access.proto",
                                                            "google/protobuf/descriptor.proto"))
        << symbol;
  }
  ServerReflectionRequest request;
  request.set_file_by_filename("tocsin/auth/v1/access.proto");
  EXPECT_THAT(Files(reflection_.Answer(request)), Contains("tocsin/auth/v1/access.proto"));
}

TEST_F(ReflectionTest, ShowsNothingBeyondItsServices) {
  // In the pool, and nobody's business.
  const auto response = Symbol("tocsin.config.v1.ProcessConfig");
  EXPECT_EQ(response.error_response().error_code(), static_cast<int>(absl::StatusCode::kNotFound));
  EXPECT_THAT(response.error_response().error_message(),
              HasSubstr("tocsin.config.v1.ProcessConfig"));
  EXPECT_EQ(Symbol("no.such.Thing").error_response().error_code(),
            static_cast<int>(absl::StatusCode::kNotFound));
}

TEST_F(ReflectionTest, KnowsExtensions) {
  ServerReflectionRequest request;
  request.set_all_extension_numbers_of_type("google.protobuf.MethodOptions");
  EXPECT_THAT(reflection_.Answer(request).all_extension_numbers_response().extension_number(),
              ElementsAre(50901));
  request.mutable_file_containing_extension()->set_containing_type("google.protobuf.MethodOptions");
  request.mutable_file_containing_extension()->set_extension_number(50901);
  EXPECT_THAT(Files(reflection_.Answer(request)), Contains("tocsin/auth/v1/access.proto"));
  request.mutable_file_containing_extension()->set_extension_number(1);
  EXPECT_TRUE(reflection_.Answer(request).has_error_response());
}

TEST_F(ReflectionTest, AnEmptyRequestIsAnError) {
  EXPECT_EQ(reflection_.Answer({}).error_response().error_code(),
            static_cast<int>(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tocsin::rpc
