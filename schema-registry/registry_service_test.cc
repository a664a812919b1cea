#include "schema-registry/registry_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kInner[] = "syntax='proto3'; message Inner { string name = 1; }";
constexpr char kOuter[] = "syntax='proto3'; import 'inner.proto'; message Outer { Inner i = 1; }";

class RegistryServiceTest : public ::testing::Test {
 protected:
  RegistryServiceTest()
      : log_(topic_),
        registry_(log_, audit_, Clock::Real(), RegistryOptions()),
        service_(registry_) {
    registry_.Start();
  }
  ~RegistryServiceTest() override { registry_.Stop(); }

  grpc::Status Register(const std::string& subject, const std::string& text, bool with_inner,
                        v1::Schema* schema = nullptr) {
    v1::RegisterSchemaRequest request;
    request.set_subject(subject);
    request.set_text(text);
    if (with_inner) {
      v1::Reference& reference = *request.add_references();
      reference.set_name("inner.proto");
      reference.set_subject("inner.proto");
    }
    v1::RegisterSchemaResponse response;
    const grpc::Status status = service_.RegisterSchema(nullptr, &request, &response);
    if (schema != nullptr) *schema = response.schema();
    return status;
  }

  FakeTopic topic_;
  FakeLog log_;
  FakeAudit audit_;
  Registry registry_;
  RegistryService service_;
};

TEST_F(RegistryServiceTest, OneCallGivesTheSchemaAndWhatItImports) {
  v1::Schema outer;
  ASSERT_TRUE(Register("inner.proto", kInner, false).ok());
  ASSERT_TRUE(Register("outer-value", kOuter, true, &outer).ok());
  EXPECT_EQ(outer.id(), 2);
  EXPECT_EQ(outer.version(), 1);
  ASSERT_EQ(outer.references_size(), 1);
  EXPECT_EQ(outer.references(0).version(), 1) << "none given: the latest";

  v1::GetSchemaRequest by_id;
  by_id.set_id(2);
  v1::GetSchemaResponse found;
  ASSERT_TRUE(service_.GetSchema(nullptr, &by_id, &found).ok());
  EXPECT_EQ(found.schema().text(), kOuter);
  EXPECT_EQ(found.schema().subject(), "");
  EXPECT_THAT(found.import_paths(), ElementsAre("inner.proto"));
  ASSERT_EQ(found.imports_size(), 1);
  EXPECT_EQ(found.imports(0).text(), kInner);
  EXPECT_EQ(found.imports(0).subject(), "inner.proto");
  EXPECT_EQ(found.imports(0).version(), 1);

  v1::GetVersionRequest latest;
  latest.set_subject("outer-value");
  v1::GetVersionResponse version;
  ASSERT_TRUE(service_.GetVersion(nullptr, &latest, &version).ok());
  EXPECT_EQ(version.schema().id(), 2);
  EXPECT_EQ(version.schema().version(), 1);
  EXPECT_THAT(version.import_paths(), ElementsAre("inner.proto"));
}

TEST_F(RegistryServiceTest, ListsAndLookup) {
  ASSERT_TRUE(Register("b", kInner, false).ok());
  ASSERT_TRUE(Register("a", kInner, false).ok());
  v1::ListSubjectsResponse subjects;
  const v1::ListSubjectsRequest all;
  ASSERT_TRUE(service_.ListSubjects(nullptr, &all, &subjects).ok());
  EXPECT_THAT(subjects.subjects(), ElementsAre("a", "b"));
  v1::ListVersionsRequest of;
  of.set_subject("a");
  v1::ListVersionsResponse versions;
  ASSERT_TRUE(service_.ListVersions(nullptr, &of, &versions).ok());
  EXPECT_THAT(versions.versions(), ElementsAre(1));
  v1::LookupSchemaRequest lookup;
  lookup.set_subject("a");
  lookup.set_text(kInner);
  v1::LookupSchemaResponse found;
  ASSERT_TRUE(service_.LookupSchema(nullptr, &lookup, &found).ok());
  EXPECT_EQ(found.schema().id(), 1);
}

TEST_F(RegistryServiceTest, CompatibilityIsToldInParts) {
  ASSERT_TRUE(Register("s", kInner, false).ok());
  v1::CheckCompatibilityRequest request;
  request.set_subject("s");
  request.set_text("syntax='proto3'; message Inner { int32 name = 1; }");
  v1::CheckCompatibilityResponse response;
  ASSERT_TRUE(service_.CheckCompatibility(nullptr, &request, &response).ok());
  EXPECT_FALSE(response.compatible());
  EXPECT_EQ(response.level(), v1::COMPATIBILITY_BACKWARD);
  ASSERT_EQ(response.findings_size(), 1);
  EXPECT_EQ(response.findings(0).kind(), "FIELD_SCALAR_KIND_CHANGED");
  EXPECT_EQ(response.findings(0).path(), "#/Inner/name");
}

TEST_F(RegistryServiceTest, Refusals) {
  ASSERT_TRUE(Register("s", kInner, false).ok());
  const grpc::Status breaks =
      Register("s", "syntax='proto3'; message Inner { int32 name = 1; }", false);
  EXPECT_EQ(breaks.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(breaks.error_message(), HasSubstr("FIELD_SCALAR_KIND_CHANGED at #/Inner/name"));
  const grpc::Status broken = Register("s", "syntax='proto3';\nmessage {", false);
  EXPECT_EQ(broken.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(broken.error_message(), HasSubstr("s:2:9: "));
  v1::GetSchemaRequest by_id;
  by_id.set_id(7);
  v1::GetSchemaResponse found;
  EXPECT_EQ(service_.GetSchema(nullptr, &by_id, &found).error_code(), grpc::StatusCode::NOT_FOUND);
  v1::GetVersionRequest version;
  version.set_subject("s");
  version.set_version(-2);
  v1::GetVersionResponse at;
  EXPECT_EQ(service_.GetVersion(nullptr, &version, &at).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  version.set_version(2);
  EXPECT_EQ(service_.GetVersion(nullptr, &version, &at).error_code(), grpc::StatusCode::NOT_FOUND);
  topic_.SetAway(true);
  EXPECT_EQ(Register("t", kInner, false).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RegistryServiceTest, SchemasOfOtherKindsAreNotHandedOut) {
  topic_.Append(R"({"keytype":"SCHEMA","subject":"avro","version":1,"magic":1})",
                R"({"subject":"avro","version":1,"id":4,"schema":"\"string\"","deleted":false})");
  v1::GetSchemaRequest by_id;
  by_id.set_id(4);
  v1::GetSchemaResponse found;
  const grpc::Status status = service_.GetSchema(nullptr, &by_id, &found);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("is of type AVRO"));
}

}  // namespace
}  // namespace tocsin::registry
