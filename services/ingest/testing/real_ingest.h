// Ingest as it is in production, on the shared broker, with a schema from a fake cache.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/testing/broker.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/server.h"
#include "lib/rpc/status.h"
#include "lib/rpc/testing/test_mesh.h"
#include "services/ingest/ingest_service.h"
#include "services/ingest/testing/alerts.h"

namespace tocsin::ingest {

class RealIngest {
 public:
  explicit RealIngest(std::string topic, ServiceOptions options = {}) : topic_(std::move(topic)) {
    kafka::ProducerOptions producer;
    producer.connection = kafka::testing::BrokerConnection("ingest-test");
    producer.close_timeout = std::chrono::milliseconds(500);
    auto made = kafka::MakeProducer(producer);
    EXPECT_THAT(made, IsOk());
    producer_ = *std::move(made);
    const std::vector<pack::v1::Pack> packs = {AlertPack(topic_)};
    publisher_ = std::make_unique<Publisher>(Io{*producer_, schemas_, Clock::Real()},
                                             *StreamTable::Build(packs), Limits{});
    service_ = std::make_unique<IngestService>(*publisher_, options);
    server_ = std::make_unique<rpc::Server>(mesh_.Options("ingest"));
    server_->AddService<v1::IngestService>(*service_);
    EXPECT_THAT(server_->Start(), IsOk());
    stub_ = v1::IngestService::NewStub(mesh_.Channel("gateway", *server_));
  }
  ~RealIngest() {
    server_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
    producer_.reset();
  }

  absl::StatusOr<v1::PublishBatchResponse> PublishBatch(
      const std::vector<io::cloudevents::v1::CloudEvent>& events,
      std::chrono::milliseconds timeout = std::chrono::seconds(30)) {
    rpc::ClientContext context(timeout);
    context.SetToken(mesh_.Token("feed", {"producer"}));
    v1::PublishBatchResponse response;
    auto writer = stub_->PublishBatch(&context, &response);
    v1::PublishBatchRequest request;
    for (const auto& event : events) *request.add_events() = event;
    writer->Write(request);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    if (!status.ok()) return rpc::FromGrpc(status);
    return response;
  }

  struct Entry {
    std::string id;
    std::string key;
  };
  // (partition, offset) → what lies there, up to the end of the topic.
  std::map<std::pair<std::int32_t, std::int64_t>, Entry> Log(std::int32_t partitions) {
    kafka::ConsumerOptions options;
    options.connection = kafka::testing::BrokerConnection("ingest-test-reader");
    auto consumer = kafka::MakeConsumer(options);
    EXPECT_THAT(consumer, IsOk());
    kafka::Offsets from;
    for (std::int32_t i = 0; i < partitions; ++i) from[{topic_, i}] = 0;
    EXPECT_THAT((*consumer)->Assign(from), IsOk());
    std::map<std::pair<std::int32_t, std::int64_t>, Entry> log;
    std::set<std::int32_t> ended;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (ended.size() < from.size() && std::chrono::steady_clock::now() < deadline) {
      const kafka::Batch batch = (*consumer)->Poll(std::chrono::milliseconds(200));
      for (const kafka::Record& record : batch.records) {
        log[{record.partition, record.offset}] = {
            .id = std::string(record.headers.Find("ce_id").value_or("")),
            .key = record.key.value_or("")};
      }
      for (const auto& [where, end] : batch.ends) ended.insert(where.partition);
    }
    EXPECT_EQ(ended.size(), from.size()) << "the end of the topic was not reached";
    return log;
  }

 private:
  const std::string topic_;
  rpc::testing::TestMesh mesh_;
  FakeSchemaCache schemas_;
  std::unique_ptr<kafka::Producer> producer_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<IngestService> service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<v1::IngestService::Stub> stub_;
};

}  // namespace tocsin::ingest
