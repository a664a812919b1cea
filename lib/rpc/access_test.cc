// Two promises: every method of every contract in proto/ says who may call it; and what the
// authenticator decides.
#include "lib/rpc/access.h"

#include <gmock/gmock.h>
#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <array>
#include <filesystem>
#include <map>

#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "tocsin/rpc/testing/v1/echo.pb.h"

namespace tocsin::rpc {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// --- every method has the option -------------------------------------------------------------

class Errors final : public google::protobuf::compiler::MultiFileErrorCollector {
 public:
  void AddError(const std::string& file, int line, int column,
                const std::string& message) override {
    ADD_FAILURE() << file << ":" << line + 1 << ":" << column + 1 << ": " << message;
  }
};

// Files of the disk, and files given as text on top of them.
class Sources final : public google::protobuf::compiler::SourceTree {
 public:
  Sources() {
    disk_.MapPath("", TOCSIN_PROTO_DIR);
    disk_.MapPath("", TOCSIN_PROTOBUF_INCLUDE_DIR);
  }
  google::protobuf::io::ZeroCopyInputStream* Open(const std::string& name) override {
    if (const auto it = given_.find(name); it != given_.end()) {
      return new google::protobuf::io::ArrayInputStream(it->second.data(),
                                                        static_cast<int>(it->second.size()));
    }
    return disk_.Open(name);
  }
  void Give(const std::string& name, std::string text) { given_[name] = std::move(text); }

 private:
  google::protobuf::compiler::DiskSourceTree disk_;
  std::map<std::string, std::string> given_;
};

// Methods without the option in one file, protocols of others aside.
std::vector<std::string> Forgotten(const google::protobuf::FileDescriptor& file) {
  std::vector<std::string> forgotten;
  for (int s = 0; s < file.service_count(); ++s) {
    for (int m = 0; m < file.service(s)->method_count(); ++m) {
      const auto& method = *file.service(s)->method(m);
      if (!auth::RequiredRole(method).ok()) forgotten.push_back(method.full_name());
    }
  }
  return forgotten;
}

TEST(EveryMethodInProto, SaysWhoMayCallIt) {
  Sources sources;
  Errors errors;
  google::protobuf::compiler::Importer importer(&sources, &errors);
  int services = 0;
  std::vector<std::string> forgotten;
  const std::filesystem::path root(TOCSIN_PROTO_DIR);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".proto") continue;
    const std::string name = std::filesystem::relative(entry.path(), root).generic_string();
    if (name.starts_with("grpc/")) continue;
    const auto* file = importer.Import(name);
    ASSERT_NE(file, nullptr) << name;
    services += file->service_count();
    for (std::string& method : Forgotten(*file)) forgotten.push_back(std::move(method));
  }
  EXPECT_THAT(forgotten, IsEmpty()) << "add `option (tocsin.auth.v1.access) = { role: … }`";
  EXPECT_GE(services, 6) << "the walk has not found the contracts";
}

TEST(EveryMethodInProto, IsReallyLookedAt) {
  Sources sources;
  sources.Give("planted.proto", R"(
      syntax = "proto3";
      package planted.v1;
      import "tocsin/auth/v1/access.proto";
      service PlantedService {
        rpc Good(M) returns (M) { option (tocsin.auth.v1.access) = { role: ROLE_VIEWER }; }
        rpc Bad(M) returns (M);
        rpc Empty(M) returns (M) { option (tocsin.auth.v1.access) = {}; }
      }
      message M {})");
  Errors errors;
  google::protobuf::compiler::Importer importer(&sources, &errors);
  const auto* file = importer.Import("planted.proto");
  ASSERT_NE(file, nullptr);
  EXPECT_THAT(Forgotten(*file),
              ElementsAre("planted.v1.PlantedService.Bad", "planted.v1.PlantedService.Empty"));
}

// --- the table -------------------------------------------------------------------------------

const google::protobuf::DescriptorPool& Pool() {
  testing::v1::EchoRequest::descriptor();  // links the contract in
  return *google::protobuf::DescriptorPool::generated_pool();
}

TEST(AccessTable, KnowsTheRoleOfEachMethodAndNoOthers) {
  const auto table = AccessTable::Create(Pool(), {"tocsin.rpc.testing.v1.EchoService"});
  ASSERT_THAT(table, IsOk());
  const auto* write = table->Find("/tocsin.rpc.testing.v1.EchoService/Write");
  ASSERT_NE(write, nullptr);
  EXPECT_EQ(write->role, auth::Role::ROLE_OPERATOR);
  EXPECT_EQ(write->method, "tocsin.rpc.testing.v1.EchoService/Write");
  for (const char* path :
       {"", "/", "tocsin.rpc.testing.v1.EchoService/Write",
        "/tocsin.rpc.testing.v1.EchoService/write", "/tocsin.rpc.testing.v1.EchoService/Write/",
        "/tocsin.rpc.testing.v1.ForgetfulService/Remembered"}) {
    EXPECT_EQ(table->Find(path), nullptr) << path;
  }
}

TEST(AccessTable, RefusesAServiceThatForgotAMethod) {
  EXPECT_THAT(AccessTable::Create(Pool(), {"tocsin.rpc.testing.v1.ForgetfulService"}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("Forgotten")));
  EXPECT_THAT(AccessTable::Create(Pool(), {"no.such.Service"}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("no.such.Service")));
}

// --- the authenticator -----------------------------------------------------------------------

// Tokens are words here; what makes a token good is tested in lib/auth.
class FakeVerifier final : public auth::TokenVerifier {
 public:
  absl::StatusOr<auth::Principal> Verify(std::string_view token, WallTime) const override {
    ++calls;
    if (token == "viewer") return auth::Principal{"maria", {auth::Role::ROLE_VIEWER}};
    if (token == "admin") return auth::Principal{"root", {auth::Role::ROLE_ADMIN}};
    if (token == "none") return auth::Principal{"nobody", {}};
    return Unauthenticated("the token's signature is not good");
  }
  mutable int calls = 0;
};

class AuthenticatorTest : public ::testing::Test {
 protected:
  AuthenticatorTest()
      : table_(AccessTable::Create(Pool(), {"tocsin.rpc.testing.v1.EchoService"}).value()) {
    config::v1::AuthConfig config;
    (*config.mutable_mesh_roles())["gateway"].add_roles("operator");
    auto verifier = std::make_unique<FakeVerifier>();
    verifier_ = verifier.get();
    authenticator_ = std::make_unique<Authenticator>(
        std::move(verifier), auth::MeshRoles::Create(config).value(), clock_);
  }

  absl::StatusOr<auth::Principal> Write(const Credentials& credentials) {
    return authenticator_->Authorize(table_, "/tocsin.rpc.testing.v1.EchoService/Write",
                                     credentials);
  }

  FakeClock clock_;
  AccessTable table_;
  FakeVerifier* verifier_ = nullptr;
  std::unique_ptr<Authenticator> authenticator_;
};

Credentials Bearer(std::string_view header, std::vector<std::string> names = {}) {
  Credentials credentials;
  credentials.authorization = header;
  credentials.certificate_names = std::move(names);
  return credentials;
}

Credentials Certificate(std::vector<std::string> names) {
  Credentials credentials;
  credentials.certificate_names = std::move(names);
  return credentials;
}

TEST_F(AuthenticatorTest, TheTokenGoesBeforeTheCertificate) {
  // The gateway may write, but acts for somebody who may not.
  EXPECT_THAT(Write(Bearer("Bearer viewer", {"gateway"})),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("operator"), HasSubstr("maria"), HasSubstr("viewer"),
                             HasSubstr("`tocsin token --role operator`"))));
  const auto root = Write(Bearer("Bearer admin", {"gateway"}));
  ASSERT_THAT(root, IsOk());
  EXPECT_EQ(root->name, "root");
}

TEST_F(AuthenticatorTest, ABadTokenIsNotMadeGoodByACertificate) {
  EXPECT_THAT(Write(Bearer("Bearer forged", {"gateway"})),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       AllOf(HasSubstr("the token's signature is not good"),
                             HasSubstr("`tocsin token --role operator`"))));
}

TEST_F(AuthenticatorTest, TheCertificateActsUnderItsOwnNameNotUnderLocalhost) {
  const auto gateway = Write(Certificate({"localhost", "gateway", "127.0.0.1"}));
  ASSERT_THAT(gateway, IsOk());
  EXPECT_EQ(gateway->name, "gateway");
  EXPECT_THAT(Write(Certificate({"report", "localhost"})),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       HasSubstr("the certificate 'report' has no roles in auth.mesh_roles")));
  EXPECT_THAT(Write(Certificate({})), StatusIs(absl::StatusCode::kUnauthenticated,
                                               HasSubstr("no token and no certificate")));
}

TEST_F(AuthenticatorTest, TwoHeadersAreNeverAccepted) {
  Credentials credentials = Bearer("Bearer admin");
  credentials.ambiguous = true;
  EXPECT_THAT(Write(credentials),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("more than one")));
}

TEST_F(AuthenticatorTest, ATokenWithoutRolesMayNothing) {
  EXPECT_THAT(Write(Bearer("Bearer none")), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(AuthenticatorTest, AMethodThatDoesNotExistIsToldApart) {
  EXPECT_THAT(authenticator_->Authorize(table_, "/x.Y/Z", Bearer("Bearer admin")),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("/x.Y/Z")));
}

TEST_F(AuthenticatorTest, RemembersAGoodTokenForFiveSecondsAndABadOneNever) {
  EXPECT_THAT(Write(Bearer("Bearer admin")), IsOk());
  EXPECT_THAT(Write(Bearer("Bearer admin")), IsOk());
  EXPECT_EQ(verifier_->calls, 1);
  clock_.Advance(std::chrono::seconds(5));
  EXPECT_THAT(Write(Bearer("Bearer admin")), IsOk());
  EXPECT_EQ(verifier_->calls, 2);
  EXPECT_THAT(Write(Bearer("Bearer bad")), Not(IsOk()));
  EXPECT_THAT(Write(Bearer("Bearer bad")), Not(IsOk()));
  EXPECT_EQ(verifier_->calls, 4);
}

TEST(Authenticator, RefusesRolesForTheNameThatAllCertificatesCarry) {
  config::v1::AuthConfig config;
  (*config.mutable_mesh_roles())["localhost"].add_roles("admin");
  EXPECT_THAT(Authenticator::Create(config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'localhost'")));
}

}  // namespace
}  // namespace tocsin::rpc
