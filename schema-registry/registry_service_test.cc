#include "schema-registry/registry_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "schema-registry/testing/service_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Stub = v1::SchemaRegistryService::StubInterface;

constexpr char kInner[] = "syntax='proto3'; message Inner { string name = 1; }";
constexpr char kOuter[] = "syntax='proto3'; import 'inner.proto'; message Outer { Inner i = 1; }";
constexpr char kBroken[] = "syntax='proto3'; message Inner { int32 name = 1; }";

class RegistryServiceTest : public ServiceFixture {
 protected:
  void RegisterOuter() {
    ASSERT_TRUE(Register("inner.proto", kInner).ok());
    v1::RegisterSchemaRequest request;
    request.set_subject("outer-value");
    request.set_text(kOuter);
    v1::Reference& reference = *request.add_references();
    reference.set_name("inner.proto");
    reference.set_subject("inner.proto");
    (*request.mutable_metadata()->mutable_fields())["properties"]
        .mutable_struct_value()
        ->mutable_fields()
        ->insert({"owner", TextValue("rings")});
    v1::RegisterSchemaResponse response;
    const grpc::Status status = Call(&Stub::RegisterSchema, request, response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    outer_ = response.schema();
  }
  static google::protobuf::Value TextValue(std::string text) {
    google::protobuf::Value value;
    value.set_string_value(std::move(text));
    return value;
  }

  v1::Schema outer_;
};

TEST_F(RegistryServiceTest, OneCallGivesTheSchemaAndWhatItImports) {
  Begin();
  RegisterOuter();
  EXPECT_EQ(outer_.id(), 2);
  EXPECT_EQ(outer_.version(), 1);
  EXPECT_EQ(outer_.type(), "PROTOBUF");
  EXPECT_EQ(outer_.guid().size(), 36U);
  EXPECT_EQ(outer_.registered_by(), "anna");
  EXPECT_EQ(outer_.metadata()
                .fields()
                .at("properties")
                .struct_value()
                .fields()
                .at("owner")
                .string_value(),
            "rings");
  ASSERT_EQ(outer_.references_size(), 1);
  EXPECT_EQ(outer_.references(0).version(), 1) << "none given: the latest";

  v1::GetSchemaRequest by_id;
  by_id.set_id(2);
  v1::GetSchemaResponse found;
  ASSERT_TRUE(Call(&Stub::GetSchema, by_id, found).ok());
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
  ASSERT_TRUE(Call(&Stub::GetVersion, latest, version).ok());
  EXPECT_EQ(version.schema().id(), 2);
  EXPECT_THAT(version.import_paths(), ElementsAre("inner.proto"));

  v1::GetSchemaByGuidRequest by_guid;
  by_guid.set_guid(outer_.guid());
  v1::GetSchemaByGuidResponse same;
  ASSERT_TRUE(Call(&Stub::GetSchemaByGuid, by_guid, same).ok());
  EXPECT_EQ(same.schema().text(), kOuter);
  ASSERT_EQ(same.ids_size(), 1);
  EXPECT_EQ(same.ids(0).id(), 2);
  by_guid.set_guid("no-guid");
  EXPECT_EQ(Call(&Stub::GetSchemaByGuid, by_guid, same).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  v1::ListReferencedByRequest users;
  users.set_subject("inner.proto");
  v1::ListReferencedByResponse ids;
  ASSERT_TRUE(Call(&Stub::ListReferencedBy, users, ids).ok());
  EXPECT_THAT(ids.ids(), ElementsAre(2));
}

TEST_F(RegistryServiceTest, ListsComeInPages) {
  Begin();
  for (const char* const subject : {"b", "a", ":.eu:c", "d"}) {
    ASSERT_TRUE(Register(subject, kInner).ok());
  }
  v1::ListSubjectsRequest request;
  v1::ListSubjectsResponse subjects;
  ASSERT_TRUE(Call(&Stub::ListSubjects, request, subjects).ok());
  EXPECT_THAT(subjects.subjects(), ElementsAre("a", "b", "d"));
  EXPECT_THAT(subjects.next_page_token(), IsEmpty());
  request.set_page_size(2);
  subjects.Clear();
  ASSERT_TRUE(Call(&Stub::ListSubjects, request, subjects).ok());
  EXPECT_THAT(subjects.subjects(), ElementsAre("a", "b"));
  request.set_page_token(subjects.next_page_token());
  subjects.Clear();
  ASSERT_TRUE(Call(&Stub::ListSubjects, request, subjects).ok());
  EXPECT_THAT(subjects.subjects(), ElementsAre("d"));
  EXPECT_THAT(subjects.next_page_token(), IsEmpty());

  v1::ListSchemasRequest schemas;
  schemas.set_all_contexts(true);
  schemas.set_page_size(3);
  v1::ListSchemasResponse page;
  ASSERT_TRUE(Call(&Stub::ListSchemas, schemas, page).ok());
  ASSERT_EQ(page.schemas_size(), 3);
  EXPECT_EQ(page.schemas(0).subject(), ":.eu:c");
  schemas.set_page_token(page.next_page_token());
  page.Clear();
  ASSERT_TRUE(Call(&Stub::ListSchemas, schemas, page).ok());
  ASSERT_EQ(page.schemas_size(), 1);
  EXPECT_EQ(page.schemas(0).subject(), "d");
  EXPECT_THAT(page.next_page_token(), IsEmpty());
  schemas.set_page_token("x");
  EXPECT_EQ(Call(&Stub::ListSchemas, schemas, page).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  v1::ListVersionsRequest of;
  of.set_subject("a");
  v1::ListVersionsResponse versions;
  ASSERT_TRUE(Call(&Stub::ListVersions, of, versions).ok());
  EXPECT_THAT(versions.versions(), ElementsAre(1));
  v1::ListContextsResponse contexts;
  ASSERT_TRUE(Call(&Stub::ListContexts, v1::ListContextsRequest(), contexts).ok());
  EXPECT_THAT(contexts.contexts(), ElementsAre(".", ".eu"));
  v1::ListSchemaUsesRequest uses;
  uses.set_id(1);
  uses.set_context(".eu");
  v1::ListSchemaUsesResponse used;
  ASSERT_TRUE(Call(&Stub::ListSchemaUses, uses, used).ok());
  ASSERT_EQ(used.uses_size(), 1);
  EXPECT_EQ(used.uses(0).subject(), ":.eu:c");
}

TEST_F(RegistryServiceTest, LookupFindsTheVersionWithThisSchema) {
  Begin();
  ASSERT_TRUE(Register("a", kInner).ok());
  v1::LookupSchemaRequest lookup;
  lookup.set_subject("a");
  lookup.set_text(kInner);
  v1::LookupSchemaResponse found;
  ASSERT_TRUE(Call(&Stub::LookupSchema, lookup, found).ok());
  EXPECT_EQ(found.schema().id(), 1);
  lookup.set_text(kBroken);
  EXPECT_EQ(Call(&Stub::LookupSchema, lookup, found).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(RegistryServiceTest, CompatibilityIsToldInParts) {
  Begin();
  ASSERT_TRUE(Register("s", kInner).ok());
  v1::CheckCompatibilityRequest request;
  request.set_subject("s");
  request.set_text(kBroken);
  v1::CheckCompatibilityResponse response;
  ASSERT_TRUE(Call(&Stub::CheckCompatibility, request, response).ok());
  EXPECT_FALSE(response.compatible());
  EXPECT_EQ(response.level(), v1::COMPATIBILITY_BACKWARD);
  ASSERT_EQ(response.findings_size(), 1);
  const v1::Finding& finding = response.findings(0);
  EXPECT_EQ(finding.kind(), "FIELD_SCALAR_KIND_CHANGED");
  EXPECT_EQ(finding.path(), "#/Inner/name");
  EXPECT_EQ(finding.older().line(), 1);
  EXPECT_EQ(finding.newer().column(), 34);
  EXPECT_NE(finding.consequence(), "");
  EXPECT_NE(finding.repair(), "");

  v1::CheckRequest all;
  all.set_subject("s");
  all.set_text(kBroken);
  v1::CheckResponse verdict;
  ASSERT_TRUE(Call(&Stub::Check, all, verdict).ok());
  EXPECT_FALSE(verdict.compatible());
  EXPECT_EQ(verdict.level(), v1::COMPATIBILITY_BACKWARD);
  ASSERT_EQ(verdict.levels_size(), 8);
  for (const v1::LevelVerdict& level : verdict.levels()) {
    EXPECT_FALSE(level.compatible());
    EXPECT_EQ(level.against(), 1);
  }
  all.set_text(kInner);
  verdict.Clear();
  ASSERT_TRUE(Call(&Stub::Check, all, verdict).ok());
  EXPECT_TRUE(verdict.compatible());
  EXPECT_EQ(verdict.registered_as(), 1);
}

TEST_F(RegistryServiceTest, SettingsAndModes) {
  Begin();
  v1::SetConfigRequest set;
  set.set_subject("s");
  set.mutable_config()->set_compatibility(v1::COMPATIBILITY_STRICT);
  set.mutable_config()->set_normalize(true);
  v1::SetConfigResponse done;
  ASSERT_TRUE(Call(&Stub::SetConfig, set, done).ok());
  v1::GetConfigRequest get;
  get.set_subject("s");
  v1::GetConfigResponse config;
  ASSERT_TRUE(Call(&Stub::GetConfig, get, config).ok());
  EXPECT_EQ(config.config().compatibility(), v1::COMPATIBILITY_STRICT);
  EXPECT_TRUE(config.config().normalize());
  EXPECT_FALSE(config.config().has_alias());
  v1::DeleteConfigRequest unset;
  unset.set_subject("s");
  v1::DeleteConfigResponse was;
  ASSERT_TRUE(Call(&Stub::DeleteConfig, unset, was).ok());
  EXPECT_EQ(was.config().compatibility(), v1::COMPATIBILITY_STRICT);
  EXPECT_EQ(Call(&Stub::GetConfig, get, config).error_code(), grpc::StatusCode::NOT_FOUND);

  v1::SetModeRequest mode;
  mode.set_subject("s");
  mode.set_mode(v1::MODE_READONLY);
  v1::SetModeResponse mode_set;
  ASSERT_TRUE(Call(&Stub::SetMode, mode, mode_set).ok());
  EXPECT_EQ(Register("s", kInner).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  v1::GetModeRequest ask;
  ask.set_subject("t");
  ask.set_or_default(true);
  v1::GetModeResponse in_force;
  ASSERT_TRUE(Call(&Stub::GetMode, ask, in_force).ok());
  EXPECT_EQ(in_force.mode(), v1::MODE_READWRITE);
  v1::DeleteModeRequest forget;
  forget.set_subject("s");
  v1::DeleteModeResponse mode_was;
  ASSERT_TRUE(Call(&Stub::DeleteMode, forget, mode_was).ok());
  EXPECT_EQ(mode_was.mode(), v1::MODE_READONLY);
  mode.set_mode(v1::MODE_UNSPECIFIED);
  EXPECT_EQ(Call(&Stub::SetMode, mode, mode_set).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(RegistryServiceTest, DeletesAndContexts) {
  Begin();
  ASSERT_TRUE(Register(":.eu:s", kInner).ok());
  v1::DeleteContextRequest context;
  context.set_context(".eu");
  v1::DeleteContextResponse gone;
  EXPECT_EQ(Call(&Stub::DeleteContext, context, gone).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  v1::DeleteVersionRequest version;
  version.set_subject(":.eu:s");
  v1::DeleteVersionResponse which;
  ASSERT_TRUE(Call(&Stub::DeleteVersion, version, which).ok());
  EXPECT_EQ(which.version(), 1);
  v1::DeleteSubjectRequest subject;
  subject.set_subject(":.eu:s");
  subject.set_permanent(true);
  v1::DeleteSubjectResponse versions;
  ASSERT_TRUE(Call(&Stub::DeleteSubject, subject, versions).ok());
  EXPECT_THAT(versions.versions(), ElementsAre(1));
  EXPECT_TRUE(Call(&Stub::DeleteContext, context, gone).ok());
}

TEST_F(RegistryServiceTest, WhatCannotBeUndoneNeedsTheAdmin) {
  Begin();
  ASSERT_TRUE(Register("s", kInner).ok());
  const auto refused = [&](const grpc::Status& status, const std::string& what) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
    EXPECT_THAT(status.error_message(), AllOf(HasSubstr(what), HasSubstr("schema.admin")));
  };
  v1::RegisterSchemaRequest forced;
  forced.set_subject("s");
  forced.set_text(kBroken);
  forced.set_force(true);
  v1::RegisterSchemaResponse registered;
  refused(As("bert", "schema.write", &Stub::RegisterSchema, forced, registered),
          "RegisterSchema with force");
  EXPECT_TRUE(Call(&Stub::RegisterSchema, forced, registered).ok());
  v1::DeleteSubjectRequest subject;
  subject.set_subject("s");
  v1::DeleteSubjectResponse versions;
  ASSERT_TRUE(As("bert", "schema.write", &Stub::DeleteSubject, subject, versions).ok());
  subject.set_permanent(true);
  refused(As("bert", "schema.write", &Stub::DeleteSubject, subject, versions),
          "DeleteSubject with permanent");
  v1::DeleteVersionRequest version;
  version.set_subject("s");
  version.set_permanent(true);
  v1::DeleteVersionResponse which;
  refused(As("bert", "schema.write", &Stub::DeleteVersion, version, which),
          "DeleteVersion with permanent");
  v1::SetConfigRequest set;
  set.mutable_config()->set_compatibility(v1::COMPATIBILITY_FULL);
  v1::SetConfigResponse done;
  refused(As("bert", "schema.write", &Stub::SetConfig, set, done), "SetConfig of everything");
  set.set_subject(":.eu:");
  refused(As("bert", "schema.write", &Stub::SetConfig, set, done), "SetConfig of the context .eu");
  set.set_subject("s");
  EXPECT_TRUE(As("bert", "schema.write", &Stub::SetConfig, set, done).ok());
  EXPECT_TRUE(Call(&Stub::DeleteSubject, subject, versions).ok());
}

TEST_F(RegistryServiceTest, RulesForSubjectsHoldForEveryWayToThem) {
  SubjectAccess::Rules rules;
  auto& rule = *rules.Add();
  rule.set_subject_prefix("pay-");
  rule.add_writers("anna");
  rule.add_readers("carl");
  Begin(rules);
  v1::Schema schema;
  ASSERT_TRUE(Register("pay-value", kInner, &schema).ok());
  ASSERT_TRUE(Register("open-value", kBroken).ok());
  const auto denied = grpc::StatusCode::PERMISSION_DENIED;
  const auto hidden = grpc::StatusCode::NOT_FOUND;
  EXPECT_EQ(Register("pay-value", kInner, nullptr, "bert").error_code(), denied);
  EXPECT_EQ(Register(":.:pay-value", kInner, nullptr, "bert").error_code(), denied);

  v1::GetVersionRequest version;
  version.set_subject("pay-value");
  v1::GetVersionResponse at;
  EXPECT_EQ(As("bert", "schema.read", &Stub::GetVersion, version, at).error_code(), denied);
  EXPECT_TRUE(As("carl", "schema.read", &Stub::GetVersion, version, at).ok());
  v1::GetSchemaRequest by_id;
  by_id.set_id(schema.id());
  v1::GetSchemaResponse found;
  EXPECT_EQ(As("bert", "schema.read", &Stub::GetSchema, by_id, found).error_code(), hidden);
  EXPECT_TRUE(As("carl", "schema.read", &Stub::GetSchema, by_id, found).ok());
  v1::GetSchemaByGuidRequest by_guid;
  by_guid.set_guid(schema.guid());
  v1::GetSchemaByGuidResponse same;
  EXPECT_EQ(As("bert", "schema.read", &Stub::GetSchemaByGuid, by_guid, same).error_code(), hidden);
  EXPECT_TRUE(As("carl", "schema.read", &Stub::GetSchemaByGuid, by_guid, same).ok());
  v1::ListSubjectsResponse subjects;
  ASSERT_TRUE(
      As("bert", "schema.read", &Stub::ListSubjects, v1::ListSubjectsRequest(), subjects).ok());
  EXPECT_THAT(subjects.subjects(), ElementsAre("open-value"));
  v1::ListSchemasResponse schemas;
  ASSERT_TRUE(
      As("bert", "schema.read", &Stub::ListSchemas, v1::ListSchemasRequest(), schemas).ok());
  EXPECT_EQ(schemas.schemas_size(), 1);

  // Neither an import nor an alias leads round them.
  v1::CheckRequest imports;
  imports.set_subject("mine");
  imports.set_text("syntax='proto3'; import 'x.proto'; message M { Inner i = 1; }");
  auto& reference = *imports.add_references();
  reference.set_name("x.proto");
  reference.set_subject("pay-value");
  v1::CheckResponse verdict;
  EXPECT_EQ(As("bert", "schema.read", &Stub::Check, imports, verdict).error_code(), denied);
  EXPECT_TRUE(As("carl", "schema.read", &Stub::Check, imports, verdict).ok());
  v1::SetConfigRequest alias;
  alias.set_subject("mine");
  alias.mutable_config()->set_alias("pay-value");
  v1::SetConfigResponse set;
  EXPECT_EQ(As("bert", "schema.write", &Stub::SetConfig, alias, set).error_code(), denied);
  EXPECT_TRUE(As("anna", "schema.write", &Stub::SetConfig, alias, set).ok());
}

TEST_F(RegistryServiceTest, WhatIsRefusedIsInTheAuditLog) {
  SubjectAccess::Rules rules;
  auto& rule = *rules.Add();
  rule.set_subject_prefix("pay-");
  rule.add_writers("anna");
  rule.add_readers("carl");
  Begin(rules);
  ASSERT_TRUE(Register("pay-value", kInner).ok());
  const std::size_t before = audit_.entries().size();
  const auto last = [&] {
    const AuditEntry entry = audit_.entries().back();
    EXPECT_EQ(entry.outcome.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(entry.actor.origin, Not(IsEmpty()));
    return Concat(entry.actor.name, " ", entry.action, " ", entry.target, ": ",
                  Message(entry.outcome));
  };
  const std::string of_service = "tocsin.schema.v1.SchemaRegistryService/";

  // By the rules for subjects.
  EXPECT_FALSE(Register("pay-value", kBroken, nullptr, "bert").ok());
  EXPECT_THAT(last(), StartsWith(Concat("bert ", of_service, "RegisterSchema pay-value: 'bert'")));
  v1::GetVersionRequest version;
  version.set_subject("pay-value");
  version.set_version(1);
  v1::GetVersionResponse at;
  EXPECT_FALSE(As("dora", "schema.read", &Stub::GetVersion, version, at).ok());
  EXPECT_THAT(last(), StartsWith(Concat("dora ", of_service, "GetVersion pay-value/1: 'dora'")));
  // By what a method does.
  v1::SetConfigRequest set;
  set.set_subject(":.eu:");
  set.mutable_config()->set_compatibility(v1::COMPATIBILITY_FULL);
  v1::SetConfigResponse done;
  EXPECT_FALSE(As("bert", "schema.write", &Stub::SetConfig, set, done).ok());
  EXPECT_THAT(last(), StartsWith(Concat("bert ", of_service, "SetConfig :.eu:: ")));
  // By the role of a method, below the service.
  v1::SetModeRequest mode;
  mode.set_subject("open");
  v1::SetModeResponse was;
  EXPECT_FALSE(As("bert", "schema.write", &Stub::SetMode, mode, was).ok());
  EXPECT_THAT(last(), StartsWith(Concat("bert ", of_service, "SetMode : ", of_service, "SetMode")));
  EXPECT_EQ(audit_.entries().size(), before + 4);

  // What a list leaves out was not refused, nor what is not there for the caller, nor is a name
  // that is none; and who is nobody has no name to be written down.
  v1::ListSubjectsResponse subjects;
  EXPECT_TRUE(
      As("bert", "schema.read", &Stub::ListSubjects, v1::ListSubjectsRequest(), subjects).ok());
  v1::GetSchemaRequest by_id;
  by_id.set_id(1);
  v1::GetSchemaResponse found;
  EXPECT_FALSE(As("bert", "schema.read", &Stub::GetSchema, by_id, found).ok());
  version.set_subject(":.eu");
  EXPECT_FALSE(As("bert", "schema.read", &Stub::GetVersion, version, at).ok());
  rpc::ClientContext nobody(std::chrono::seconds(10));
  EXPECT_FALSE(stub_->GetVersion(&nobody, version, &at).ok());
  EXPECT_EQ(audit_.entries().size(), before + 4);
}

TEST_F(RegistryServiceTest, AFloodOfRefusalsDoesNotFillTheAuditLog) {
  Begin();
  const std::size_t before = audit_.entries().size();
  v1::DeleteSubjectRequest request;
  request.set_subject("s");
  v1::DeleteSubjectResponse response;
  for (int i = 0; i < 400; ++i) {
    // Half of them below the service, half in it: one limit.
    request.set_permanent(i % 2 == 0);
    ASSERT_FALSE(As("bert", i % 2 == 0 ? "schema.write" : "schema.read", &Stub::DeleteSubject,
                    request, response)
                     .ok());
  }
  const std::size_t written = audit_.entries().size() - before;
  EXPECT_GE(written, 100U);
  EXPECT_LT(written, 390U) << "ten a second after the first hundred";
}

TEST_F(RegistryServiceTest, Refusals) {
  Begin();
  ASSERT_TRUE(Register("s", kInner).ok());
  const grpc::Status breaks = Register("s", kBroken);
  EXPECT_EQ(breaks.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(breaks.error_message(),
              AllOf(HasSubstr("FIELD_SCALAR_KIND_CHANGED"), HasSubstr("#/Inner/name")));
  const grpc::Status broken = Register("s", "syntax='proto3';\nmessage {");
  EXPECT_EQ(broken.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(broken.error_message(), HasSubstr("2:9: "));
  v1::GetSchemaRequest by_id;
  by_id.set_id(7);
  v1::GetSchemaResponse found;
  EXPECT_EQ(Call(&Stub::GetSchema, by_id, found).error_code(), grpc::StatusCode::NOT_FOUND);
  v1::GetVersionRequest version;
  version.set_subject("s");
  version.set_version(-2);
  v1::GetVersionResponse at;
  EXPECT_EQ(Call(&Stub::GetVersion, version, at).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  version.set_version(2);
  EXPECT_EQ(Call(&Stub::GetVersion, version, at).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(RegistryServiceTest, SchemasOfOtherKindsAreHandedOutAsTheyAre) {
  topic_.Append(R"({"keytype":"SCHEMA","subject":"avro","version":1,"magic":1})",
                R"({"subject":"avro","version":1,"id":4,"schema":"\"string\"","deleted":false})");
  Begin();
  v1::GetSchemaRequest by_id;
  by_id.set_id(4);
  v1::GetSchemaResponse found;
  ASSERT_TRUE(Call(&Stub::GetSchema, by_id, found).ok());
  EXPECT_EQ(found.schema().type(), "AVRO");
  EXPECT_EQ(found.schema().text(), "\"string\"");
}

}  // namespace
}  // namespace tocsin::registry
