// A mesh for tests: an authority, certificates and token keys in a folder of its own, so that a
// test runs rpc::Server and MakeChannel as they are in production.
//
//   TestMesh mesh;
//   mesh.GiveRoles("gateway", {"viewer"});
//   rpc::Server server(mesh.Options("report"));
//   server.AddService<report::v1::ReportService>(service);
//   ASSERT_THAT(server.Start(), IsOk());
//   auto stub = report::v1::ReportService::NewStub(mesh.Channel("gateway", server));
//   rpc::ClientContext context(std::chrono::seconds(5));
//   context.SetToken(mesh.Token("maria", {"operator"}));
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/auth/keys.h"
#include "lib/auth/token.h"
#include "lib/rpc/server.h"
#include "tocsin/config/v1/process.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace tocsin::rpc::testing {

// Failures end the test program: they are the machine's. Not thread-safe.
class TestMesh {
 public:
  TestMesh();
  // Removes the folder.
  ~TestMesh();
  TestMesh(const TestMesh&) = delete;
  TestMesh& operator=(const TestMesh&) = delete;

  // The files of a member, made when first asked for.
  config::v1::TlsConfig Tls(const std::string& identity);
  config::v1::TlsConfig Tls(const auth::LeafOptions& leaf);
  // Writes a new authority and a new certificate into the files of a member.
  void Renew(const std::string& identity);

  // For servers made after.
  void GiveRoles(const std::string& identity, const std::vector<std::string>& roles);
  config::v1::AuthConfig Auth() const { return auth_; }
  // On a free port of 127.0.0.1.
  ServerOptions Options(const std::string& identity);

  std::string Token(const std::string& name, const std::vector<std::string>& roles,
                    std::chrono::seconds lifetime = std::chrono::hours(1)) const;

  // From one member to a server that has started; `services` as for MakeChannel.
  std::shared_ptr<grpc::Channel> Channel(const std::string& identity, const Server& server,
                                         const std::vector<std::string>& services = {});

  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  auth::Certificate authority_;
  std::unique_ptr<auth::TokenSigner> signer_;
  config::v1::AuthConfig auth_;
  std::map<std::string, config::v1::TlsConfig> members_;
};

}  // namespace tocsin::rpc::testing
