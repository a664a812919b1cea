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
#include "lib/rpc/status.h"
#include "services/ingest/testing/served_ingest.h"

namespace tocsin::ingest {

class RealIngest {
 public:
  explicit RealIngest(std::string topic, ServiceOptions options = {})
      : topic_(std::move(topic)), ingest_(MakeProducer(), topic_, options) {}

  absl::StatusOr<v1::PublishBatchResponse> PublishBatch(
      const std::vector<io::cloudevents::v1::CloudEvent>& events,
      std::chrono::milliseconds timeout = std::chrono::seconds(30)) {
    rpc::ClientContext context(timeout);
    context.SetToken(ingest_.mesh.Token("feed", {"producer"}));
    v1::PublishBatchResponse response;
    auto writer = ingest_.stub->PublishBatch(&context, &response);
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
  static std::unique_ptr<kafka::Producer> MakeProducer() {
    kafka::ProducerOptions options;
    options.connection = kafka::testing::BrokerConnection("ingest-test");
    options.close_timeout = std::chrono::milliseconds(500);
    auto producer = kafka::MakeProducer(options);
    EXPECT_THAT(producer, IsOk());
    return *std::move(producer);
  }

  const std::string topic_;
  ServedIngest ingest_;
};

}  // namespace tocsin::ingest
