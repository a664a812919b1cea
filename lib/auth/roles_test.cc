#include "lib/auth/roles.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/empty.pb.h>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::auth {
namespace {

using ::testing::HasSubstr;

TEST(RolesTest, Inclusion) {
  struct Case {
    Role held;
    std::vector<Role> holds;
  };
  const std::vector<Case> cases{
      {v1::ROLE_UNSPECIFIED, {}},
      {v1::ROLE_VIEWER, {v1::ROLE_VIEWER}},
      {v1::ROLE_OPERATOR, {v1::ROLE_VIEWER, v1::ROLE_OPERATOR}},
      {v1::ROLE_RULE_AUTHOR, {v1::ROLE_VIEWER, v1::ROLE_OPERATOR, v1::ROLE_RULE_AUTHOR}},
      {v1::ROLE_ADMIN, AllRoles()},
      {v1::ROLE_PRODUCER, {v1::ROLE_PRODUCER}},
      {v1::ROLE_SCHEMA_READ, {v1::ROLE_SCHEMA_READ}},
      {v1::ROLE_SCHEMA_WRITE, {v1::ROLE_SCHEMA_READ, v1::ROLE_SCHEMA_WRITE}},
      {v1::ROLE_SCHEMA_ADMIN, {v1::ROLE_SCHEMA_READ, v1::ROLE_SCHEMA_WRITE, v1::ROLE_SCHEMA_ADMIN}},
  };
  for (const Case& one : cases) {
    const RoleSet roles{one.held};
    EXPECT_FALSE(roles.Holds(v1::ROLE_UNSPECIFIED));
    for (const Role role : AllRoles()) {
      const bool expected = std::find(one.holds.begin(), one.holds.end(), role) != one.holds.end();
      EXPECT_EQ(roles.Holds(role), expected)
          << RoleName(one.held) << " holds " << RoleName(role) << "?";
    }
  }
}

TEST(RolesTest, EveryRoleOfTheContractHasAName) {
  const auto* const contract = v1::Role_descriptor();
  EXPECT_EQ(static_cast<int>(AllRoles().size()) + 1, contract->value_count());
  for (const Role role : AllRoles()) {
    EXPECT_THAT(ParseRole(RoleName(role)), IsOkAndHolds(role));
  }
}

TEST(RolesTest, ErrorsHelp) {
  EXPECT_THAT(ParseRole("operater"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean 'operator'?")));
  EXPECT_THAT(ParseRole("king"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("there is no role 'king'. The roles are viewer, ")));
  EXPECT_THAT(ParseRole(""), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("viewer")));
  const absl::Status denied = CheckAccess({"maria", {v1::ROLE_VIEWER}}, v1::ROLE_OPERATOR,
                                          "tocsin.report.v1.ReportService/Resolve");
  EXPECT_THAT(denied, StatusIs(absl::StatusCode::kPermissionDenied,
                               HasSubstr("needs the role operator; maria has viewer.")));
  EXPECT_THAT(CheckAccess({"maria", {v1::ROLE_ADMIN}}, v1::ROLE_OPERATOR, "x"), IsOk());
}

TEST(RolesTest, RequiredRoleReadsTheOption) {
  google::protobuf::DescriptorPool pool(google::protobuf::DescriptorPool::generated_pool());
  google::protobuf::FileDescriptorProto file;
  file.set_name("roles_test.proto");
  file.set_package("test");
  file.add_dependency(v1::Role_descriptor()->file()->name());
  file.add_dependency(google::protobuf::Empty::descriptor()->file()->name());
  auto* const service = file.add_service();
  service->set_name("S");
  for (const char* const name : {"With", "Without"}) {
    auto* const method = service->add_method();
    method->set_name(name);
    method->set_input_type(".google.protobuf.Empty");
    method->set_output_type(".google.protobuf.Empty");
  }
  service->mutable_method(0)
      ->mutable_options()
      ->MutableExtension(v1::access)
      ->set_role(v1::ROLE_OPERATOR);
  const auto* const built = pool.BuildFile(file);
  ASSERT_NE(built, nullptr);
  EXPECT_THAT(RequiredRole(*built->service(0)->method(0)), IsOkAndHolds(v1::ROLE_OPERATOR));
  EXPECT_THAT(RequiredRole(*built->service(0)->method(1)),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("test.S.Without has no option")));
}

}  // namespace
}  // namespace tocsin::auth
