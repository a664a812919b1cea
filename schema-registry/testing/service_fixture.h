// The registry's gRPC service on a real server, as callers with tokens see it, over a topic in
// memory.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/rpc/client_context.h"
#include "lib/rpc/server.h"
#include "lib/rpc/testing/test_mesh.h"
#include "schema-registry/registry_service.h"
#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {

class ServiceFixture : public ::testing::Test {
 protected:
  using Service = v1::SchemaRegistryService;

  void Begin(const SubjectAccess::Rules& rules = {}, WatchOptions watch = {}) {
    auto access = SubjectAccess::Create(rules);
    ASSERT_TRUE(access.ok()) << access.status();
    access_ = *std::move(access);
    registry_.Start();
    FakeLog::WaitUntilReady(registry_);
    service_ = std::make_unique<RegistryService>(registry_, access_, Clock::Real(), watch);
    server_ = std::make_unique<rpc::Server>(mesh_.Options("registry"));
    server_->AddService<Service>(*service_, {std::string(RegistryService::kCallbackMethod)});
    server_->OnDenied([this](const rpc::Denial& denial) { service_->TellDenied(denial); });
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started;
    stub_ = Service::NewStub(mesh_.Channel("client", *server_, {Service::service_full_name()}));
  }
  void TearDown() override {
    if (service_) service_->Drain();
    if (server_) server_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
    registry_.Stop();
  }

  // As the principal `name` with these roles.
  template <typename Request, typename Response>
  grpc::Status As(const std::string& name, const std::string& role,
                  grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                  const Request& request, Response& response) {
    rpc::ClientContext context(std::chrono::seconds(10));
    context.SetToken(mesh_.Token(name, {role}));
    return (stub_.get()->*method)(&context, request, &response);
  }
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*,
                                                                   const Request&, Response*),
                    const Request& request, Response& response) {
    return As("anna", "schema.admin", method, request, response);
  }

  grpc::Status Register(const std::string& subject, const std::string& text,
                        v1::Schema* schema = nullptr, const std::string& as = "anna") {
    v1::RegisterSchemaRequest request;
    request.set_subject(subject);
    request.set_text(text);
    v1::RegisterSchemaResponse response;
    const grpc::Status status =
        As(as, "schema.write", &Service::StubInterface::RegisterSchema, request, response);
    if (schema != nullptr) *schema = response.schema();
    return status;
  }

  rpc::testing::TestMesh mesh_;
  FakeTopic topic_;
  FakeLog log_{topic_};
  FakeAudit audit_;
  Registry registry_{log_, audit_, Clock::Real(), RegistryOptions()};
  SubjectAccess access_;
  std::unique_ptr<RegistryService> service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Service::Stub> stub_;
};

}  // namespace tocsin::registry
