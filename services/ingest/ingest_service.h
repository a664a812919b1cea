// The gRPC edge of ingest: three ways to publish, one Publisher behind them.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstddef>

#include "services/ingest/open_calls.h"
#include "services/ingest/publisher.h"
#include "tocsin/ingest/v1/ingest.grpc.pb.h"

namespace tocsin::ingest {

struct ServiceOptions {
  // How long an event may wait for Kafka's confirmation before its caller is told to send it again.
  // A call's own deadline, where it is sooner, goes before it.
  std::chrono::milliseconds produce_timeout{10'000};
  // Events in one PublishBatch; a receipt of each is held until the end.
  std::size_t max_batch_events = 100'000;
  // Events of one PublishStream without a receipt; beyond it the stream is read no further.
  std::size_t max_stream_outstanding = 10'000;
  // How long calls under way may still wait for Kafka once the process is stopping: it answers
  // within milliseconds, or it is away.
  std::chrono::milliseconds stop_grace{1'000};
};

// Thread-safe. Calls block their server thread while they wait for Kafka.
class IngestService final : public v1::IngestService::Service {
 public:
  // `publisher` must outlive the service.
  IngestService(Publisher& publisher, ServiceOptions options)
      : publisher_(publisher), options_(options) {}

  grpc::Status Publish(grpc::ServerContext* context, const v1::PublishRequest* request,
                       v1::PublishResponse* response) override;
  grpc::Status PublishBatch(grpc::ServerContext* context,
                            grpc::ServerReader<v1::PublishBatchRequest>* reader,
                            v1::PublishBatchResponse* response) override;
  grpc::Status PublishStream(grpc::ServerContext* context,
                             grpc::ServerReaderWriter<v1::PublishStreamResponse,
                                                      v1::PublishStreamRequest>* stream) override;

  // The process is stopping. Streams end as soon as every event taken has its receipt; whatever is
  // still open after `stop_grace` ends with UNAVAILABLE: send again under the same id. Does not
  // block. Call before the server's shutdown, which waits for the calls.
  void BeginStop() { calls_.Stop(options_.stop_grace); }

 private:
  Publisher& publisher_;
  const ServiceOptions options_;
  OpenCalls calls_;
};

}  // namespace tocsin::ingest
