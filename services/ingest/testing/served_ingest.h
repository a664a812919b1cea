// Ingest behind its gRPC edge, over whatever producer a test brings, with a schema from a fake
// cache.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/producer.h"
#include "lib/rpc/server.h"
#include "lib/rpc/testing/test_mesh.h"
#include "services/ingest/ingest_service.h"
#include "services/ingest/testing/alerts.h"

namespace tocsin::ingest {

struct ServedIngest {
  ServedIngest(std::unique_ptr<kafka::Producer> with, const std::string& topic,
               ServiceOptions options)
      : producer(std::move(with)),
        publisher(Io{*producer, schemas, Clock::Real()},
                  *StreamTable::Build(std::vector<pack::v1::Pack>{AlertPack(topic)}), Limits{}),
        service(publisher, options),
        server(mesh.Options("ingest")) {
    server.AddService<v1::IngestService>(service);
    EXPECT_THAT(server.Start(), IsOk());
    stub = v1::IngestService::NewStub(mesh.Channel("gateway", server));
  }
  ~ServedIngest() {
    server.Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
    // Before what its callbacks reach.
    producer.reset();
  }
  ServedIngest(const ServedIngest&) = delete;
  ServedIngest& operator=(const ServedIngest&) = delete;

  rpc::testing::TestMesh mesh;
  FakeSchemaCache schemas;
  std::unique_ptr<kafka::Producer> producer;
  Publisher publisher;
  IngestService service;
  rpc::Server server;
  std::unique_ptr<v1::IngestService::Stub> stub;
};

}  // namespace tocsin::ingest
