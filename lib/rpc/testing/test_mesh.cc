#include "lib/rpc/testing/test_mesh.h"

#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/channel.h"

namespace tocsin::rpc::testing {
namespace {

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "test mesh: %s\n", Describe(status).c_str());
  std::abort();
}

template <typename T>
T Check(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}

std::string MakeFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-mesh-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) Check(Internal("no temporary folder"));
  return pattern;
}

// gRPC gives its memory back on threads of its own after the last of its objects is gone. A program
// that ends before that looks like one that leaks.
class GrpcAtRest final : public ::testing::Environment {
 public:
  void TearDown() override {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (grpc_is_initialized() != 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(grpc_is_initialized(), 0) << "some object of gRPC outlives the tests";
  }
};
const auto* const at_rest = ::testing::AddGlobalTestEnvironment(new GrpcAtRest);

auth::Certificate NewAuthority() {
  return Check(auth::MakeAuthority("test mesh", Clock::Real().Now(), std::chrono::hours(24)));
}

}  // namespace

TestMesh::TestMesh() : folder_(MakeFolder()), authority_(NewAuthority()) {
  const auth::KeyPair keys = Check(auth::MakeEd25519KeyPair());
  Check(auth::WriteSecretFile(Concat(folder_, "/tokens.pem"), keys.private_pem));
  std::filesystem::create_directory(Concat(folder_, "/public"));
  const std::string public_file = Concat(folder_, "/public/tokens.pem");
  Check(auth::WriteFileAtomically(public_file, keys.public_pem));
  auth_.set_issuer("tocsin-test");
  auth_.set_audience("tocsin-test");
  auth_.add_public_key_files(public_file);
  signer_ = Check(
      auth::TokenSigner::Create(Concat(folder_, "/tokens.pem"), auth_.issuer(), auth_.audience()));
}

TestMesh::~TestMesh() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

config::v1::TlsConfig TestMesh::Tls(const std::string& identity) {
  auth::LeafOptions leaf;
  leaf.identity = identity;
  return Tls(leaf);
}

config::v1::TlsConfig TestMesh::Tls(const auth::LeafOptions& leaf) {
  if (const auto it = members_.find(leaf.identity); it != members_.end()) return it->second;
  const auth::Certificate certificate =
      Check(auth::MakeLeaf(authority_, leaf, Clock::Real().Now()));
  const std::string base = Concat(folder_, "/", leaf.identity);
  config::v1::TlsConfig tls;
  tls.set_certificate_file(base + ".crt");
  tls.set_key_file(base + ".key");
  tls.set_ca_file(base + ".ca");
  Check(auth::WriteFileAtomically(tls.certificate_file(), certificate.certificate_pem));
  Check(auth::WriteSecretFile(tls.key_file(), certificate.key_pem));
  Check(auth::WriteFileAtomically(tls.ca_file(), authority_.certificate_pem));
  members_[leaf.identity] = tls;
  return tls;
}

void TestMesh::Renew(const std::string& identity) {
  authority_ = NewAuthority();
  members_.erase(identity);
  Tls(identity);
}

void TestMesh::GiveRoles(const std::string& identity, const std::vector<std::string>& roles) {
  auto& list = (*auth_.mutable_mesh_roles())[identity];
  list.clear_roles();
  for (const std::string& role : roles) list.add_roles(role);
}

ServerOptions TestMesh::Options(const std::string& identity) {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.tls = Tls(identity);
  options.auth = auth_;
  options.certificate_refresh = std::chrono::seconds(1);
  return options;
}

std::string TestMesh::Token(const std::string& name, const std::vector<std::string>& roles,
                            std::chrono::seconds lifetime) const {
  auth::Principal principal;
  principal.name = name;
  for (const std::string& role : roles) principal.roles.Add(Check(auth::ParseRole(role)));
  return Check(signer_->Sign(principal, Clock::Real().Now(), lifetime));
}

std::shared_ptr<grpc::Channel> TestMesh::Channel(const std::string& identity, const Server& server,
                                                 const std::vector<std::string>& services) {
  config::v1::PeerConfig peer;
  peer.set_target(Concat("127.0.0.1:", server.port()));
  return Check(MakeChannel(peer, Tls(identity), services));
}

}  // namespace tocsin::rpc::testing
