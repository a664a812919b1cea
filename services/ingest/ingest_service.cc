#include "services/ingest/ingest_service.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/caller.h"
#include "lib/rpc/end_call.h"
#include "lib/rpc/status.h"
#include "lib/telemetry/trace.h"
#include "services/ingest/receipts.h"

namespace tocsin::ingest {
namespace {
using io::cloudevents::v1::CloudEvent;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kQueuePause{10};
constexpr milliseconds kStreamTick{100};
constexpr int kMaxReceiptsPerMessage = 1'000;

template <typename Request>
CallOptions OptionsOf(const grpc::ServerContext& context, const Request& request) {
  CallOptions options;
  options.stream = request.stream();
  options.dead_letter = request.dead_letter();
  options.parent = rpc::Caller(context).trace();
  const auto header = context.client_metadata().find("traceparent");
  if (header != context.client_metadata().end()) {
    options.caller = telemetry::TraceContext::FromTraceparent(
        std::string_view(header->second.data(), header->second.size()));
  }
  return options;
}

// How long from now on the call may wait so that its answer still reaches the caller in time.
nanoseconds Budget(const grpc::ServerContext& context, milliseconds produce_timeout) {
  const auto left = context.deadline() - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24)) return produce_timeout;
  const nanoseconds answer = std::min<nanoseconds>(left / 5, milliseconds(250));
  return std::clamp<nanoseconds>(left - answer, nanoseconds(0), produce_timeout);
}

absl::Status QueueFull(const absl::Status& status) {
  return ResourceExhausted(
      Concat("ingest holds as many events as it may while it waits for Kafka (", Message(status),
             "). Send the same events again with the same ids after a pause"));
}

}  // namespace

grpc::Status IngestService::Publish(grpc::ServerContext* context, const v1::PublishRequest* request,
                                    v1::PublishResponse* response) {
  if (!request->has_event()) return rpc::ToGrpc(InvalidArgument("event: is missing"));
  const auto receipts = std::make_shared<BatchReceipts>();
  const OpenCalls::Call call(calls_, *context, [receipts] { receipts->Wake(); });
  const absl::Status taken =
      publisher_.Publish(request->event(), OptionsOf(*context, *request), receipts->Open());
  if (absl::IsUnavailable(taken)) return rpc::ToGrpc(taken);
  if (!taken.ok()) return rpc::ToGrpc(QueueFull(taken));
  if (receipts->WaitForAll(Budget(*context, options_.produce_timeout),
                           [&] { return call.given_up() || context->IsCancelled(); }) > 0) {
    // Another ingest may take it within the same deadline.
    if (call.given_up()) return rpc::ToGrpc(Stopping());
    // The call has waited as long as it may: another attempt of a channel on the way, within the
    // same deadline, could only run out of time and hide why.
    context->AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
    return rpc::ToGrpc(Unavailable(NotConfirmed(1, 1)));
  }
  v1::Receipt receipt = std::move(receipts->Take().front());
  if (receipt.error_code() != 0) {
    return rpc::ToGrpc(
        absl::Status(static_cast<absl::StatusCode>(receipt.error_code()), receipt.error_message()));
  }
  *response->mutable_receipt() = std::move(receipt);
  return grpc::Status::OK;
}

grpc::Status IngestService::PublishBatch(grpc::ServerContext* context,
                                         grpc::ServerReader<v1::PublishBatchRequest>* reader,
                                         v1::PublishBatchResponse* response) {
  const auto receipts = std::make_shared<BatchReceipts>();
  OpenCalls::Call call(calls_, *context, [receipts] { receipts->Wake(); });
  v1::PublishBatchRequest request;
  while (call.Read(*reader, &request)) {
    const CallOptions options = OptionsOf(*context, request);
    if (receipts->size() + static_cast<std::size_t>(request.events_size()) >
        options_.max_batch_events) {
      return rpc::ToGrpc(InvalidArgument(Concat("events: more than ", options_.max_batch_events,
                                                " in one PublishBatch; use PublishStream, or "
                                                "several calls")));
    }
    for (const CloudEvent& event : request.events()) {
      // While the producer's queue is full the call waits here and reads no further, so that the
      // sender is slowed down and no later event overtakes this one.
      const SteadyTime give_up =
          std::chrono::steady_clock::now() + Budget(*context, options_.produce_timeout);
      for (;;) {
        const absl::Status taken = publisher_.Publish(event, options, receipts->Open());
        if (taken.ok()) break;
        receipts->Withdraw();
        if (call.given_up()) return rpc::ToGrpc(Stopping());
        if (context->IsCancelled()) return grpc::Status::CANCELLED;
        // A receipt for this event alone would let later ones of the call overtake it.
        if (absl::IsUnavailable(taken)) return rpc::ToGrpc(taken);
        if (std::chrono::steady_clock::now() >= give_up) return rpc::ToGrpc(QueueFull(taken));
        receipts->WaitForProgress(kQueuePause);
      }
    }
  }
  if (call.given_up()) return rpc::ToGrpc(Stopping());
  if (context->IsCancelled()) return grpc::Status::CANCELLED;
  const std::size_t missing = receipts->WaitForAll(Budget(*context, options_.produce_timeout), [&] {
    return call.given_up() || context->IsCancelled();
  });
  if (missing > 0) {
    return rpc::ToGrpc(call.given_up() ? Stopping()
                                       : Unavailable(NotConfirmed(missing, receipts->size())));
  }
  for (v1::Receipt& receipt : receipts->Take()) *response->add_receipts() = std::move(receipt);
  return grpc::Status::OK;
}

grpc::Status IngestService::PublishStream(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::PublishStreamResponse, v1::PublishStreamRequest>* stream) {
  const auto receipts = std::make_shared<StreamReceipts>();
  OpenCalls::Call call(calls_, *context, [receipts, context] {
    // One of the threads may be in Write, for a client that does not read.
    rpc::EndCall(*context, Stopping());
    receipts->Wake();
  });
  std::atomic<bool> broken{false};
  std::thread writer([&] {
    while (!receipts->Drained() && !call.given_up()) {
      std::vector<v1::Receipt> next =
          receipts->Next(kStreamTick, std::chrono::steady_clock::now() - options_.produce_timeout);
      for (std::size_t i = 0; i < next.size() && !broken;) {
        v1::PublishStreamResponse message;
        for (; i < next.size() && message.receipts_size() < kMaxReceiptsPerMessage; ++i) {
          *message.add_receipts() = std::move(next[i]);
        }
        if (!stream->Write(message)) broken = true;
      }
      if (broken || context->IsCancelled()) break;
      // The other thread is in Read, for a client that may send nothing for long.
      if (calls_.stopping() && receipts->outstanding() == 0) call.End(Stopping());
    }
  });

  v1::PublishStreamRequest request;
  absl::Status result;
  const auto ended = [&] { return broken || calls_.stopping() || context->IsCancelled(); };
  while (result.ok() && !ended() && call.Read(*stream, &request)) {
    const CallOptions options = OptionsOf(*context, request);
    for (const CloudEvent& event : request.events()) {
      while (!ended() && receipts->outstanding() >= options_.max_stream_outstanding) {
        receipts->WaitForProgress(kStreamTick);
      }
      const SteadyTime give_up =
          std::chrono::steady_clock::now() + Budget(*context, options_.produce_timeout);
      for (;;) {
        if (calls_.stopping()) {
          result = Stopping();
          break;
        }
        const absl::Status taken = publisher_.Publish(
            event, options,
            receipts->Open(event.source(), event.id(), std::chrono::steady_clock::now()));
        if (taken.ok()) break;
        receipts->Withdraw();
        if (broken || context->IsCancelled()) {
          result = absl::CancelledError("the caller has gone");
          break;
        }
        if (absl::IsUnavailable(taken)) {
          result = taken;
          break;
        }
        if (std::chrono::steady_clock::now() >= give_up) {
          result = QueueFull(taken);
          break;
        }
        receipts->WaitForProgress(kQueuePause);
      }
      if (!result.ok()) break;
    }
  }
  receipts->Finish();
  writer.join();
  if (result.ok() && calls_.stopping()) result = Stopping();
  return rpc::ToGrpc(result);
}

}  // namespace tocsin::ingest
